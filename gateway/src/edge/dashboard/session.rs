//! Who reads a page: a bearer key, or the cookie that the login form leaves. The cookie holds a
//! key's id, a random number and an end, sealed with a keyed BLAKE3 digest; the key itself is in
//! no cookie. Each page asks the live key again, so that a revoked key is out at its next click.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use parking_lot::Mutex;

use super::figures::FiguresError;
use super::login;
use super::pages;
use super::{Clock, DashboardRooms};
use crate::access::Principal;
use crate::id::KeyId;
use crate::time::Timestamp;

/// Name of the cookie.
pub(super) const COOKIE: &str = "tollgate_session";
/// How long a login lasts, in seconds: a working day.
const LASTS_S: i64 = 12 * 3_600;
/// Sessions that ended before their time and are remembered until it. Beyond, those with the least
/// time left are forgotten first.
const MOST_ENDED: usize = 10_000;
/// A cookie of ours is about 150 characters long.
const LONGEST_COOKIE: usize = 256;

/// Makes, checks and ends sessions.
pub(super) struct Sessions {
    secret: [u8; 32],
    /// Cookies with `Secure`.
    https: bool,
    clock: Clock,
    /// Ended by logout: end and seal of each.
    ended: Mutex<BTreeSet<(i64, String)>>,
}

/// A cookie whose seal holds and whose time has not passed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) key: KeyId,
    end: i64,
    seal: String,
}

impl Sessions {
    pub(super) fn new(secret: &[u8; 32], https: bool, clock: Clock) -> Self {
        Sessions {
            secret: blake3::derive_key("tollgate 2026 dashboard session", secret),
            https,
            clock,
            ended: Mutex::default(),
        }
    }

    /// The `Set-Cookie` of a new session; `None` if the system has no randomness to give.
    pub(super) fn begin(&self, key: KeyId) -> Option<HeaderValue> {
        let mut nonce = [0_u8; 16];
        getrandom::fill(&mut nonce).ok()?;
        let end = self.clock.now().as_second() + LASTS_S;
        let body = format!(
            "{}.{}.{end}",
            key.uuid().simple(),
            u128::from_be_bytes(nonce)
        );
        let seal = self.seal(&body);
        self.cookie(&format!("{body}.{}", seal.to_hex()), LASTS_S)
    }

    /// The `Set-Cookie` that takes the cookie away.
    pub(super) fn taken_away(&self) -> Option<HeaderValue> {
        self.cookie("", 0)
    }

    fn cookie(&self, value: &str, age: i64) -> Option<HeaderValue> {
        let secure = if self.https { "; Secure" } else { "" };
        HeaderValue::try_from(format!(
            "{COOKIE}={value}; Path=/dashboard; Max-Age={age}; HttpOnly; SameSite=Strict{secure}"
        ))
        .ok()
    }

    fn seal(&self, body: &str) -> blake3::Hash {
        blake3::keyed_hash(&self.secret, body.as_bytes())
    }

    /// The session of a request's cookie, if it is one of ours and still runs.
    pub(super) fn read(&self, headers: &HeaderMap) -> Option<Session> {
        let value = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))?;
        if value.len() > LONGEST_COOKIE {
            return None;
        }
        let (body, seal) = value.rsplit_once('.')?;
        // Compares in constant time.
        if self.seal(body) != blake3::Hash::from_hex(seal).ok()? {
            return None;
        }
        let mut fields = body.split('.');
        let key: KeyId = fields.next()?.parse().ok()?;
        let end: i64 = fields.nth(1)?.parse().ok()?;
        if end <= self.clock.now().as_second() {
            return None;
        }
        let seal = seal.to_ascii_lowercase();
        let session = Session { key, end, seal };
        let ended = self
            .ended
            .lock()
            .contains(&(session.end, session.seal.clone()));
        (!ended).then_some(session)
    }

    /// Ends a session for whoever else may hold its cookie.
    pub(super) fn end(&self, session: Session) {
        let now = self.clock.now().as_second();
        let mut ended = self.ended.lock();
        *ended = ended.split_off(&(now, String::new()));
        if ended.len() >= MOST_ENDED {
            ended.pop_first();
        }
        ended.insert((session.end, session.seal));
    }
}

/// Who reads the page; a page takes it as an argument, and is refused without.
pub(super) struct Reader(pub(super) Principal);

impl FromRequestParts<Arc<DashboardRooms>> for Reader {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut Parts,
        rooms: &Arc<DashboardRooms>,
    ) -> Result<Self, Response> {
        match who(rooms, parts).await {
            Ok(Who::Reader(principal)) => Ok(Reader(*principal)),
            Ok(Who::Stranger) => Err(login::ask(&parts.uri)),
            Ok(Who::WrongKey) => Err(pages::wrong_key()),
            Ok(Who::TwoKeys) => Err(pages::two_keys()),
            Ok(Who::Refused(throttled)) => Err(pages::too_many(throttled)),
            Ok(Who::NotAllowed(principal)) => Err(pages::not_allowed(&principal)),
            Err(error) => Err(pages::no_figures(&error)),
        }
    }
}

