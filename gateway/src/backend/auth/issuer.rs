//! How an issuer of credentials is asked: one small HTTP request with limits on time and size, no
//! redirect followed, nothing secret sent in the clear beyond this machine and its metadata server.

use std::time::Duration;

use jiff::SignedDuration;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::{Host, Url};

use super::AuthError;
use super::token::Drawn;
use crate::time::Timestamp;

const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(15);
/// Tokens are some kilobytes.
const ANSWER_BYTES: usize = 256 << 10;
/// What of a refusal is shown.
const MESSAGE_CHARACTERS: usize = 300;

/// Names of Google's and the containers' metadata servers that are no addresses.
const METADATA_NAMES: [&str; 2] = ["metadata.google.internal", "metadata"];

/// Whether an address is this machine, or the server that its cloud put beside it.
pub(super) fn is_beside_us(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => {
            // The metadata servers of AWS, Google and Azure are link-local.
            address.is_loopback() || address.is_link_local()
        }
        Some(Host::Ipv6(address)) => {
            // fd00:ec2::254 (instances) and fd00:ec2::23 (pods) of AWS.
            address.is_loopback() || address.segments()[..2] == [0xfd00, 0x0ec2]
        }
        Some(Host::Domain(name)) => name == "localhost" || METADATA_NAMES.contains(&name),
        None => false,
    }
}

/// # Errors
/// When a secret sent there could be read on the way.
pub(super) fn guard(url: &Url) -> Result<(), AuthError> {
    if url.scheme() == "https" || is_beside_us(url) {
        return Ok(());
    }
    Err(AuthError::Setting(format!(
        "{} is neither https nor on this machine: no secret is sent there",
        shown(url)
    )))
}

/// An address without what may be secret in it.
pub(super) fn shown(url: &Url) -> String {
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let host = url.host_str().unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

/// # Errors
/// When the text is no address, or one that no secret may be sent to.
pub(super) fn address(what: &str, text: &str) -> Result<Url, AuthError> {
    let url = Url::parse(text.trim())
        .map_err(|_| AuthError::Setting(format!("{what} holds no address: write https://...")))?;
    guard(&url)?;
    Ok(url)
}

/// A client for one drawing of a credential: the next is an hour away, so nothing is kept open.
pub(super) fn client(url: &Url) -> Result<reqwest::Client, AuthError> {
    guard(url)?;
    let mut client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .timeout(ANSWER)
        .user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION")));
    if is_beside_us(url) {
        // A proxy of the environment leads out of the machine.
        client = client.no_proxy();
    }
    client
        .build()
        .map_err(|error| AuthError::no_answer(&shown(url), &innermost(&error)))
}

/// Sends a request; the body of a 2xx answer.
///
/// # Errors
/// When there is no answer, or another one.
pub(super) async fn ask(url: &Url, request: reqwest::RequestBuilder) -> Result<Vec<u8>, AuthError> {
    let unreachable = |error: reqwest::Error| AuthError::no_answer(&shown(url), &innermost(&error));
    let mut answer = request.send().await.map_err(unreachable)?;
    let status = answer.status();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES {
            return Err(AuthError::no_answer(&shown(url), "its answer is too long"));
        }
    }
    if status.is_success() {
        return Ok(body);
    }
    Err(AuthError::Refused {
        issuer: shown(url),
        status: status.as_u16(),
        message: message(&body),
    })
}

/// Sends a form.
pub(super) async fn post_form(url: &Url, fields: &[(&str, &str)]) -> Result<Vec<u8>, AuthError> {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let request = client(url)?
        .post(url.clone())
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept", "application/json")
        .body(body);
    ask(url, request).await
}

pub(super) fn read_json<T: DeserializeOwned>(url: &Url, body: &[u8]) -> Result<T, AuthError> {
    // serde's own message may quote what it read: only its place is told.
    serde_json::from_slice(body).map_err(|error| {
        AuthError::no_answer(
            &shown(url),
            &format!(
                "its answer is not what was expected (line {}, column {})",
                error.line(),
                error.column()
            ),
        )
    })
}

/// The answer of an OAuth token endpoint (RFC 6749, section 5.1) or of a metadata server.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    access_token: SecretString,
    expires_in: Option<Seconds>,
    /// Azure's App Service says when, in seconds since 1970, and not how long.
    expires_on: Option<Seconds>,
}

