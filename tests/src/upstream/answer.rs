//! Plays a [`Script`] to one connection and writes the bill.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::http::Reader;
use super::script::{End, Framing, Reply, Script, Start, UsageStyle};
use super::{Bill, Delivery, State};

/// The text of the `index`th event of every answer.
pub fn text_of(index: usize) -> String {
    format!("word{index} ")
}

pub(super) async fn serve(socket: TcpStream, state: Arc<State>) {
    let _ = socket.set_nodelay(true);
    let (reader, writer) = socket.into_split();
    let mut connection = Connection {
        reader: Reader::new(reader),
        writer,
    };
    while connection.answer_one(&state).await.is_ok() {}
}

struct Connection {
    reader: Reader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

/// One request being answered.
struct Call<'a> {
    script: Script,
    state: &'a State,
    index: usize,
    /// The bill if the answer is made whole.
    whole: Bill,
    asked_usage: bool,
    streams: bool,
    model: Value,
}

impl Connection {
    /// An error ends the connection, whoever is at fault.
    async fn answer_one(&mut self, state: &State) -> io::Result<()> {
        let request = self.reader.head().await?;
        if request.method == "GET" {
            return self.models().await;
        }
        let index = state.note(&request);
        let body = self.reader.body(&request).await?;
        state.update(index, |received| received.body.clone_from(&body));
        let call = Call::new(state, index, &body);

        let outcome = tokio::select! {
            // First: who has the last byte may already send the next request.
            biased;
            written = play(&mut self.writer, &call) => written,
            () = self.reader.closed() => Err(io::ErrorKind::ConnectionReset.into()),
        };
        let left = matches!(&outcome, Err(error) if error.kind() != io::ErrorKind::Other);
        state.update(index, |received| {
            received.state = if left {
                Delivery::Left
            } else {
                Delivery::Whole
            };
        });
        outcome
    }

    async fn models(&mut self) -> io::Result<()> {
        let body = r#"{"object":"list","data":[]}"#;
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.writer.write_all((head + body).as_bytes()).await
    }
}

/// The script itself closes the connection here.
fn scripted_close() -> io::Error {
    io::Error::other("the script closes")
}

async fn play(to: &mut OwnedWriteHalf, call: &Call<'_>) -> io::Result<()> {
    match call.script.start {
        Start::AtOnce | Start::SlowHead(_) => {}
        Start::After(wait) => tokio::time::sleep(wait).await,
        Start::Never => std::future::pending().await,
        Start::Close => return Err(scripted_close()),
    }
    match &call.script.reply {
        Reply::Status {
            status,
            headers,
            body,
        } => {
            let kind = if body.starts_with('<') {
                "text/html"
            } else {
                "application/json"
            };
            let mut head = format!("HTTP/1.1 {status} Scripted\r\ncontent-type: {kind}\r\n");
            for (name, value) in headers {
                head += &format!("{name}: {value}\r\n");
            }
            head += &format!("content-length: {}\r\n\r\n", body.len());
            write_head(to, call, &head).await?;
            to.write_all(body.as_bytes()).await
        }
        Reply::Body { content_type, body } => {
            call.charge(call.whole);
            plain(to, call, content_type, body.as_bytes(), body.len()).await
        }
        Reply::HalfABody => {
            let body = call.completion();
            call.charge(call.whole);
            plain(
                to,
                call,
                "application/json",
                &body.as_bytes()[..body.len() / 2],
                body.len(),
            )
            .await?;
            Err(scripted_close())
        }
        Reply::HalfTheJson => {
            let body = call.completion();
            call.charge(call.whole);
            let half = &body.as_bytes()[..body.len() / 2];
            plain(to, call, "application/json", half, half.len()).await
        }
        Reply::Completion if call.streams => stream(to, call).await,
        Reply::Completion => {
            let mut body = call.completion();
            if matches!(call.script.framing, Framing::KeepAlives) {
                body.insert_str(0, "\n\n\n");
            }
            call.charge(call.whole);
            plain(to, call, "application/json", body.as_bytes(), body.len()).await
        }
    }
}