enum Who {
    Reader(Box<Principal>),
    /// Neither key nor session: may sign in.
    Stranger,
    WrongKey,
    TwoKeys,
    /// Too many wrong keys; seconds to wait.
    Refused(u64),
    NotAllowed(Box<Principal>),
}

async fn who(rooms: &DashboardRooms, parts: &Parts) -> Result<Who, FiguresError> {
    let mut keys = parts.headers.get_all(header::AUTHORIZATION).iter();
    let found = match (keys.next(), keys.next()) {
        (Some(_), Some(_)) => return Ok(Who::TwoKeys),
        (Some(line), None) => {
            let Some(key) = bearer(line) else {
                return Ok(Who::WrongKey);
            };
            let attempt = rooms.throttle.attempt(login::address(parts), key);
            if let Some(wait) = attempt.refused(rooms.clock.now()) {
                return Ok(Who::Refused(wait));
            }
            match rooms.figures.sign_in(key).await? {
                Some(principal) => principal,
                None => {
                    attempt.failed(rooms.clock.now());
                    return Ok(Who::WrongKey);
                }
            }
        }
        (None, _) => match rooms.sessions.read(&parts.headers) {
            Some(session) => match rooms.figures.holder(session.key).await? {
                Some(principal) => principal,
                None => return Ok(Who::Stranger),
            },
            None => return Ok(Who::Stranger),
        },
    };
    Ok(match standing(&found, rooms.clock.now()) {
        Standing::Reads => Who::Reader(Box::new(found)),
        Standing::Expired => Who::Stranger,
        Standing::OtherRole => Who::NotAllowed(Box::new(found)),
    })
}

/// Whether a key may read the pages.
pub(super) enum Standing {
    Reads,
    Expired,
    OtherRole,
}

pub(super) fn standing(principal: &Principal, now: Timestamp) -> Standing {
    if principal.expires.is_some_and(|end| end <= now) {
        Standing::Expired
    } else if principal.role.may_read_dashboard() {
        Standing::Reads
    } else {
        Standing::OtherRole
    }
}

fn bearer(line: &HeaderValue) -> Option<&str> {
    let (scheme, key) = line.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && (1..=login::LONGEST_KEY).contains(&key.len()))
        .then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions_at(start: &str, secret: u8) -> Sessions {
        let start = start.parse().expect("an instant");
        Sessions::new(&[secret; 32], true, Clock::starting_at(start))
    }

    /// The request headers of a browser that was given this cookie.
    fn returned(cookie: &HeaderValue) -> HeaderMap {
        let text = cookie.to_str().expect("text");
        let pair = text.split(';').next().expect("a pair");
        let mut headers = HeaderMap::new();
        headers.insert(
            header::COOKIE,
            format!("a=b; {pair}; c=d").parse().expect("a header"),
        );
        headers
    }

    #[test]
    fn a_session_is_its_keys_for_twelve_hours_and_no_longer() {
        let key = KeyId::new();
        let cookie = sessions_at("2026-11-24T08:00:00Z", 1)
            .begin(key)
            .expect("a cookie");
        let read = |at: &str| {
            sessions_at(at, 1)
                .read(&returned(&cookie))
                .map(|session| session.key)
        };
        assert_eq!(read("2026-11-24T19:59:00Z"), Some(key));
        assert_eq!(read("2026-11-24T20:00:01Z"), None);
    }

    #[test]
    fn the_cookie_is_kept_from_scripts_other_sites_and_plain_http() {
        let cookie = sessions_at("2026-11-24T08:00:00Z", 1)
            .begin(KeyId::new())
            .expect("a cookie");
        let text = cookie.to_str().expect("text");
        for attribute in [
            "; Path=/dashboard",
            "; HttpOnly",
            "; SameSite=Strict",
            "; Secure",
        ] {
            assert!(text.contains(attribute), "{text} lacks {attribute}");
        }
    }

    #[test]
    fn a_cookie_that_was_touched_or_sealed_elsewhere_is_no_session() {
        let sessions = sessions_at("2026-11-24T08:00:00Z", 1);
        let cookie = sessions.begin(KeyId::new()).expect("a cookie");
        assert_eq!(
            sessions_at("2026-11-24T08:00:00Z", 2).read(&returned(&cookie)),
            None
        );
        let text = cookie
            .to_str()
            .expect("text")
            .split(';')
            .next()
            .expect("a pair")
            .to_owned();
        for index in COOKIE.len() + 1..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[index] = if bytes[index] == b'1' { b'2' } else { b'1' };
            let touched = HeaderValue::from_bytes(&bytes).expect("a header");
            assert_eq!(sessions.read(&returned(&touched)), None, "byte {index}");
        }
    }

    #[test]
    fn a_session_that_was_ended_is_over_for_every_holder_of_its_cookie() {
        let sessions = sessions_at("2026-11-24T08:00:00Z", 1);
        let key = KeyId::new();
        let (one, other) = (
            sessions.begin(key).expect("a cookie"),
            sessions.begin(key).expect("a cookie"),
        );
        sessions.end(sessions.read(&returned(&one)).expect("a session"));
        assert_eq!(sessions.read(&returned(&one)), None);
        assert!(sessions.read(&returned(&other)).is_some());
    }
}
