//! Plays a [`Script`] to one connection and writes the bill. What is said is `speech`'s.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::http::Reader;
use super::script::{End, Framing, Reply, Script, Start, UsageStyle};
use super::speech::{Call, text_of};
use super::{Delivery, State};

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
        let call = Call::new(state, index, &request.path, &body);

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
    if let Some(refusal) = call.refusal() {
        return refuse(to, call, 400, &[], &refusal).await;
    }
    if let (false, Some((_, gate))) = (call.streams, &call.script.gate) {
        gate.opened().await;
    }
    match &call.script.reply {
        Reply::Status {
            status,
            headers,
            body,
        } => refuse(to, call, *status, headers, body).await,
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

async fn refuse(
    to: &mut OwnedWriteHalf,
    call: &Call<'_>,
    status: u16,
    headers: &[(&'static str, String)],
    body: &str,
) -> io::Result<()> {
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
    let role = json!({"role": "assistant", "content": ""});
    send_each(to, call, &role, &Value::Null, 0).await?;

    for index in call.indexes() {
        if let Some((at, gate)) = &script.gate
            && *at == index
        {
            gate.opened().await;
        }
        match script.end {
            End::CutAfter(after) if index == after => return Err(scripted_close()),
            End::HangAfter(after) if index == after => std::future::pending().await,
            End::ErrorAfter(after) if index == after => {
                send(to, script, &json!({"error": {"message": "the machine broke", "type": "server_error", "code": null, "param": null}})).await?;
                return finish(to).await;
            }
            End::GaveUpAfter(after) if index == after => {
                return end(to, call, GAVE_UP, index).await;
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
            script.thinking_as
        } else {
            "content"
        };
        let delta = json!({field: text});
        let event = call.chunk(0, &delta, &Value::Null, index + 1);
        if matches!(script.end, End::CutInside(inside) if inside == index) {
            let line = format!("data: {event}\n\n");
            chunk(to, &line.as_bytes()[..line.len() / 2]).await?;
            return Err(scripted_close());
        }
        if matches!(script.framing, Framing::KeepAlives) {
            chunk(to, b": keep-alive\n\n").await?;
        }
        send_each(to, call, &delta, &Value::Null, index + 1).await?;
    }
    for piece in call.pieces() {
        send_each(to, call, &piece, &Value::Null, script.events).await?;
        if matches!(script.end, End::InsideACall) && call.is_half(&piece) {
            return Err(scripted_close());
        }
    }
    let reason = match script.end {
        End::GaveUp => GAVE_UP,
        _ => call.finish(),
    };
    end(to, call, reason, script.events).await
}

const GAVE_UP: &str = "insufficient_system_resource";

/// The finish, the usage and the end of a stream after so many events.
async fn end(
    to: &mut OwnedWriteHalf,
    call: &Call<'_>,
    reason: &str,
    events: usize,
) -> io::Result<()> {
    let script = &call.script;
    let bill = call.until(events);
    call.charge(bill);
    for choice in 0..call.choices {
        let mut last = call.chunk(choice, &json!({}), &json!(reason), events);
        if script.usage == UsageStyle::OnFinishChunk {
            last["usage"] = call.usage(bill);
        }
        send(to, script, &last).await?;
    }
    if script.usage == UsageStyle::Twice {
        let mut early = call.usage_chunk(bill);
        early["usage"]["completion_tokens"] = json!(1);
        send(to, script, &early).await?;
    }
    let tells = match script.usage {
        UsageStyle::Never | UsageStyle::OnFinishChunk | UsageStyle::Cumulative => false,
        UsageStyle::Unasked => true,
        _ => call.asked_usage,
    };
    if tells {
        send(to, script, &call.usage_chunk(bill)).await?;
    }
    if !matches!(script.end, End::NoDone) {
        frame(to, script, "data: [DONE]").await?;
    }
    finish(to).await
}

/// The same of each choice.
async fn send_each(
    to: &mut OwnedWriteHalf,
    call: &Call<'_>,
    delta: &Value,
    finish: &Value,
    events: usize,
) -> io::Result<()> {
    for choice in 0..call.choices {
        let event = call.chunk(choice, delta, finish, events);
        send(to, &call.script, &event).await?;
    }
    Ok(())
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