async fn plain(
    to: &mut OwnedWriteHalf,
    call: &Call<'_>,
    kind: &str,
    body: &[u8],
    length: usize,
) -> io::Result<()> {
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n");
    write_head(to, call, &head).await?;
    if matches!(call.script.framing, Framing::ByteByByte) {
        for byte in body {
            to.write_all(std::slice::from_ref(byte)).await?;
        }
        return Ok(());
    }
    to.write_all(body).await
}

async fn write_head(to: &mut OwnedWriteHalf, call: &Call<'_>, head: &str) -> io::Result<()> {
    let Start::SlowHead(pause) = call.script.start else {
        return to.write_all(head.as_bytes()).await;
    };
    for byte in head.as_bytes() {
        to.write_all(std::slice::from_ref(byte)).await?;
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

async fn stream(to: &mut OwnedWriteHalf, call: &Call<'_>) -> io::Result<()> {
    let script = &call.script;
    write_head(
        to,
        call,
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    )
    .await?;
    if matches!(script.framing, Framing::ByteOrderMark) {
        chunk(to, "\u{feff}".as_bytes()).await?;
    }
    send(
        to,
        script,
        &call.chunk(json!({"role": "assistant", "content": ""}), Value::Null, 0),
    )
    .await?;

    for index in 0..script.events {
        match script.end {
            End::CutAfter(after) if index == after => return Err(scripted_close()),
            End::HangAfter(after) if index == after => std::future::pending().await,
            End::ErrorAfter(after) if index == after => {
                send(to, script, &json!({"error": {"message": "the machine broke", "type": "server_error", "code": null, "param": null}})).await?;
                return finish(to).await;
            }
            _ => {}
        }
        if script.pause > Duration::ZERO {
            tokio::time::sleep(script.pause).await;
        }
        // A host charges for what it has computed, before it knows whether anybody still listens.
        call.charge(call.until(index + 1));
        let mut text = text_of(index);
        if let Framing::HugeLine(bytes) = script.framing
            && index == script.events / 2
        {
            text = "x".repeat(bytes);
        }
        let field = if index < script.thinking {
            "reasoning_content"
        } else {
            "content"
        };
        let event = call.chunk(json!({field: text}), Value::Null, index + 1);
        if matches!(script.end, End::CutInside(inside) if inside == index) {
            let line = format!("data: {event}\n\n");
            chunk(to, &line.as_bytes()[..line.len() / 2]).await?;
            return Err(scripted_close());
        }
        if matches!(script.framing, Framing::KeepAlives) {
            chunk(to, b": keep-alive\n\n").await?;
        }
        send(to, script, &event).await?;
    }

    call.charge(call.whole);
    let reason = if matches!(script.end, End::GaveUp) {
        "insufficient_system_resource"
    } else {
        "stop"
    };
    let mut last = call.chunk(json!({}), json!(reason), script.events);
    if script.usage == UsageStyle::OnFinishChunk {
        last["usage"] = call.usage(call.whole);
    }
    send(to, script, &last).await?;
    if script.usage == UsageStyle::Twice {
        let mut early = call.usage_chunk();
        early["usage"]["completion_tokens"] = json!(1);
        send(to, script, &early).await?;
    }
    let tells = match script.usage {
        UsageStyle::Never | UsageStyle::OnFinishChunk | UsageStyle::Cumulative => false,
        UsageStyle::Unasked => true,
        _ => call.asked_usage,
    };
    if tells {
        send(to, script, &call.usage_chunk()).await?;
    }
    if !matches!(script.end, End::NoDone) {
        frame(to, script, "data: [DONE]").await?;
    }
    finish(to).await
}

async fn send(to: &mut OwnedWriteHalf, script: &Script, event: &Value) -> io::Result<()> {
    frame(to, script, &format!("data: {event}")).await
}

async fn frame(to: &mut OwnedWriteHalf, script: &Script, line: &str) -> io::Result<()> {
    match script.framing {
        Framing::Crlf => chunk(to, format!("{line}\r\n\r\n").as_bytes()).await,
        Framing::ByteByByte => {
            for byte in format!("{line}\n\n").as_bytes() {
                chunk(to, std::slice::from_ref(byte)).await?;
            }
            Ok(())
        }
        _ => chunk(to, format!("{line}\n\n").as_bytes()).await,
    }
}

async fn chunk(to: &mut OwnedWriteHalf, data: &[u8]) -> io::Result<()> {
    let mut framed = format!("{:x}\r\n", data.len()).into_bytes();
    framed.extend_from_slice(data);
    framed.extend_from_slice(b"\r\n");
    to.write_all(&framed).await
}

async fn finish(to: &mut OwnedWriteHalf) -> io::Result<()> {
    to.write_all(b"0\r\n\r\n").await
}

impl<'a> Call<'a> {
    fn new(state: &'a State, index: usize, body: &[u8]) -> Self {
        let script = state.script();
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let size = u64::try_from(body.len()).expect("a body's length");
        let count = |number: usize| u64::try_from(number).expect("a count");
        let whole = Bill {
            cache_miss: 100 + size % 57,
            cache_hit: 64 * (count(index) % 3),
            reasoning: count(script.thinking),
            visible: count(script.events - script.thinking),
        };
        Call {
            script,
            state,
            index,
            whole,
            asked_usage: asked["stream_options"]["include_usage"] == true,
            streams: asked["stream"] == true,
            model: asked["model"].clone(),
        }
    }

    fn charge(&self, bill: Bill) {
        self.state
            .update(self.index, |received| received.bill = Some(bill));
    }

    /// The bill after that many events.
    fn until(&self, events: usize) -> Bill {
        let events = u64::try_from(events).expect("a count");
        let reasoning = self.whole.reasoning.min(events);
        Bill {
            reasoning,
            visible: events - reasoning,
            ..self.whole
        }
    }

    fn usage(&self, bill: Bill) -> Value {
        let prompt = bill.cache_miss + bill.cache_hit;
        let completion = bill.reasoning + bill.visible;
        let told = |count: u64| match self.script.usage {
            UsageStyle::Negative => json!(-1),
            UsageStyle::Huge => json!(18_000_000_000_000_000_000_u64),
            UsageStyle::Text => json!(count.to_string()),
            UsageStyle::Zero => json!(0),
            _ => json!(count),
        };
        let hit = if self.script.usage == UsageStyle::Inconsistent {
            prompt + 1_000
        } else {
            bill.cache_hit
        };
        json!({
            "prompt_tokens": told(prompt),
            "completion_tokens": told(completion),
            "total_tokens": told(prompt + completion),
            "prompt_cache_hit_tokens": told(hit),
            "prompt_cache_miss_tokens": told(bill.cache_miss),
            "prompt_tokens_details": {"cached_tokens": told(hit)},
            "completion_tokens_details": {"reasoning_tokens": told(bill.reasoning)},
        })
    }

    fn id(&self) -> String {
        format!("chatcmpl-{}", self.index)
    }

    fn chunk(&self, delta: Value, finish: Value, events: usize) -> Value {
        let mut chunk = json!({
            "id": self.id(), "object": "chat.completion.chunk", "created": 1_795_000_000, "model": self.model,
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}],
        });
        match self.script.usage {
            UsageStyle::NullThenValue => chunk["usage"] = Value::Null,
            UsageStyle::Cumulative => chunk["usage"] = self.usage(self.until(events)),
            _ => {}
        }
        chunk
    }

    fn usage_chunk(&self) -> Value {
        json!({
            "id": self.id(), "object": "chat.completion.chunk", "created": 1_795_000_000, "model": self.model,
            "choices": [], "usage": self.usage(self.whole),
        })
    }

    fn completion(&self) -> String {
        let text = |range: std::ops::Range<usize>| range.map(text_of).collect::<String>();
        let mut answer = json!({
            "id": self.id(), "object": "chat.completion", "created": 1_795_000_000, "model": self.model,
            "choices": [{
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": text(self.script.thinking..self.script.events),
                    "reasoning_content": text(0..self.script.thinking),
                },
                "logprobs": null,
                "finish_reason": "stop",
            }],
        });
        if self.script.usage != UsageStyle::Never {
            answer["usage"] = self.usage(self.whole);
        }
        answer.to_string()
    }
}