/// Azure's metadata server writes numbers in quotes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(i64),
    Text(String),
}

/// Assumed where an issuer does not say: RFC 6749 recommends to say it, and all known ones do.
const UNSAID_LIFE: i64 = 300;

impl TokenAnswer {
    pub(super) fn drawn(self, now: Timestamp) -> Result<Drawn<super::Credential>, AuthError> {
        let after = |seconds| now.checked_add(SignedDuration::from_secs(seconds)).ok();
        let life = self.expires_in.as_ref().and_then(Seconds::read);
        let end = self.expires_on.as_ref().and_then(Seconds::read);
        let until = match (life, end) {
            (Some(life), _) => after(life),
            (None, Some(end)) => Timestamp::from_second(end).ok(),
            (None, None) => after(UNSAID_LIFE),
        };
        Ok(Drawn {
            grant: super::Credential::bearer(&self.access_token)?,
            until,
        })
    }
}

impl Seconds {
    fn read(&self) -> Option<i64> {
        match self {
            Seconds::Number(seconds) => Some(*seconds),
            Seconds::Text(text) => text.trim().parse().ok(),
        }
    }
}

/// What a refusal says of its reason: OAuth's fields, AWS's XML, or the text itself. An issuer's
/// errors hold no secret of ours.
fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Oauth {
        error: serde_json::Value,
        error_description: Option<String>,
    }
    let text = String::from_utf8_lossy(body);
    let said = match serde_json::from_slice::<Oauth>(body) {
        Ok(Oauth {
            error,
            error_description,
        }) => {
            let code = match &error {
                serde_json::Value::String(code) => code.clone(),
                other => other["message"].as_str().unwrap_or_default().to_owned(),
            };
            match error_description {
                Some(description) => format!("{code}: {description}"),
                None => code,
            }
        }
        Err(_) => match (between(&text, "Code"), between(&text, "Message")) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            _ => text.into_owned(),
        },
    };
    let mut line: String = said
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .filter(|letter| !letter.is_control())
        .take(MESSAGE_CHARACTERS)
        .collect();
    if line.is_empty() {
        line.push_str("no reason given");
    }
    line
}

/// The text of an XML element without attributes or children.
pub(super) fn between<'a>(text: &'a str, element: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{element}>"))?;
    let (inside, _) = rest.split_once(&format!("</{element}>"))?;
    Some(inside.trim())
}

/// The innermost cause says most; the outer ones only name the step, and the address.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string().chars().take(200).collect()
}

/// # Errors
/// When the file is not there or not text.
pub(super) async fn read_file(path: &std::path::Path) -> Result<String, AuthError> {
    tokio::fs::read_to_string(path)
        .await
        .map_err(|error| AuthError::File {
            path: path.display().to_string(),
            reason: error.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("an address")
    }

    #[test]
    fn secrets_go_by_https_or_stay_on_the_machine() {
        for fine in [
            "https://oauth2.googleapis.com/token",
            "http://127.0.0.1:9/token",
            "http://[::1]/x",
            "http://169.254.170.2/v2/credentials",
            "http://[fd00:ec2::254]/latest",
            "http://metadata.google.internal/x",
            "http://localhost:42356/msi/token",
        ] {
            assert_eq!(guard(&url(fine)), Ok(()), "{fine}");
        }
        for bad in [
            "http://oauth2.googleapis.com/token",
            "http://10.0.0.5/x",
            "http://metadata.google.internal.evil.example/",
            "http://localhost.evil.example/",
        ] {
            assert!(guard(&url(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refusal_tells_its_reason_in_one_line() {
        let oauth = br#"{"error":"invalid_grant","error_description":"Invalid\n JWT Signature."}"#;
        assert_eq!(message(oauth), "invalid_grant: Invalid JWT Signature.");
        let google = br#"{"error":{"code":403,"message":"denied","status":"PERMISSION_DENIED"}}"#;
        assert_eq!(message(google), "denied");
        let aws = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not authorized</Message></Error></ErrorResponse>";
        assert_eq!(message(aws), "AccessDenied: Not authorized");
        assert_eq!(message(b""), "no reason given");
    }

    #[test]
    fn an_address_is_shown_without_its_query() {
        assert_eq!(
            shown(&url("http://127.0.0.1:80/identity?client_id=secret")),
            "http://127.0.0.1/identity"
        );
    }
}
