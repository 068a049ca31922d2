//! Hosts' streams: whatever the bytes, wherever they are cut, the same events come of them; the
//! events keep the order that `chat::Event` promises; no input grows; and every surface tells them
//! well (see [`telling`](super::telling)).

use bytes::{Bytes, BytesMut};
use tollgate::backend::wires::{Decoder, Report, bedrock, openai};
use tollgate::chat::{Event, Finish, Reply, Usage};

use super::MOST_BYTES;
use super::chances::{Chances, pieces};
use super::mutation::{framed, messages};
use super::telling;

/// An event that outlives the bytes it was heard in.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    Begin(Option<String>),
    Reasoning(u32, String),
    Text(u32, String),
    Call(u32, u32, String, String),
    Arguments(u32, u32, String),
    Logprobs(u32, String),
    Finish(u32, Finish),
    Usage(Usage),
    Alive,
}

impl Heard {
    pub fn of(event: Event<'_>) -> Heard {
        match event {
            Event::Begin { id } => Heard::Begin(id.map(str::to_owned)),
            Event::Reasoning { choice, text } => Heard::Reasoning(choice, text.to_owned()),
            Event::Text { choice, text } => Heard::Text(choice, text.to_owned()),
            Event::Call {
                choice,
                index,
                id,
                name,
            } => Heard::Call(choice, index, id.to_owned(), name.to_owned()),
            Event::Arguments {
                choice,
                index,
                piece,
            } => Heard::Arguments(choice, index, piece.to_owned()),
            Event::Logprobs { choice, json } => Heard::Logprobs(choice, json.to_owned()),
            Event::Finish { choice, reason } => Heard::Finish(choice, reason),
            Event::Usage(usage) => Heard::Usage(usage),
            Event::Alive => Heard::Alive,
        }
    }

    pub fn event(&self) -> Event<'_> {
        match self {
            Heard::Begin(id) => Event::Begin { id: id.as_deref() },
            Heard::Reasoning(choice, text) => Event::Reasoning {
                choice: *choice,
                text,
            },
            Heard::Text(choice, text) => Event::Text {
                choice: *choice,
                text,
            },
            Heard::Call(choice, index, id, name) => Event::Call {
                choice: *choice,
                index: *index,
                id,
                name,
            },
            Heard::Arguments(choice, index, piece) => Event::Arguments {
                choice: *choice,
                index: *index,
                piece,
            },
            Heard::Logprobs(choice, json) => Event::Logprobs {
                choice: *choice,
                json,
            },
            Heard::Finish(choice, reason) => Event::Finish {
                choice: *choice,
                reason: *reason,
            },
            Heard::Usage(usage) => Event::Usage(*usage),
            Heard::Alive => Event::Alive,
        }
    }

    /// Bytes that it holds.
    fn size(&self) -> usize {
        match self {
            Heard::Begin(id) => id.as_ref().map_or(0, String::len),
            Heard::Reasoning(_, text) | Heard::Text(_, text) => text.len(),
            Heard::Call(_, _, id, name) => id.len() + name.len(),
            Heard::Arguments(_, _, piece) => piece.len(),
            Heard::Logprobs(_, json) => json.len(),
            Heard::Finish(..) | Heard::Usage(_) | Heard::Alive => 0,
        }
    }
}

/// A stream of the OpenAI-compatible wire, or a plain answer.
pub fn sse(data: &[u8]) {
    if data.len() > MOST_BYTES {
        return;
    }
    let listen = |cuts: &[usize]| hear(Box::new(openai::Hearing::seeded(7)), data, cuts);
    let (events, report) = listen(&[]);
    let splits = Chances::of(data).splits(data.len());
    for cuts in &splits {
        assert_eq!(listen(cuts), (events.clone(), report.clone()), "{cuts:?}");
    }
    promises(&events, &report, data.len());
    looked_at(data, &splits, &report);
    telling::every_surface(&events, &report, data.len());

    let plain = openai::plain(data);
    if let Some(reply) = openai::heard(data) {
        assert!(!matches!(
            plain,
            openai::Plain::Truncated | openai::Plain::Error(_)
        ));
        telling::every_surface_whole(&reply);
    }
    assert!(openai::error_message(data).len() <= 4 * 600);
    let renamed = openai::renamed(Bytes::copy_from_slice(data));
    assert!(renamed.len() <= 2 * data.len());
}

/// A stream of Bedrock, or a plain answer.
pub fn eventstream(data: &[u8]) {
    if data.len() > MOST_BYTES {
        return;
    }
    // As they came, and with checksums that are right: a host's mistakes have right ones.
    heard_as_eventstream(data);
    heard_as_eventstream(&framed(&messages(data)));
    let (plain, reply) = bedrock::plain(data, &bedrock::Names::default(), None);
    if matches!(plain, openai::Plain::Answer { .. }) {
        telling::every_surface_whole(&reply);
    }
    // What stands in an event may as well be a body.
    for (_, payload) in messages(data) {
        bedrock::plain(&payload, &bedrock::Names::default(), Some("r".to_owned()));
    }
}

fn heard_as_eventstream(data: &[u8]) {
    let listen = |cuts: &[usize]| {
        let hearing = bedrock::Hearing::new(bedrock::Names::default(), Some("r-1".to_owned()));
        hear(Box::new(hearing), data, cuts)
    };
    let (events, report) = listen(&[]);
    for cuts in Chances::of(data).splits(data.len()) {
        assert_eq!(listen(&cuts), (events.clone(), report.clone()), "{cuts:?}");
    }
    promises(&events, &report, data.len());
    telling::every_surface(&events, &report, data.len());
}

