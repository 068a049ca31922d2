//! Callers: one that waits for its answer, one that leaves in the middle, and a bare socket for
//! those who do not speak HTTP well.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::PATIENCE;
use crate::book::MODEL;

/// A caller with a key.
#[derive(Clone)]
pub struct Caller {
    client: reqwest::Client,
    address: SocketAddr,
    key: String,
    /// Whether the key is shown as `Authorization: Bearer`.
    bearer: bool,
    headers: Vec<(String, String)>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

/// A stream's events, told apart.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// `data:` lines that hold JSON.
    pub data: Vec<Value>,
    pub comments: Vec<String>,
    pub done: bool,
}

/// A small chat request.
pub fn question() -> Value {
    json!({
        "model": MODEL,
        "messages": [
            {"role": "system", "content": "Answer in one sentence."},
            {"role": "user", "content": "Which hosts sell this model?"},
        ],
        "max_tokens": 64,
    })
}

/// The same, streamed, with usage.
pub fn streamed() -> Value {
    let mut request = question();
    request["stream"] = json!(true);
    request["stream_options"] = json!({"include_usage": true});
    request
}

impl Caller {
    pub fn new(address: SocketAddr, key: &str) -> Self {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .expect("a client");
        Caller {
            client,
            address,
            key: key.to_owned(),
            bearer: true,
            headers: Vec::new(),
        }
    }

    /// The same caller at a gateway that came up elsewhere.
    pub fn at(&self, address: SocketAddr) -> Self {
        Caller {
            address,
            ..self.clone()
        }
    }

    /// The same caller, sending a header more.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same caller, showing its key as Anthropic's clients do.
    pub fn by_x_api_key(mut self) -> Self {
        self.bearer = false;
        let key = self.key.clone();
        self.with("x-api-key", &key)
    }

    pub async fn ask(&self, body: &Value) -> Answer {
        self.try_ask(body).await.expect("the gateway answers")
    }

    /// An error where the gateway breaks off.
    pub async fn try_ask(&self, body: &Value) -> Result<Answer, reqwest::Error> {
        self.post("/v1/chat/completions", body.to_string()).await
    }

    /// Asks at an endpoint of any dialect.
    pub async fn ask_at(&self, path: &str, body: &Value) -> Answer {
        let answer = self.post(path, body.to_string()).await;
        answer.expect("the gateway answers")
    }

    pub async fn post(
        &self,
        path: &str,
        body: impl Into<reqwest::Body>,
    ) -> Result<Answer, reqwest::Error> {
        self.send(path, "application/json", body).await
    }

    /// Posts a body of this type.
    pub async fn send(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> Result<Answer, reqwest::Error> {
        let request = self.request(Method::POST, path);
        let request = request.header("content-type", content_type);
        answer(request.body(body)).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        let answer = answer(self.request(Method::GET, path)).await;
        answer.expect("the gateway answers")
    }

    pub async fn delete(&self, path: &str) -> Answer {
        let answer = answer(self.request(Method::DELETE, path)).await;
        answer.expect("the gateway answers")
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", self.address);
        let mut request = self.client.request(method, url);
        if self.bearer {
            request = request.bearer_auth(&self.key);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request
    }

    /// The request as bytes on the wire.
    pub fn bytes(&self, body: &Value) -> Vec<u8> {
        let body = body.to_string();
        let mut head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n",
            self.address,
            self.key,
            body.len()
        );
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        (head + "\r\n" + &body).into_bytes()
    }

    /// Asks, reads that many bytes of the answer, and closes the connection. Returns how many came:
    /// fewer where the answer is shorter.
    pub async fn leave_after(&self, body: &Value, bytes: usize) -> usize {
        let mut socket = TcpStream::connect(self.address)
            .await
            .expect("the gateway listens");
        socket.set_nodelay(true).expect("a socket option");
        socket
            .write_all(&self.bytes(body))
            .await
            .expect("the request is sent");
        let mut buffer = vec![0; 4_096];
        let mut read = 0;
        while read < bytes {
            let want = buffer.len().min(bytes - read);
            let came = socket.read(&mut buffer[..want]);
            match tokio::time::timeout(PATIENCE, came)
                .await
                .expect("more of the answer")
            {
                // The server keeps the connection after an answer: its last bytes end the reading.
                Ok(0) | Err(_) => break,
                Ok(count) => {
                    read += count;
                    if buffer[..count].ends_with(b"0\r\n\r\n") {
                        break;
                    }
                }
            }
        }
        read
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
    let response = request.send().await?;
    Ok(Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        text: response.text().await?,
    })
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| {
            panic!("status {}, no JSON ({error}): {}", self.status, self.text)
        })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// What the gateway says that the request cost in all, in picodollars: by its header, or by the
    /// comment at the end of a stream.
    pub fn cost(&self) -> Option<i128> {
        let comment = || {
            let lines = self.text.lines().rev();
            lines
                .into_iter()
                .find_map(|line| line.strip_prefix(": x-tollgate-cost: "))
        };
        let dollars = self.header("x-tollgate-cost").or_else(comment)?;
        let (whole, fraction) = dollars.split_once('.').unwrap_or((dollars, ""));
        Some(format!("{whole}{fraction:0<12}").parse().expect("dollars"))
    }

