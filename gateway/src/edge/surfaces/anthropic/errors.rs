//! Refusals in Anthropic's dialect. Its clients choose what to do by the error's `type` and by the
//! status; ours keep their stable `code` beside them.
//! Source: the error types of the official client (`anthropic` 2.x, `types/shared`).

use bytes::Bytes;
use serde::Serialize;

use super::read::THREAD;
use crate::chat::{Code, Lack, Refusal};

/// The status of the HTTP answer: the contract's, but for the one that this dialect has of its own.
pub fn error_status(code: Code) -> u16 {
    match code {
        // Its clients know 529 as overload and retry it with patience.
        Code::Overloaded => 529,
        other => other.status(),
    }
}

/// The dialect's name for a kind of refusal.
fn kind(code: Code) -> &'static str {
    match code {
        Code::InvalidRequest | Code::Conflict => "invalid_request_error",
        Code::InvalidKey => "authentication_error",
        Code::BudgetExceeded => "billing_error",
        Code::NoCertifiedBackend | Code::NotAllowed => "permission_error",
        Code::NotFound => "not_found_error",
        Code::TooLarge => "request_too_large",
        Code::RateLimited => "rate_limit_error",
        Code::Overloaded => "overloaded_error",
        Code::HostFailed | Code::NoBackend => "api_error",
        Code::TimedOut => "timeout_error",
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    r#type: &'static str,
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    r#type: &'static str,
    /// As it is: a host's own words stand in it unchanged, and Claude Code mends its requests by
    /// them.
    message: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    backends: &'a [Lack],
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

/// By which clients know that they can go on without a thread (anthropic-python 2.13,
/// `threads._thread_state`).
#[derive(Serialize)]
struct Details {
    error_code: &'static str,
    unsupported: [&'static str; 1],
}

/// `{"type":"error","error":{"type","message","code","param"?,"backends"?,"retry_after_seconds"?}}`.
pub fn error_body(refusal: &Refusal) -> Bytes {
    let body = serde_json::to_vec(&Envelope {
        r#type: "error",
        error: Error {
            r#type: kind(refusal.code),
            message: &refusal.message,
            code: refusal.code.as_str(),
            param: refusal.field.as_deref(),
            backends: &refusal.backends,
            retry_after_seconds: refusal
                .retry_after
                .map(|wait| wait.as_secs() + u64::from(wait.subsec_nanos() > 0)),
            details: (refusal.field.as_deref() == Some(THREAD)).then_some(Details {
                error_code: "thread_unsupported_request",
                unsupported: [THREAD],
            }),
        },
    });
    Bytes::from(body.expect("strings and numbers are always JSON"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_error_has_the_type_that_clients_sort_by_and_our_code_beside_it() {
        let refusal = Refusal::new(Code::NoCertifiedBackend, "nobody is certified for `eu`")
            .because(vec![Lack {
                backend: "bedrock/default/us-east-1/m".into(),
                reason: "not in the EU".into(),
            }])
            .retry_after(Duration::from_millis(1500));
        let body: Value = serde_json::from_slice(&error_body(&refusal)).expect("JSON");
        assert_eq!(
            body,
            json!({"type": "error", "error": {
                "type": "permission_error",
                "message": "nobody is certified for `eu`",
                "code": "no_certified_backend",
                "backends": [{"backend": "bedrock/default/us-east-1/m", "reason": "not in the EU"}],
                "retry_after_seconds": 2,
            }})
        );
    }

    #[test]
    fn a_thread_is_refused_so_that_clients_go_on_without_one() {
        let refusal = Refusal::invalid(THREAD, "not here");
        let body: Value = serde_json::from_slice(&error_body(&refusal)).expect("JSON");
        assert_eq!(
            body["error"]["details"],
            json!({"error_code": "thread_unsupported_request", "unsupported": ["thread"]})
        );
    }

    #[test]
    fn a_hosts_own_words_stay_as_they_are() {
        let words = "messages.1.content.0: Invalid `signature` in `thinking` block \u{2014} \"x\"";
        let refusal = Refusal::new(Code::InvalidRequest, format!("the host refused: {words}"));
        let body: Value = serde_json::from_slice(&error_body(&refusal)).expect("JSON");
        assert!(
            body["error"]["message"]
                .as_str()
                .is_some_and(|message| message.contains(words))
        );
    }

    #[test]
    fn only_overload_has_a_status_of_its_own() {
        assert_eq!(error_status(Code::Overloaded), 529);
        for code in [
            Code::InvalidRequest,
            Code::BudgetExceeded,
            Code::HostFailed,
            Code::NoBackend,
            Code::TimedOut,
        ] {
            assert_eq!(error_status(code), code.status());
        }
    }
}