fn hear(mut decoder: Box<dyn Decoder>, data: &[u8], cuts: &[usize]) -> (Vec<Heard>, Report) {
    let mut events = Vec::new();
    for piece in pieces(data, cuts) {
        decoder.take(Bytes::copy_from_slice(piece), &mut |event| {
            events.push(Heard::of(event));
        });
    }
    decoder.end(&mut |event| events.push(Heard::of(event)));
    (events, decoder.report().clone())
}

/// What `chat::Event` promises of the order of events, and `Report` of their sum.
fn promises(events: &[Heard], report: &Report, bytes: usize) {
    struct Choice {
        calls: u32,
        finished: bool,
    }
    let mut choices: Vec<Choice> = Vec::new();
    let mut begun = false;
    let mut ids: Vec<&str> = Vec::new();
    let mut usage = None;
    let mut finish = None;
    for event in events {
        let choice = match event {
            Heard::Begin(_) => {
                assert!(!begun, "an answer begins once");
                begun = true;
                continue;
            }
            Heard::Usage(said) => {
                usage = Some(*said);
                continue;
            }
            Heard::Alive => continue,
            Heard::Reasoning(choice, _)
            | Heard::Text(choice, _)
            | Heard::Call(choice, ..)
            | Heard::Arguments(choice, ..)
            | Heard::Logprobs(choice, _)
            | Heard::Finish(choice, _) => *choice as usize,
        };
        assert!(begun, "{event:?} before the beginning");
        assert!(choice < 64);
        while choices.len() <= choice {
            choices.push(Choice {
                calls: 0,
                finished: false,
            });
        }
        let known = &mut choices[choice];
        assert!(!known.finished, "{event:?} after the finish of its choice");
        match event {
            Heard::Call(_, index, id, name) => {
                assert_eq!(*index, known.calls, "calls are counted from 0");
                known.calls += 1;
                assert!(!id.is_empty() && !name.is_empty(), "{event:?}");
                assert!(!ids.contains(&id.as_str()), "the id {id} twice");
                ids.push(id);
            }
            Heard::Arguments(_, index, _) => assert!(*index < known.calls, "{event:?}"),
            Heard::Logprobs(_, json) => {
                let json: serde_json::Value = serde_json::from_str(json).expect("JSON");
                assert!(json["content"].is_array());
            }
            Heard::Finish(_, reason) => {
                known.finished = true;
                // That the host gave up on one choice stands.
                finish = finish
                    .filter(|reason| *reason == Finish::HostGaveUp)
                    .or(Some(*reason));
            }
            _ => {}
        }
    }
    assert_eq!(report.usage, usage);
    assert_eq!(report.finish, finish);
    let size: usize = events.iter().map(Heard::size).sum();
    assert!(size <= 32 * bytes + 256, "{size} bytes of {bytes}");
    let mut reply = Reply::default();
    for event in events {
        reply.hear(event.event());
    }
    assert_eq!(reply.usage, usage);
}

/// The same stream where it passes: whole events come through, and only what must change changes.
fn looked_at(data: &[u8], splits: &[Vec<usize>], heard: &Report) {
    for (hide, rename, bare) in [
        (false, false, false),
        (true, true, false),
        (true, false, true),
    ] {
        let look = |cuts: &[usize]| {
            let mut sight = if bare {
                openai::Sight::of_completions(hide)
            } else {
                openai::Sight::new(hide, rename)
            };
            let mut out = BytesMut::new();
            for piece in pieces(data, cuts) {
                for piece in sight.take(Bytes::copy_from_slice(piece)) {
                    out.extend_from_slice(&piece);
                }
            }
            for piece in sight.end() {
                out.extend_from_slice(&piece);
            }
            (out, sight.report().clone())
        };
        let (out, report) = look(&[]);
        for cuts in splits {
            assert_eq!(look(cuts), (out.clone(), report.clone()), "{cuts:?}");
        }
        assert!(out.len() <= 2 * data.len() + 2);
        let failed = report.error.is_some() || report.finish == Some(Finish::HostGaveUp);
        if !hide && !rename && !failed {
            let closed = [data, b"\n\n"].concat();
            assert!(out[..] == *data || out[..] == closed, "the bytes changed");
        }
        // Both readers see the same of a stream that is one of this wire.
        if !bare && heard.error.is_none() && !failed && !wrapped(data) {
            assert_eq!(report.usage, heard.usage);
            assert_eq!(report.nonsense, heard.nonsense);
            assert_eq!(report.done, heard.done);
        }
    }
}

/// Google's arrays around events, and halves of characters where a key stands: they pass as they are.
fn wrapped(data: &[u8]) -> bool {
    let halves = data
        .windows(3)
        .any(|three| three.eq_ignore_ascii_case(b"\\ud"));
    halves
        || data
            .split(|byte| matches!(byte, b'\n' | b'\r'))
            .map(|line| line.trim_ascii())
            .any(|line| {
                let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
                line.strip_prefix(b"data:")
                    .map(<[u8]>::trim_ascii)
                    .is_some_and(|data| data.starts_with(b"[") && data != b"[DONE]")
            })
}
