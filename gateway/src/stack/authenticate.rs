//! Authenticate: the key, from the headers alone, to the principal that it stands for.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use tower::Service;

use super::passage::{Arrival, Known};
use super::{Outcome, Rooms};
use crate::access::{Caller, Find, Principal};
use crate::chat::{Code, Refusal};

#[derive(Clone)]
pub(super) struct Authenticate<S> {
    inner: S,
    rooms: Arc<Rooms>,
}

impl<S> Authenticate<S> {
    pub(super) fn new(inner: S, rooms: Arc<Rooms>) -> Self {
        Authenticate { inner, rooms }
    }
}

impl<S, T> Service<Arrival> for Authenticate<S>
where
    S: Service<Known, Response = T, Error = Refusal, Future = Outcome<T>> + Clone + Send + 'static,
    T: Send + 'static,
{
    type Response = T;
    type Error = Refusal;
    type Future = Outcome<T>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, arrival: Arrival) -> Self::Future {
        if let Some(principal) = arrival.from_within.clone() {
            return self.inner.call(Known { arrival, principal });
        }
        let found = match presented(&arrival.headers) {
            Ok(key) => self.rooms.directory.find(key, arrival.at),
            Err(refusal) => return Box::pin(std::future::ready(Err(refusal))),
        };
        match found {
            Find::Found(caller) => match permitted(caller, arrival) {
                Ok(known) => self.inner.call(known),
                Err(refusal) => Box::pin(std::future::ready(Err(refusal))),
            },
            // A key made a moment ago, here or at another replica: the store knows.
            Find::Unknown => {
                let (rooms, mut inner) = (self.rooms.clone(), self.inner.clone());
                Box::pin(async move {
                    let key = presented(&arrival.headers)?;
                    match rooms.directory.look_up(key, arrival.at).await {
                        Find::Found(caller) => inner.call(permitted(caller, arrival)?).await,
                        _ => Err(unknown()),
                    }
                })
            }
            Find::Expired | Find::Malformed => Box::pin(std::future::ready(Err(unknown()))),
        }
    }
}

/// The caller whom the headers name, whatever its role: for endpoints that ask no model.
///
/// # Errors
/// `invalid_key`.
pub async fn authenticated(rooms: &Rooms, headers: &HeaderMap) -> Result<Arc<Principal>, Refusal> {
    match rooms
        .directory
        .look_up(presented(headers)?, rooms.clock.now())
        .await
    {
        Find::Found(caller) => Ok(caller.principal.clone()),
        _ => Err(unknown()),
    }
}

fn permitted(caller: Arc<Caller>, arrival: Arrival) -> Result<Known, Refusal> {
    let role = caller.principal.role;
    if !role.may_ask_models() {
        return Err(Refusal::new(
            Code::NotAllowed,
            format!(
                "a key with the role {} cannot ask models; use a key with the role app",
                role.as_str()
            ),
        ));
    }
    Ok(Known {
        principal: caller.principal.clone(),
        arrival,
    })
}

fn unknown() -> Refusal {
    Refusal::new(
        Code::InvalidKey,
        "this key is not known here, or is no longer valid; ask your administrator for one",
    )
}

/// The key that the headers show: `Authorization: Bearer KEY`, or `x-api-key`.
fn presented(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut shown = None;
    for value in headers.get_all(AUTHORIZATION) {
        let key = value.to_str().ok().and_then(bearer).ok_or_else(unknown)?;
        see(&mut shown, key)?;
    }
    for value in headers.get_all("x-api-key") {
        see(&mut shown, value.to_str().map_err(|_| unknown())?)?;
    }
    shown.filter(|key| !key.is_empty()).ok_or_else(|| {
        Refusal::new(
            Code::InvalidKey,
            "no key was sent; send the header `Authorization: Bearer YOUR_KEY`",
        )
    })
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// Two keys that disagree are a mistake, or an attack on whoever reads only one of them.
fn see<'a>(shown: &mut Option<&'a str>, key: &'a str) -> Result<(), Refusal> {
    match shown {
        Some(other) if *other != key => Err(Refusal::new(
            Code::InvalidRequest,
            "two different keys were sent; send one",
        )),
        _ => {
            *shown = Some(key);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).expect("a value"));
        }
        headers
    }

    #[test]
    fn a_key_is_read_from_either_header() {
        for lines in [
            [("authorization", "Bearer tg_a")],
            [("authorization", "bearer  tg_a")],
            [("x-api-key", "tg_a")],
        ] {
            assert_eq!(presented(&headers(&lines)), Ok("tg_a"));
        }
    }

    #[test]
    fn keys_that_disagree_are_refused() {
        for lines in [
            [("authorization", "Bearer a"), ("authorization", "Bearer b")],
            [("authorization", "Bearer a"), ("x-api-key", "b")],
        ] {
            let refusal = presented(&headers(&lines)).expect_err("two keys");
            assert_eq!(refusal.code, Code::InvalidRequest);
        }
        assert_eq!(
            presented(&headers(&[
                ("authorization", "Bearer a"),
                ("x-api-key", "a")
            ])),
            Ok("a")
        );
    }

    #[test]
    fn what_is_no_key_is_refused_as_an_unknown_one() {
        for lines in [
            vec![],
            vec![("authorization", "Basic abc")],
            vec![("authorization", "")],
        ] {
            let refusal = presented(&headers(&lines)).expect_err("no key");
            assert_eq!(refusal.code, Code::InvalidKey, "{lines:?}");
        }
    }
}
