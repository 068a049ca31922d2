//! Refusals of the emulated hosts, each in its host's documented shape where one is known, and in
//! OpenAI's envelope elsewhere.

use serde_json::{Value, json};

use super::profile::EmulatedHost;

/// Why an emulated host answers no completion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub status: u16,
    pub message: String,
    pub param: Option<&'static str>,
    pub retry_after: Option<String>,
}

impl Failure {
    pub(super) fn new(status: u16, message: impl Into<String>) -> Self {
        Failure {
            status,
            message: message.into(),
            param: None,
            retry_after: None,
        }
    }

    pub(super) fn of_field(status: u16, param: &'static str, message: impl Into<String>) -> Self {
        Failure {
            param: Some(param),
            ..Failure::new(status, message)
        }
    }

    /// The words that a host uses for a status.
    pub(super) fn of_status(host: EmulatedHost, status: u16) -> Self {
        let message = match (host, status) {
            (EmulatedHost::Deepseek, 402) => "Insufficient Balance",
            (_, 402) => "The account has no credit left.",
            (EmulatedHost::Deepseek, 429) => "Rate limit reached: too many concurrent requests",
            (EmulatedHost::Vertex, 429) => "Resource exhausted. Please try again later.",
            (_, 429) => "Rate limit exceeded, please retry later.",
            (EmulatedHost::Deepseek, 503) => {
                "The server is overloaded, please retry your request after a brief wait."
            }
            (_, 503) => "The service is temporarily unavailable.",
            (_, 401) => "Invalid credentials.",
            (_, 400) => "The request is malformed.",
            (_, 404) => "Not found.",
            (_, 422) => "A parameter is invalid.",
            _ => "Internal error.",
        };
        let retry_after = (status == 429
            && matches!(host, EmulatedHost::Nebius | EmulatedHost::Azure))
        .then(|| "1".to_owned());
        Failure {
            retry_after,
            ..Failure::new(status, message)
        }
    }

    /// The body, as `host` writes it.
    pub(super) fn body(&self, host: EmulatedHost) -> Value {
        let message = &self.message;
        match host {
            EmulatedHost::Vertex => json!({"error": {
                "code": self.status,
                "message": message,
                "status": google_status(self.status),
            }}),
            EmulatedHost::Azure => json!({"error": {
                "code": if self.status == 401 { "401".to_owned() } else { kind(self.status).to_owned() },
                "message": message,
                "param": self.param,
                "type": kind(self.status),
            }}),
            // Assumed from its clients: neither envelope is documented.
            EmulatedHost::Siliconflow => {
                json!({"code": 20_000 + u32::from(self.status), "message": message, "data": null})
            }
            EmulatedHost::Novita => json!({
                "code": self.status,
                "reason": kind(self.status).to_uppercase(),
                "message": message,
                "metadata": {},
            }),
            _ => json!({"error": {
                "message": message,
                "type": kind(self.status),
                "param": self.param,
                "code": code(host, self.status),
            }}),
        }
    }
}

fn kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "insufficient_balance",
        403 => "permission_denied",
        404 => "not_found_error",
        429 => "rate_limit_error",
        503 => "service_unavailable_error",
        500..=599 => "server_error",
        _ => "invalid_request_error",
    }
}

fn code(host: EmulatedHost, status: u16) -> Option<&'static str> {
    match (host, status) {
        (EmulatedHost::Deepseek, 429) => Some("rate_limit_reached_error"),
        // DeepSeek puts this code on nearly everything.
        (EmulatedHost::Deepseek, _) => Some("invalid_request_error"),
        (_, 401) => Some("invalid_api_key"),
        (_, 404) => Some("model_not_found"),
        (_, 429) => Some("rate_limit_exceeded"),
        _ => None,
    }
}

fn google_status(status: u16) -> &'static str {
    match status {
        400 | 422 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_of_hosts_refuses_in_its_own_envelope() {
        let body = |host, status| Failure::of_status(host, status).body(host);
        assert_eq!(
            body(EmulatedHost::Vertex, 429)["error"]["status"],
            "RESOURCE_EXHAUSTED"
        );
        assert_eq!(body(EmulatedHost::Vertex, 429)["error"]["code"], 429);
        assert_eq!(
            body(EmulatedHost::Deepseek, 402)["error"]["message"],
            "Insufficient Balance"
        );
        assert_eq!(body(EmulatedHost::Azure, 401)["error"]["code"], "401");
        assert!(body(EmulatedHost::Siliconflow, 503)["message"].is_string());
        assert_eq!(
            body(EmulatedHost::Together, 429)["error"]["type"],
            "rate_limit_error"
        );
    }
}
