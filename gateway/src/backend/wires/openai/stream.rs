//! A look at a server-sent event stream as it passes: usage, finish, errors and how much was said,
//! without touching the bytes but to hide a usage that the caller did not ask for, or to give
//! thinking the name that callers know. Relies on `sse` to find the events.

use std::ops::Range;
use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use memchr::{memchr2, memmem};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use smallvec::{SmallVec, smallvec};

use super::sse::{Pending, Walk};
use super::usage::RawUsage;
use super::{error_text, finish};
use crate::chat::{Finish, Usage};

static USAGE: LazyLock<memmem::Finder<'static>> =
    LazyLock::new(|| memmem::Finder::new(b"\"usage\""));
static FINISH: LazyLock<memmem::Finder<'static>> =
    LazyLock::new(|| memmem::Finder::new(b"\"finish_reason\":"));
static CONTENT: LazyLock<memmem::Finder<'static>> =
    LazyLock::new(|| memmem::Finder::new(b"content\":"));
static TEXT: LazyLock<memmem::Finder<'static>> =
    LazyLock::new(|| memmem::Finder::new(b"\"text\":"));
static REASONING: LazyLock<memmem::Finder<'static>> =
    LazyLock::new(|| memmem::Finder::new(b"\"reasoning\":"));
static ARGUMENTS: LazyLock<memmem::Finder<'static>> =
    LazyLock::new(|| memmem::Finder::new(b"\"arguments\":"));

/// What a stream has said so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The last usage that made sense: never summed.
    pub usage: Option<Usage>,
    /// A usage came that contradicts itself.
    pub nonsense: bool,
    pub finish: Option<Finish>,
    /// `[DONE]` came.
    pub done: bool,
    /// The host reported an error inside the stream.
    pub error: Option<String>,
    /// Data events, `[DONE]` not counted.
    pub events: u64,
    /// Bytes of thinking and of text or tool arguments, as JSON writes them.
    pub reasoning_bytes: u64,
    pub visible_bytes: u64,
    /// The answer's id, as the host gave it in its first event.
    pub host_request: Option<String>,
}

impl Report {
    /// A choice has ended. That the host gave up on one stands, whatever becomes of the others.
    pub(super) fn finished(&mut self, reason: Finish) {
        if self.finish != Some(Finish::HostGaveUp) {
            self.finish = Some(reason);
        }
    }

    /// Whether the answer came to its end: said by `[DONE]`, a finish or a final usage.
    pub fn complete(&self) -> bool {
        self.error.is_none()
            && self.finish != Some(Finish::HostGaveUp)
            && (self.done || self.finish.is_some())
    }
}

/// Pieces to pass on; nearly always one.
pub type Pieces = SmallVec<[Bytes; 2]>;

/// Looks at a stream.
#[derive(Debug)]
pub struct Sight {
    hide_usage: bool,
    rename_reasoning: bool,
    /// A choice says `text` rather than a delta.
    bare: bool,
    pending: Pending,
    report: Report,
}

