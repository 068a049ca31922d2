//! AWS Signature Version 4, after "Create a signed AWS API request" of the IAM user guide: the
//! canonical request, the string to sign, the derived key, the header. The path is encoded once
//! more than it is sent, as every service but S3 wants it. Relies on aws-lc-rs for the digests.

use std::fmt::Write as _;
use std::sync::Arc;

use aws_lc_rs::{digest, hmac};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::request::Parts;
use secrecy::{ExposeSecret, SecretString};

use super::AuthError;
use crate::chat::Frames;
use crate::time::Timestamp;

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const SESSION: HeaderName = HeaderName::from_static("x-amz-security-token");

/// An access key, and the session that it belongs to if it is a temporary one.
pub struct Keys {
    pub id: String,
    pub secret: SecretString,
    pub session: Option<SecretString>,
}

/// What a signature is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub region: Arc<str>,
    pub service: Arc<str>,
}

/// Signs a request that is otherwise complete: adds `x-amz-date`, `x-amz-security-token` and
/// `authorization`. Signed are the host, the content type and every `x-amz-` header: what hops on
/// the way may not touch.
///
/// # Errors
/// When the address has no host, or the key cannot stand in a header.
pub fn sign(
    keys: &Keys,
    scope: &Scope,
    parts: &mut Parts,
    body: &Frames,
    now: Timestamp,
) -> Result<(), AuthError> {
    let signed = |name: &HeaderName| name == CONTENT_TYPE || name.as_str().starts_with("x-amz-");
    sign_these(keys, scope, parts, body, now, signed)
}

fn sign_these(
    keys: &Keys,
    scope: &Scope,
    parts: &mut Parts,
    body: &Frames,
    now: Timestamp,
    signed: impl Fn(&HeaderName) -> bool,
) -> Result<(), AuthError> {
    let unfit = |_| AuthError::Setting("the AWS access key cannot stand in a header".to_owned());
    let instant = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    parts
        .headers
        .insert(DATE, HeaderValue::try_from(&instant).map_err(unfit)?);
    if let Some(session) = &keys.session {
        let mut value = HeaderValue::try_from(session.expose_secret()).map_err(unfit)?;
        value.set_sensitive(true);
        parts.headers.insert(SESSION, value);
    }

    let (canonical, names) = canonical_request(parts, body, signed)?;
    let day = &instant[..8];
    let scope_text = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
    let digest = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let to_sign = format!("AWS4-HMAC-SHA256\n{instant}\n{scope_text}\n{digest}");
    let signature = hex(mac(signing_key(keys, scope, day).as_ref(), &to_sign).as_ref());
    let value = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope_text}, SignedHeaders={names}, Signature={signature}",
        keys.id
    );
    let mut value = HeaderValue::try_from(value).map_err(unfit)?;
    value.set_sensitive(true);
    parts.headers.insert(AUTHORIZATION, value);
    Ok(())
}

fn mac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

fn signing_key(keys: &Keys, scope: &Scope, day: &str) -> hmac::Tag {
    let secret = SecretString::from(format!("AWS4{}", keys.secret.expose_secret()));
    let key = mac(secret.expose_secret().as_bytes(), day);
    let key = mac(key.as_ref(), &scope.region);
    let key = mac(key.as_ref(), &scope.service);
    mac(key.as_ref(), "aws4_request")
}

/// The canonical request, and the names of its headers.
fn canonical_request(
    parts: &Parts,
    body: &Frames,
    signed: impl Fn(&HeaderName) -> bool,
) -> Result<(String, String), AuthError> {
    let mut headers = vec![(HOST.as_str(), host(&parts.uri)?)];
    for name in parts.headers.keys() {
        if name != HOST && signed(name) {
            let values = parts.headers.get_all(name).iter().map(trimmed);
            headers.push((name.as_str(), values.collect::<Vec<_>>().join(",")));
        }
    }
    headers.sort_unstable();
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    let names = names.join(";");

    let mut text = format!(
        "{}\n{}\n{}\n",
        parts.method,
        canonical_path(parts.uri.path()),
        canonical_query(parts.uri.query().unwrap_or_default()),
    );
    for (name, value) in &headers {
        let _ = writeln!(text, "{name}:{value}");
    }
    let _ = write!(text, "\n{names}\n{}", hash(body));
    Ok((text, names))
}

/// The host as the client will write it: with its port only where that is not the scheme's own.
fn host(uri: &http::Uri) -> Result<String, AuthError> {
    let Some(host) = uri.host() else {
        return Err(AuthError::Setting(format!("{uri} names no host")));
    };
    let usual = match uri.scheme_str() {
        Some("http") => Some(80),
        _ => Some(443),
    };
    Ok(match uri.port_u16() {
        Some(port) if Some(port) != usual => format!("{host}:{port}"),
        _ => host.to_owned(),
    })
}

/// Without spaces around, and one where several follow each other.
fn trimmed(value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// The path with its dots resolved, each segment percent-encoded although it is already.
fn canonical_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let mut text = String::with_capacity(path.len() + 16);
    for segment in &segments {
        text.push('/');
        encode(segment, false, &mut text);
    }
    if text.is_empty() || path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..") {
        text.push('/');
    }
    text
}

/// Parameters in order; what is percent-encoded already stays so.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (mut encoded_name, mut encoded_value) = (String::new(), String::new());
            encode(name, true, &mut encoded_name);
            encode(value, true, &mut encoded_value);
            (encoded_name, encoded_value)
        })
        .collect();
    pairs.sort_unstable();
    pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join("&")
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
fn encode(text: &str, keep_percent: bool, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (keep_percent && byte == b'%')
        {
            into.push(char::from(byte));
        } else {
            let _ = write!(into, "%{byte:02X}");
        }
    }
}

/// The digest of the body, frame by frame.
fn hash(body: &Frames) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in body.parts() {
        context.update(part);
    }
    hex(context.finish().as_ref())
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
#[path = "sigv4_tests.rs"]
mod tests;
