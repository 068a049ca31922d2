//! Signing in and out: a form that takes a key and leaves a session, and a button that ends it.
//! Both are posts that only our own pages may send; wrong keys are slowed down by address and by
//! the beginning of the key, so that guessing at one key does not lock out another.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{ConnectInfo, FromRequestParts, Query, State};
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use parking_lot::Mutex;
use serde::Deserialize;

use super::DashboardRooms;
use super::pages;
use super::session::{Standing, standing};
use crate::time::Timestamp;

/// Longest key looked at, in bytes.
pub(super) const LONGEST_KEY: usize = 256;
/// Longest form accepted, in bytes: a key and an address to go on to.
pub(super) const LONGEST_FORM: usize = 8 * 1_024;
/// Longest address to go on to after signing in.
const LONGEST_NEXT: usize = 512;
/// Wrong keys in a row before waiting starts.
const FREE_FAILURES: u8 = 10;
/// Each wrong key is forgiven after this many seconds.
const FORGIVEN_AFTER_S: i64 = 30;
/// Counters of wrong keys. Two callers that share one share its limit; memory stays the same.
const COUNTERS: usize = 4_096;
/// Characters of a key that choose its counter.
const COUNTED_PREFIX: usize = 12;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    next: &'a str,
    problem: Option<&'a str>,
    demonstration: bool,
    assets: super::assets::Assets,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Destination {
    next: String,
}

#[derive(Deserialize)]
pub(super) struct LoginForm {
    key: String,
    #[serde(default)]
    next: String,
}

/// Sends a stranger to the form, and remembers where to go on to.
pub(super) fn ask(asked: &Uri) -> Response {
    let mut target = "/dashboard/login".to_owned();
    let wanted = asked
        .path_and_query()
        .map_or("/dashboard", |path| path.as_str());
    if wanted != "/dashboard" && is_ours(wanted) {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        target = format!("{target}?{}", query.append_pair("next", wanted).finish());
    }
    pages::go_to(&target, None)
}

/// `GET /dashboard/login`
pub(super) async fn form(
    State(rooms): State<Arc<DashboardRooms>>,
    destination: Result<Query<Destination>, QueryRejection>,
) -> Response {
    let next = destination
        .map(|Query(destination)| destination.next)
        .unwrap_or_default();
    page(&rooms, StatusCode::OK, &next, None)
}

/// `POST /dashboard/login`
pub(super) async fn sign_in(
    State(rooms): State<Arc<DashboardRooms>>,
    OwnPage(caller): OwnPage,
    form: Result<Form<LoginForm>, FormRejection>,
) -> Response {
    let Ok(Form(form)) = form else {
        let problem = "The form did not arrive whole. Enter the key again.";
        return page(&rooms, StatusCode::BAD_REQUEST, "", Some(problem));
    };
    let now = rooms.clock.now();
    let key = form.key.trim();
    let attempt = rooms.throttle.attempt(caller, key);
    if let Some(wait) = attempt.refused(now) {
        return pages::too_many(wait);
    }
    let wrong = || {
        attempt.failed(now);
        let problem = "This key is not known here, or it has expired or been revoked.";
        page(&rooms, StatusCode::UNAUTHORIZED, &form.next, Some(problem))
    };
    if key.is_empty() || key.len() > LONGEST_KEY {
        return wrong();
    }
    let principal = match rooms.figures.sign_in(key).await {
        Ok(Some(principal)) => principal,
        Ok(None) => return wrong(),
        Err(error) => return pages::no_figures(&error),
    };
    match standing(&principal, now) {
        Standing::Expired => wrong(),
        Standing::OtherRole => pages::not_allowed(&principal),
        Standing::Reads => match rooms.sessions.begin(principal.payer.key) {
            Some(cookie) => {
                let next = if is_ours(&form.next) {
                    &form.next
                } else {
                    "/dashboard"
                };
                pages::go_to(next, Some(cookie))
            }
            None => pages::broken(),
        },
    }
}