    /// The refusal in OpenAI's envelope: its code, after checking that the envelope is whole.
    pub fn code(&self) -> String {
        let body = self.json();
        let error = &body["error"];
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| text.len() > 10),
            "{body}"
        );
        assert!(error["type"].is_string(), "{body}");
        assert!(
            error["param"].is_string() || error["param"].is_null(),
            "{body}"
        );
        assert!(error.get("param").is_some(), "{body}");
        error["code"]
            .as_str()
            .unwrap_or_else(|| panic!("no code: {body}"))
            .to_owned()
    }

    pub fn message(&self) -> String {
        self.json()["error"]["message"]
            .as_str()
            .expect("a message")
            .to_owned()
    }

    pub fn events(&self) -> Events {
        let mut events = Events::default();
        for line in self.text.lines() {
            if let Some(comment) = line.strip_prefix(':') {
                events.comments.push(comment.trim().to_owned());
            } else if let Some(data) = line.strip_prefix("data:") {
                match data.trim() {
                    "[DONE]" => events.done = true,
                    data => events.data.push(
                        serde_json::from_str(data)
                            .unwrap_or_else(|error| panic!("{error}: {data}")),
                    ),
                }
            }
        }
        events
    }
}

impl Events {
    /// All that was said, thinking and text.
    pub fn text(&self) -> String {
        let deltas = self.data.iter().map(|event| &event["choices"][0]["delta"]);
        let parts = deltas.flat_map(|delta| {
            let part = |field: &str| delta[field].as_str().unwrap_or_default().to_owned();
            [part("reasoning_content"), part("content")]
        });
        parts.collect()
    }

    pub fn usage(&self) -> Option<&Value> {
        self.data
            .iter()
            .rev()
            .map(|event| &event["usage"])
            .find(|usage| !usage.is_null())
    }
}

/// Sends bytes, and reads what comes until the server closes, has answered whole, or is silent.
/// The server may close while we still send: that ends the sending.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let socket = TcpStream::connect(address)
        .await
        .expect("the gateway listens");
    let (mut reader, mut writer) = socket.into_split();
    let sending = async {
        let _ = writer.write_all(bytes).await;
        std::future::pending::<()>().await;
    };
    let reading = async {
        let mut answer = Vec::new();
        let mut buffer = [0; 4_096];
        while let Ok(count) = reader.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..count]);
            if count == 0 || is_whole(&answer) {
                break;
            }
        }
        answer
    };
    let answer = tokio::select! {
        answer = tokio::time::timeout(Duration::from_secs(20), reading) => answer.expect("an answer"),
        () = sending => unreachable!("the sending never ends by itself"),
    };
    String::from_utf8_lossy(&answer).into_owned()
}

/// An answer with a length that has come to its end.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| {
        line.strip_prefix("content-length:")?
            .trim()
            .parse::<usize>()
            .ok()
    });
    match length {
        Some(length) => body.len() >= length,
        None => head.contains("chunked") && body.ends_with("0\r\n\r\n"),
    }
}