/// What becomes of an event.
enum Verdict {
    Pass,
    Drop,
    /// These bytes of it become others.
    Edit(SmallVec<[(Range<usize>, &'static [u8]); 2]>),
}

impl Sight {
    /// `hide_usage`: the caller did not ask for it; we did. `rename_reasoning`: the host calls
    /// thinking `reasoning`, callers of this dialect read `reasoning_content`.
    pub fn new(hide_usage: bool, rename_reasoning: bool) -> Self {
        Sight {
            hide_usage,
            rename_reasoning,
            bare: false,
            pending: Pending::default(),
            report: Report::default(),
        }
    }

    /// Of a stream of text completions.
    pub fn of_completions(hide_usage: bool) -> Self {
        Sight {
            bare: true,
            ..Sight::new(hide_usage, false)
        }
    }

    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Takes the next bytes, gives back what may be passed on: whole events only.
    pub fn take(&mut self, chunk: Bytes) -> Pieces {
        let buffer = self.pending.join(chunk);
        let mut pieces = Pieces::new();
        let mut passed = 0;
        let mut walk = Walk::new(&buffer);
        for event in &mut walk {
            if self.pending.was_oversize() {
                continue;
            }
            match self.event(&buffer, &event.data) {
                Verdict::Pass => {}
                Verdict::Drop => {
                    push(&mut pieces, buffer.slice(passed..event.span.start));
                    passed = event.span.end;
                }
                Verdict::Edit(edits) => {
                    for (range, with) in edits {
                        // Within what became something else already.
                        if range.start < passed {
                            continue;
                        }
                        push(&mut pieces, buffer.slice(passed..range.start));
                        push(&mut pieces, Bytes::from_static(with));
                        passed = range.end;
                    }
                }
            }
        }
        let event = walk.event;
        if self.pending.keep(&buffer, event) {
            push(&mut pieces, buffer.slice(passed.min(event)..event));
        } else {
            push(&mut pieces, buffer.slice(passed..));
        }
        pieces
    }

    /// The stream has ended: what is left, an event without its blank line, is read and given back
    /// closed. What it is worth is the report's to say: a stream that broke off leaves half an event.
    pub fn end(&mut self) -> Pieces {
        self.pending
            .end()
            .map_or_else(Pieces::new, |rest| self.take(rest))
    }

    fn event(&mut self, buffer: &[u8], data: &[Range<usize>]) -> Verdict {
        let mut verdict = Verdict::Pass;
        // One data line an event on this wire; of several, each is read by itself.
        for range in data {
            let payload = &buffer[range.clone()];
            let found = self.payload(payload);
            let renamed = if self.rename_reasoning {
                reasoning_keys(payload)
            } else {
                SmallVec::new()
            };
            match found {
                Some(Verdict::Drop) => verdict = Verdict::Drop,
                _ if matches!(verdict, Verdict::Drop) => {}
                found => {
                    let mut edits = match found {
                        Some(Verdict::Edit(edits)) => edits,
                        _ => SmallVec::new(),
                    };
                    edits.extend(renamed.into_iter().map(|key| (key, RENAMED)));
                    if edits.is_empty() {
                        continue;
                    }
                    for (inner, _) in &mut edits {
                        *inner = range.start + inner.start..range.start + inner.end;
                    }
                    edits.sort_by_key(|(range, _)| range.start);
                    match &mut verdict {
                        Verdict::Edit(earlier) => earlier.extend(edits),
                        _ => verdict = Verdict::Edit(edits),
                    }
                }
            }
        }
        verdict
    }

    fn payload(&mut self, payload: &[u8]) -> Option<Verdict> {
        if payload == b"[DONE]" {
            self.report.done = true;
            // After a failure it would make a part look like the whole.
            return self.failed().then_some(Verdict::Drop);
        }
        self.report.events += 1;
        if self.report.events == 1 {
            self.first(payload);
        }
        // Google wraps an error in an array, even on streams.
        let inner = payload
            .strip_prefix(b"[")
            .and_then(|rest| rest.strip_suffix(b"]"))
            .map_or(payload, <[u8]>::trim_ascii);
        if inner.starts_with(b"{\"error\"") || inner.starts_with(b"{ \"error\"") {
            self.error(inner);
            // It is told in the caller's dialect, once nobody else can go on.
            return self.failed().then_some(Verdict::Drop);
        }
        if let Some(word) = FINISH
            .find(payload)
            .and_then(|at| string_at(payload, at + 16))
        {
            let word = std::str::from_utf8(&payload[word]).unwrap_or("");
            self.report.finished(finish(word));
        }
        self.count(payload);
        let usage = self.usage_in(payload);
        if self.failed() {
            return Some(Verdict::Drop);
        }
        usage
    }

    /// The host said that it will not complete the answer.
    fn failed(&self) -> bool {
        self.report.error.is_some() || self.report.finish == Some(Finish::HostGaveUp)
    }

    fn usage_in(&mut self, payload: &[u8]) -> Option<Verdict> {
        // Others may use the name within: the chunk is read where one of them holds something.
        let holds = |at: usize| {
            let rest = payload[at + 7..].trim_ascii_start();
            rest.strip_prefix(b":")
                .is_some_and(|value| !value.trim_ascii_start().starts_with(b"null"))
        };
        if USAGE.find_iter(payload).any(holds) {
            return self.usage(payload);
        }
        None
    }

    fn first(&mut self, payload: &[u8]) {
        #[derive(Deserialize)]
        struct First<'a> {
            #[serde(borrow)]
            id: Option<std::borrow::Cow<'a, str>>,
        }
        if let Ok(First { id: Some(id) }) = serde_json::from_slice(payload) {
            self.report.host_request = Some(id.chars().take(128).collect());
        }
    }

    fn error(&mut self, payload: &[u8]) {
        #[derive(Deserialize)]
        struct Failed {
            error: serde_json::Value,
        }
        if let Ok(failed) = serde_json::from_slice::<Failed>(payload)
            && !failed.error.is_null()
        {
            self.report.error = Some(error_text(&failed.error));
        }
    }

    /// How much was said, for streams whose usage never comes.
    fn count(&mut self, payload: &[u8]) {
        if self.bare {
            let text = TEXT.find(payload).and_then(|at| string_at(payload, at + 7));
            self.report.visible_bytes += text.map_or(0, |text| text.len()) as u64;
            return;
        }
        if let Some(at) = CONTENT.find(payload) {
            let bytes = string_at(payload, at + 9).map_or(0, |text| text.len()) as u64;
            if payload[..at].ends_with(b"reasoning_") {
                self.report.reasoning_bytes += bytes;
                // Text may follow the thinking in the same event.
                let more = CONTENT.find(&payload[at + 9..]).map(|more| at + 9 + more);
                if let Some(text) = more.and_then(|more| string_at(payload, more + 9)) {
                    self.report.visible_bytes += text.len() as u64;
                }
            } else {
                self.report.visible_bytes += bytes;
            }
        }
        if let Some(text) = REASONING
            .find(payload)
            .and_then(|at| string_at(payload, at + 12))
        {
            self.report.reasoning_bytes += text.len() as u64;
        }
        if let Some(text) = ARGUMENTS
            .find(payload)
            .and_then(|at| string_at(payload, at + 12))
        {
            self.report.visible_bytes += text.len() as u64;
        }
    }

    fn usage(&mut self, payload: &[u8]) -> Option<Verdict> {
        #[derive(Deserialize)]
        struct Chunk<'a> {
            #[serde(borrow)]
            usage: Option<&'a RawValue>,
            choices: Option<Vec<IgnoredAny>>,
        }
        let chunk: Chunk<'_> = serde_json::from_slice(payload).ok()?;
        let raw = chunk.usage?;
        match serde_json::from_str::<RawUsage>(raw.get()).map(RawUsage::normalise) {
            Ok(Ok(usage)) => self.report.usage = Some(usage),
            _ => self.report.nonsense = true,
        }
        if !self.hide_usage {
            return None;
        }
        if chunk.choices.is_some_and(|choices| choices.is_empty()) {
            return Some(Verdict::Drop);
        }
        let start = raw.get().as_ptr() as usize - payload.as_ptr() as usize;
        Some(Verdict::Edit(smallvec![(
            start..start + raw.get().len(),
            b"null" as &[u8],
        )]))
    }
}

fn push(pieces: &mut Pieces, piece: Bytes) {
    if !piece.is_empty() {
        pieces.push(piece);
    }
}

const RENAMED: &[u8] = b"\"reasoning_content\":";

/// Where the key `reasoning` names a text, unless the text stands under the other name already.
fn reasoning_keys(payload: &[u8]) -> SmallVec<[Range<usize>; 2]> {
    if memmem::find(payload, RENAMED).is_some() {
        return SmallVec::new();
    }
    REASONING
        .find_iter(payload)
        .map(|at| at..at + RENAMED_FROM)
        .filter(|key| matches!(payload[key.end..].trim_ascii_start(), [b'"' | b'n', ..]))
        .collect()
}

/// Length of `"reasoning":`.
const RENAMED_FROM: usize = 12;

/// A plain answer of a host that calls thinking `reasoning`, as callers of this dialect read it.
pub fn renamed(body: Bytes) -> Bytes {
    let keys = reasoning_keys(&body);
    if keys.is_empty() {
        return body;
    }
    let mut renamed = BytesMut::with_capacity(body.len() + keys.len() * 8);
    let mut done = 0;
    for key in keys {
        renamed.extend_from_slice(&body[done..key.start]);
        renamed.extend_from_slice(RENAMED);
        done = key.end;
    }
    renamed.extend_from_slice(&body[done..]);
    renamed.freeze()
}

/// The inside of the JSON string that begins at `at` (blanks allowed before it), escapes kept.
fn string_at(payload: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = payload.get(at..)?;
    let blank = rest.len() - rest.trim_ascii_start().len();
    let start = at + blank + 1;
    if payload.get(start - 1) != Some(&b'"') {
        return None;
    }
    let mut from = start;
    loop {
        let found = from + memchr2(b'"', b'\\', payload.get(from..)?)?;
        if payload[found] == b'"' {
            return Some(start..found);
        }
        from = found + 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sse::EVENT_LIMIT;
    use super::*;
    use crate::chat::Tokens;

    const STREAM: &str = concat!(
        ": keep-alive\n\n",
        "data: {\"id\":\"c1\",\"choices\":[{\"delta\":{\"role\":\"assistant\",\"reasoning_content\":\"\"}}],\"usage\":null}\n\n",
        "data: {\"id\":\"c1\",\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\\\"m\"}}],\"usage\":null}\r\n\r\n",
        "data: {\"id\":\"c1\",\"choices\":[{\"delta\":{\"content\":\"say \\\"usage\\\" now\"}}],\"usage\":null}\n\n",
        "data: {\"id\":\"c1\",\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n",
        "data: {\"id\":\"c1\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5,\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n",
        "data: [DONE]\n\n",
    );

    fn run(stream: &[u8], cuts: &[usize], hide: bool) -> (Vec<u8>, Report) {
        let mut sight = Sight::new(hide, false);
        let mut out = Vec::new();
        let mut start = 0;
        for &cut in cuts {
            let cut = cut.clamp(start, stream.len());
            for piece in sight.take(Bytes::copy_from_slice(&stream[start..cut])) {
                out.extend_from_slice(&piece);
            }
            start = cut;
        }
        for piece in sight.take(Bytes::copy_from_slice(&stream[start..])) {
            out.extend_from_slice(&piece);
        }
        for piece in sight.end() {
            out.extend_from_slice(&piece);
        }
        (out, sight.report().clone())
    }

    #[test]
    fn a_usage_that_is_hidden_hides_what_would_be_renamed_in_it() {
        let mut sight = Sight::new(true, true);
        let chunk = r#"data: {"choices":[{"delta":{"reasoning":"hm"}}],"x":{"usage":null},"usage":{"prompt_tokens":1,"completion_tokens":1,"reasoning":null}}"#;
        let pieces = sight.take(Bytes::from(format!("{chunk}\n\n")));
        let passed: Vec<u8> = pieces.iter().flat_map(|piece| piece.to_vec()).collect();
        assert_eq!(
            String::from_utf8(passed).expect("text"),
            "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}],\"x\":{\"usage\":null},\"usage\":null}\n\n"
        );
        assert!(sight.report().usage.is_some());
    }

    #[test]
    fn that_a_host_gave_up_on_one_choice_is_not_forgotten_for_another() {
        let stream = concat!(
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"error\"}]}\n\n",
            "data: {\"choices\":[{\"index\":1,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
            "data: [DONE]\n\n",
        );
        let (_, report) = run(stream.as_bytes(), &[], false);
        assert_eq!(report.finish, Some(Finish::HostGaveUp));
        assert!(!report.complete());
    }

    #[test]
    fn the_bytes_pass_unchanged_and_everything_is_seen() {
        let (out, report) = run(STREAM.as_bytes(), &[], false);
        assert_eq!(out, STREAM.as_bytes());
        let usage = report.usage.expect("usage");
        assert_eq!(
            (usage.cache_miss, usage.cache_hit, usage.visible),
            (Tokens::new(5), Tokens::new(4), Tokens::new(5))
        );
        assert!(report.done && report.complete());
        assert_eq!(report.finish, Some(Finish::Stop));
        assert_eq!(report.reasoning_bytes, 5);
        assert_eq!(report.visible_bytes, 17);
        assert_eq!(report.events, 5);
        assert_eq!(report.host_request.as_deref(), Some("c1"));
    }

    #[test]
    fn a_usage_that_was_not_asked_for_is_hidden() {
        let (out, report) = run(STREAM.as_bytes(), &[], true);
        let text = String::from_utf8(out).expect("text");
        assert!(!text.contains("prompt_tokens"), "{text}");
        assert!(text.ends_with("data: [DONE]\n\n"));
        assert!(report.usage.is_some());
        let on_finish = "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n";
        let (out, report) = run(on_finish.as_bytes(), &[], true);
        assert_eq!(
            out,
            b"data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":null}\n\n"
        );
        assert!(report.usage.is_some());
    }

    #[test]
    fn the_last_usage_wins_and_nonsense_never_does() {
        let usage = |n: &str| {
            format!(
                "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":{n},\"completion_tokens\":1}}}}\n\n"
            )
        };
        let (_, report) = run(
            format!("{}{}", usage("3"), usage("4")).as_bytes(),
            &[],
            false,
        );
        assert_eq!(
            report.usage.map(|usage| usage.input()),
            Some(Tokens::new(4))
        );
        let (_, report) = run(
            format!("{}{}", usage("3"), usage("-4")).as_bytes(),
            &[],
            false,
        );
        assert_eq!(
            report.usage.map(|usage| usage.input()),
            Some(Tokens::new(3))
        );
        assert!(report.nonsense);
    }

    #[test]
    fn an_error_inside_the_stream_is_seen() {
        let (_, report) = run(b"data: {\"error\":{\"message\":\"boom\"}}\n\n", &[], false);
        assert_eq!(report.error.as_deref(), Some("boom"));
        assert!(!report.complete());
        let gave_up = b"data: {\"choices\":[{\"finish_reason\":\"insufficient_system_resource\"}]}\n\ndata: [DONE]\n\n";
        assert!(!run(gave_up, &[], false).1.complete());
    }

    #[test]
    fn an_error_in_an_array_is_one_as_well() {
        let wrapped = b"data: [{\"error\":{\"code\":429,\"message\":\"quota\",\"status\":\"RESOURCE_EXHAUSTED\"}}]\n\n";
        let (out, report) = run(wrapped, &[], false);
        assert_eq!(
            (out.as_slice(), report.error.as_deref()),
            (b"".as_slice(), Some("quota"))
        );
    }

    #[test]
    fn what_looks_like_an_end_does_not_pass_after_a_failure() {
        let failed = b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"error\":{\"message\":\"boom\"}}\n\ndata: [DONE]\n\n";
        let (out, _) = run(failed, &[], false);
        assert_eq!(
            out,
            b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"
        );
        let gave_up = b"data: {\"choices\":[{\"finish_reason\":\"insufficient_system_resource\"}]}\n\ndata: [DONE]\n\n";
        assert_eq!(run(gave_up, &[], false).0, b"");
    }

    #[test]
    fn an_event_beyond_the_limit_passes_unread() {
        let huge = format!("data: {{\"x\":\"{}\"}}\n\n", "y".repeat(EVENT_LIMIT + 10));
        let stream = format!("{huge}{STREAM}");
        let cuts: Vec<usize> = (0..stream.len()).step_by(1 << 20).collect();
        let (out, report) = run(stream.as_bytes(), &cuts, false);
        assert_eq!(out.len(), stream.len());
        assert!(report.done && report.usage.is_some());
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_bytes_and_the_same_report(
            cuts in proptest::collection::vec(0..STREAM.len(), 0..12),
            ends in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
            hide in any::<bool>(),
            closed in any::<bool>(),
        ) {
            let mut stream = STREAM.replace("\r\n", "\n").replace('\n', ends);
            if !closed {
                stream.truncate(stream.len() - 2 * ends.len());
            }
            let mut cuts = cuts;
            cuts.sort_unstable();
            let whole = run(stream.as_bytes(), &[], hide);
            prop_assert_eq!(run(stream.as_bytes(), &cuts, hide), whole);
        }
    }
}
