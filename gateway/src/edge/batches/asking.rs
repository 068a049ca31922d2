//! One request of a batch: asked as if its caller sent it, again where all are busy, and told as a
//! line of the file of results.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::chat::{Code, Refusal};
use crate::edge::surfaces::openai_chat;
use crate::history::{BatchUsage, LineResult};
use crate::id::KeyId;

/// How a batch's requests are made: the gateway's line, or a test's.
pub trait Ask: Send + Sync + 'static {
    /// Makes a request with this key, which was valid when the batch was made: an answer with the
    /// status `401` if it is no more. `url` is a path that this gateway serves.
    fn ask(
        &self,
        key: KeyId,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> BoxFuture<'static, Told>;
}

/// What a request was answered.
#[derive(Clone, Debug)]
pub struct Told {
    pub status: StatusCode,
    pub request_id: Option<String>,
    pub retry_after: Option<Duration>,
    pub body: Bytes,
}

impl Told {
    /// What stands for an answer that the gateway failed to make.
    pub(super) fn broken() -> Self {
        let refusal = Refusal::new(
            Code::HostFailed,
            "the gateway failed while it made this request; make it again by itself",
        );
        Told {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            request_id: None,
            retry_after: None,
            body: openai_chat::error_body(&refusal),
        }
    }

    /// Nobody was free, or every host failed: another time may go better.
    pub(super) fn is_worth_another_try(&self) -> bool {
        matches!(
            self.status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
        )
    }
}

#[derive(Serialize)]
struct Row<'a> {
    id: String,
    custom_id: &'a str,
    response: Option<Response<'a>>,
    error: Option<Value>,
}

#[derive(Serialize)]
struct Response<'a> {
    status_code: u16,
    request_id: &'a str,
    body: &'a RawValue,
}

/// The result of a request that was answered.
pub(super) fn result(number: u32, custom_id: &str, told: &Told) -> LineResult {
    let text = one_line(&told.body);
    let row = Row {
        id: row_id(),
        custom_id,
        response: Some(Response {
            status_code: told.status.as_u16(),
            request_id: told.request_id.as_deref().unwrap_or_default(),
            body: &text,
        }),
        error: None,
    };
    LineResult {
        number,
        failed: !told.status.is_success(),
        usage: usage(text.get()),
        line: serde_json::to_vec(&row).expect("a row is JSON"),
    }
}

/// The line of a request that was never made.
pub(super) fn unasked(custom_id: &str, code: &str, message: &str) -> Vec<u8> {
    let row = Row {
        id: row_id(),
        custom_id,
        response: None,
        error: Some(json!({"code": code, "message": message})),
    };
    serde_json::to_vec(&row).expect("a row is JSON")
}

fn row_id() -> String {
    format!("batch_req_{}", Uuid::now_v7().simple())
}

/// A body as JSON on one line, as it came where that is so already.
fn one_line(body: &Bytes) -> Box<RawValue> {
    let raw = |text: String| RawValue::from_string(text).ok();
    let as_it_came = std::str::from_utf8(body)
        .ok()
        .filter(|text| !text.contains(['\n', '\r']))
        .and_then(|text| raw(text.to_owned()));
    as_it_came
        .or_else(|| {
            let value: Value = serde_json::from_slice(body).ok()?;
            raw(value.to_string())
        })
        .or_else(|| raw(Value::from(String::from_utf8_lossy(body)).to_string()))
        .unwrap_or_else(|| RawValue::NULL.to_owned())
}

/// The tokens that an answer tells, in whichever dialect.
fn usage(body: &str) -> BatchUsage {
    #[derive(serde::Deserialize)]
    struct Answer {
        usage: Option<Value>,
    }
    let Ok(Answer { usage: Some(usage) }) = serde_json::from_str(body) else {
        return BatchUsage::default();
    };
    let number = |paths: &[&str]| {
        let found = paths.iter().find_map(|path| usage.pointer(path)?.as_u64());
        found.unwrap_or(0)
    };
    let cached = number(&[
        "/prompt_tokens_details/cached_tokens",
        "/input_tokens_details/cached_tokens",
        "/cache_read_input_tokens",
    ]);
    // Anthropic's dialect leaves what it read from and wrote to a cache out of its input.
    let beside = number(&["/cache_read_input_tokens"]) + number(&["/cache_creation_input_tokens"]);
    BatchUsage {
        input: number(&["/prompt_tokens", "/input_tokens"]) + beside,
        cached,
        output: number(&["/completion_tokens", "/output_tokens"]),
        reasoning: number(&[
            "/completion_tokens_details/reasoning_tokens",
            "/output_tokens_details/reasoning_tokens",
            "/output_tokens_details/thinking_tokens",
        ]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(body: &str) -> Told {
        Told {
            status: StatusCode::OK,
            request_id: Some("r".into()),
            retry_after: None,
            body: Bytes::from(body.to_owned()),
        }
    }

    #[test]
    fn a_body_is_told_as_it_came_and_on_one_line_whatever_it_is() {
        for (body, expected) in [
            ("{\"b\": 1.0,\"a\":2}", "{\"b\": 1.0,\"a\":2}"),
            ("{\n \"b\": 1,\n \"a\": 2\n}\n", "{\"a\":2,\"b\":1}"),
            ("no JSON\nat all", "\"no JSON\\nat all\""),
            ("", "\"\""),
        ] {
            let result = result(7, "mine", &told(body));
            let line = String::from_utf8(result.line).expect("text");
            assert!(!line.contains('\n'));
            assert!(line.contains(&format!("\"body\":{expected}}}")), "{line}");
            let row: Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(row["custom_id"], "mine");
            assert_eq!(row["error"], Value::Null);
            assert_eq!(row["response"]["status_code"], 200);
        }
    }

    #[test]
    fn tokens_are_found_in_each_dialect() {
        let expected = BatchUsage {
            input: 10,
            cached: 4,
            output: 5,
            reasoning: 2,
        };
        for body in [
            r#"{"usage":{"prompt_tokens":10,"completion_tokens":5,
                "prompt_tokens_details":{"cached_tokens":4},
                "completion_tokens_details":{"reasoning_tokens":2}}}"#,
            r#"{"usage":{"input_tokens":10,"output_tokens":5,
                "input_tokens_details":{"cached_tokens":4},
                "output_tokens_details":{"reasoning_tokens":2}}}"#,
            r#"{"usage":{"input_tokens":5,"cache_read_input_tokens":4,
                "cache_creation_input_tokens":1,"output_tokens":5,
                "output_tokens_details":{"thinking_tokens":2}}}"#,
        ] {
            assert_eq!(usage(body), expected, "{body}");
        }
        assert_eq!(usage("{\"usage\":null}"), BatchUsage::default());
        assert_eq!(usage("[]"), BatchUsage::default());
    }
}