/// `POST /dashboard/logout`
pub(super) async fn sign_out(
    State(rooms): State<Arc<DashboardRooms>>,
    _: OwnPage,
    headers: HeaderMap,
) -> Response {
    if let Some(session) = rooms.sessions.read(&headers) {
        rooms.sessions.end(session);
    }
    pages::go_to("/dashboard/login", rooms.sessions.taken_away())
}

fn page(rooms: &DashboardRooms, status: StatusCode, next: &str, problem: Option<&str>) -> Response {
    let next = if is_ours(next) { next } else { "" };
    let page = LoginPage {
        next,
        problem,
        demonstration: rooms.demonstration,
        assets: super::assets::Assets,
    };
    pages::show(status, &page)
}

/// Whether an address is one of our own pages: nobody can be sent elsewhere by our form.
fn is_ours(address: &str) -> bool {
    let ours = address.strip_prefix("/dashboard").is_some_and(|rest| {
        rest.is_empty() || rest.starts_with('?') || rest.starts_with("/requests/")
    });
    ours && address.len() <= LONGEST_NEXT
        && address
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

/// Passes only posts that a page of ours sent; gives the caller's address where it is known.
///
/// A browser says where a post comes from: in `Sec-Fetch-Site` when the page is trustworthy (https
/// or loopback), in `Origin` always. One that says neither is none of ours.
pub(super) struct OwnPage(pub(super) Option<IpAddr>);

impl FromRequestParts<Arc<DashboardRooms>> for OwnPage {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &Arc<DashboardRooms>,
    ) -> Result<Self, Response> {
        if sent_by_own_page(&parts.headers) {
            Ok(OwnPage(address(parts)))
        } else {
            Err(pages::other_site())
        }
    }
}

fn sent_by_own_page(headers: &HeaderMap) -> bool {
    let one = |name: header::HeaderName| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok(),
            _ => None,
        }
    };
    if headers.contains_key("sec-fetch-site") {
        return one(header::HeaderName::from_static("sec-fetch-site")) == Some("same-origin");
    }
    let origin = one(header::ORIGIN).and_then(|origin| origin.split_once("://"));
    let host = one(header::HOST);
    matches!((origin, host), (Some((_, origin)), Some(host)) if origin.eq_ignore_ascii_case(host))
}

/// The caller's address, where the server passes it on.
pub(super) fn address(parts: &Parts) -> Option<IpAddr> {
    parts
        .extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|ConnectInfo(peer)| peer.ip())
}

/// Counts wrong keys in a fixed number of counters.
pub(super) struct Throttle {
    counters: Mutex<Box<[Counter]>>,
}

#[derive(Clone, Copy, Default)]
struct Counter {
    failures: u8,
    /// Second of the last change.
    since: i64,
}

impl Throttle {
    pub(super) fn new() -> Self {
        Throttle {
            counters: Mutex::new(vec![Counter::default(); COUNTERS].into_boxed_slice()),
        }
    }

    /// The counter of this caller and the beginning of this key.
    pub(super) fn attempt(&self, caller: Option<IpAddr>, key: &str) -> Attempt<'_> {
        let prefix = &key.as_bytes()[..key.len().min(COUNTED_PREFIX)];
        let mut hasher = blake3::Hasher::new();
        hasher.update(
            caller
                .map(|address| address.to_string())
                .unwrap_or_default()
                .as_bytes(),
        );
        hasher.update(b" ");
        hasher.update(prefix);
        let digest = hasher.finalize();
        let number = u16::from_le_bytes([digest.as_bytes()[0], digest.as_bytes()[1]]);
        Attempt {
            throttle: self,
            counter: usize::from(number) % COUNTERS,
        }
    }
}

/// One try at signing in.
pub(super) struct Attempt<'a> {
    throttle: &'a Throttle,
    counter: usize,
}

