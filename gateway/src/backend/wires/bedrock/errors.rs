//! Errors of Bedrock, told by a name rather than by their status. Source: the errors of botocore
//! 1.44's model of `bedrock-runtime`; the name stands in the header `x-amzn-ErrorType` or in the
//! body's `__type`, with an address behind `:` or a namespace before `#`.

use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

/// What a person can read of an error goes no further than this.
const LONGEST_MESSAGE: usize = 600;

/// The name of an error: `ThrottlingException`.
pub fn error_type(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(rename = "__type")]
        kind: Option<String>,
    }
    let shown = headers
        .get("x-amzn-errortype")
        .and_then(|value| value.to_str().ok().map(str::to_owned));
    let written = || serde_json::from_slice::<Body>(body).ok()?.kind;
    let name = shown.or_else(written)?;
    let name = name.split(':').next().unwrap_or_default();
    let name = name.rsplit('#').next().unwrap_or_default().trim();
    (!name.is_empty()).then(|| name.chars().take(64).collect())
}

/// An error as text for a person: its name and its message.
pub fn error_message(headers: &HeaderMap, body: &[u8]) -> String {
    let kind = error_type(headers, body);
    let message = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|body| {
            ["message", "Message"]
                .iter()
                .find_map(|name| body[name].as_str().map(str::to_owned))
        })
        .unwrap_or_else(|| super::super::openai::error_message(body));
    let message: String = message.chars().take(LONGEST_MESSAGE).collect();
    match kind {
        Some(kind) => format!("{kind}: {message}"),
        None => message,
    }
}

/// The status by which an error is judged: where Bedrock's own would mislead, the one that other
/// hosts say for the same thing. Inside a stream names begin in lower case, and the status is 200.
pub fn judged_status(status: u16, error_type: Option<&str>) -> u16 {
    let name = error_type.map(|name| {
        let (first, rest) = name.split_at_checked(1).unwrap_or((name, ""));
        first.to_ascii_uppercase() + rest
    });
    match name.as_deref() {
        // A quota of the account, said as 400: not the caller's mistake, and others may have room.
        Some("ServiceQuotaExceededException") => 429,
        Some("ThrottlingException" | "TooManyRequestsException") => 429,
        // A cold model: busy for a while.
        Some("ModelNotReadyException") => 429,
        Some("ModelTimeoutException") => 408,
        // The model failed, said as 424, which nobody else would retry.
        Some("ModelErrorException" | "ModelStreamErrorException") => 502,
        // A credential that no longer counts, said as 403 or 400.
        Some(
            "ExpiredTokenException"
            | "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "MissingAuthenticationTokenException"
            | "IncompleteSignatureException",
        ) => 401,
        Some("InternalServerException" | "InternalFailure") => 500,
        Some("ServiceUnavailableException") => 503,
        Some("ValidationException") => 400,
        _ if status == 424 => 502,
        _ => status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("x-amzn-errortype", http::HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn an_error_is_told_by_its_name_wherever_it_stands() {
        let none = HeaderMap::new();
        let header = named("ValidationException:http://internal.amazon.com/coral/com.amazon/");
        assert_eq!(
            error_type(&header, b"").as_deref(),
            Some("ValidationException")
        );
        assert_eq!(
            error_type(&none, br#"{"__type":"com.amazon#ThrottlingException"}"#).as_deref(),
            Some("ThrottlingException")
        );
        assert_eq!(error_type(&none, b"<html>"), None);
        assert_eq!(
            error_message(&header, br#"{"message":"too long"}"#),
            "ValidationException: too long"
        );
        assert_eq!(error_message(&none, br#"{"Message":"no"}"#), "no");
        assert_eq!(error_message(&none, b"<html>"), "no explanation");
    }

    #[test]
    fn each_error_of_the_model_is_judged_as_other_hosts_would_say_it() {
        for (status, name, judged) in [
            (400, "ValidationException", 400),
            (400, "ConflictException", 400),
            (400, "ServiceQuotaExceededException", 429),
            (403, "AccessDeniedException", 403),
            (403, "ExpiredTokenException", 401),
            (404, "ResourceNotFoundException", 404),
            (408, "ModelTimeoutException", 408),
            (424, "ModelErrorException", 502),
            (424, "ModelStreamErrorException", 502),
            (429, "ModelNotReadyException", 429),
            (429, "ThrottlingException", 429),
            (500, "InternalServerException", 500),
            (503, "ServiceUnavailableException", 503),
        ] {
            assert_eq!(judged_status(status, Some(name)), judged, "{name}");
        }
        assert_eq!(judged_status(424, None), 502);
        assert_eq!(judged_status(200, Some("throttlingException")), 429);
        assert_eq!(judged_status(200, Some("modelStreamErrorException")), 502);
        assert_eq!(judged_status(400, None), 400);
    }
}