impl Attempt<'_> {
    /// Seconds to wait, if there were too many wrong keys.
    pub(super) fn refused(&self, now: Timestamp) -> Option<u64> {
        let counter = self.at(now);
        let wait = counter.since + FORGIVEN_AFTER_S - now.as_second();
        (counter.failures >= FREE_FAILURES).then(|| u64::try_from(wait.max(1)).unwrap_or(1))
    }

    pub(super) fn failed(&self, now: Timestamp) {
        let mut counter = self.at(now);
        if counter.failures == 0 {
            counter.since = now.as_second();
        }
        counter.failures = counter.failures.saturating_add(1).min(FREE_FAILURES);
        self.throttle.counters.lock()[self.counter] = counter;
    }

    /// The counter as it stands now that time has forgiven some.
    fn at(&self, now: Timestamp) -> Counter {
        let counter = self.throttle.counters.lock()[self.counter];
        let forgiven = ((now.as_second() - counter.since) / FORGIVEN_AFTER_S).max(0);
        let failures = counter
            .failures
            .saturating_sub(u8::try_from(forgiven).unwrap_or(u8::MAX));
        Counter {
            failures,
            since: counter.since + forgiven * FORGIVEN_AFTER_S,
        }
    }
}

/// For [`pages`]: how long to wait, as a header.
pub(super) fn retry_after(seconds: u64) -> HeaderValue {
    HeaderValue::from(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_500_000 + second).expect("an instant")
    }

    #[test]
    fn guessing_is_slowed_down_and_forgiven_with_time() {
        let throttle = Throttle::new();
        let attempt = throttle.attempt(None, "tg_live_aaaaaaaa1");
        for _ in 0..FREE_FAILURES {
            assert_eq!(attempt.refused(at(0)), None);
            attempt.failed(at(0));
        }
        assert_eq!(attempt.refused(at(1)), Some(29));
        assert_eq!(attempt.refused(at(30)), None);
        attempt.failed(at(30));
        assert!(attempt.refused(at(31)).is_some());
    }

    #[test]
    fn guessing_at_one_key_locks_out_no_other_key_and_no_other_caller() {
        let throttle = Throttle::new();
        for _ in 0..100 {
            throttle.attempt(None, "tg_aaaaaaaaaaaa").failed(at(0));
        }
        assert_eq!(
            throttle.attempt(None, "tg_bbbbbbbbbbbb").refused(at(0)),
            None
        );
        let other = Some(IpAddr::from([192, 0, 2, 7]));
        assert_eq!(
            throttle.attempt(other, "tg_aaaaaaaaaaaa").refused(at(0)),
            None
        );
    }

    #[test]
    fn the_form_sends_nobody_elsewhere() {
        for address in [
            "/dashboard",
            "/dashboard?from=2026-11-01",
            "/dashboard/requests/1",
        ] {
            assert!(is_ours(address), "{address}");
        }
        for address in [
            "",
            "//evil.example",
            "https://evil.example",
            "/dashboard.evil.example",
            "/dashboard/logout",
            "/dashboard\\evil",
            "/dashboard?\r\nset-cookie:a=b",
            "/dashboardx",
            "/admin/v1/keys",
        ] {
            assert!(!is_ours(address), "{address}");
        }
    }

    #[test]
    fn only_our_own_pages_may_post() {
        let sent = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, value.parse().expect("a header"));
            }
            sent_by_own_page(&headers)
        };
        assert!(sent(&[("sec-fetch-site", "same-origin")]));
        assert!(sent(&[
            ("origin", "http://gate.example:8080"),
            ("host", "gate.example:8080")
        ]));
        assert!(!sent(&[]));
        assert!(!sent(&[("host", "gate.example")]));
        assert!(!sent(&[
            ("sec-fetch-site", "cross-site"),
            ("origin", "http://gate.example"),
            ("host", "gate.example")
        ]));
        assert!(!sent(&[
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "cross-site")
        ]));
        assert!(!sent(&[("sec-fetch-site", "same-site")]));
        assert!(!sent(&[
            ("origin", "http://evil.example"),
            ("host", "gate.example")
        ]));
        assert!(!sent(&[("origin", "null"), ("host", "gate.example")]));
    }
}
