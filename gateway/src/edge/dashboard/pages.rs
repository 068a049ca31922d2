//! How a page goes out: rendered, with the headers that keep it from being framed, kept or
//! scripted; and the short pages that say why there is no other.

use askama::Template;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::assets::Assets;
use super::figures::FiguresError;
use super::login;
use super::wording::plain;
use crate::access::Principal;

/// Nothing but our own styles and pictures; forms go nowhere else; nobody frames us.
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; \
     form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// On every answer below `/dashboard`. The referrer stays within the site: without one, a browser
/// would not say where our own forms come from.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=()",
    ),
];

/// Adds what every answer carries.
pub(super) async fn guard(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    answer
}

/// A page that is nothing but a few words.
#[derive(Template)]
#[template(path = "notice.html")]
struct Notice<'a> {
    title: &'a str,
    text: String,
    /// Offer to sign in with another key.
    sign_in: bool,
    assets: Assets,
}

pub(super) fn show(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => {
            let kind = HeaderValue::from_static("text/html; charset=utf-8");
            (status, [(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "a dashboard page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// After a post, or to the login: a page got by itself.
pub(super) fn go_to(address: &str, cookie: Option<HeaderValue>) -> Response {
    let Ok(address) = HeaderValue::try_from(address) else {
        return broken();
    };
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SEE_OTHER;
    answer.headers_mut().insert(header::LOCATION, address);
    if let Some(cookie) = cookie {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answer
}

fn notice(status: StatusCode, title: &str, text: impl Into<String>, sign_in: bool) -> Response {
    show(
        status,
        &Notice {
            title,
            text: text.into(),
            sign_in,
            assets: Assets,
        },
    )
}

pub(super) fn not_allowed(principal: &Principal) -> Response {
    let text = format!(
        "The key of team {} has the role {}. These pages are for keys with the role finance, \
         compliance or admin: ask whoever manages your keys for one.",
        plain(principal.payer.team.as_str()),
        principal.role.as_str(),
    );
    notice(
        StatusCode::FORBIDDEN,
        "This key may not read the dashboard",
        text,
        true,
    )
}

pub(super) fn wrong_key() -> Response {
    let text = "This key is not known here, or it has expired or been revoked. \
                Send it as “Authorization: Bearer KEY”.";
    let mut answer = notice(StatusCode::UNAUTHORIZED, "Wrong key", text, true);
    let ask = HeaderValue::from_static("Bearer realm=\"tollgate\"");
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, ask);
    answer
}

pub(super) fn two_keys() -> Response {
    let text = "The request carries more than one Authorization header. Send one.";
    notice(StatusCode::BAD_REQUEST, "Two keys", text, false)
}

pub(super) fn too_many(seconds: u64) -> Response {
    let text = format!("There were too many wrong keys. Try again in {seconds} seconds.");
    let mut answer = notice(StatusCode::TOO_MANY_REQUESTS, "Wait a moment", text, true);
    answer
        .headers_mut()
        .insert(header::RETRY_AFTER, login::retry_after(seconds));
    answer
}

pub(super) fn other_site() -> Response {
    let text = "This form was not sent by a page of this dashboard. Open the dashboard and try again from there.";
    notice(StatusCode::FORBIDDEN, "Sent from elsewhere", text, true)
}

pub(super) fn bad_address(text: String) -> Response {
    notice(
        StatusCode::BAD_REQUEST,
        "These days cannot be shown",
        text,
        false,
    )
}

pub(super) fn not_found() -> Response {
    let text = "There is no such page, or it belongs to another organisation.";
    notice(StatusCode::NOT_FOUND, "Nothing here", text, false)
}

/// The cause is for the log alone.
pub(super) fn no_figures(error: &FiguresError) -> Response {
    tracing::error!(%error, "the dashboard has no figures");
    let text = "The ledger's database does not answer. Nothing is lost: requests are being \
                recorded meanwhile. Try again in a minute.";
    let mut answer = notice(
        StatusCode::SERVICE_UNAVAILABLE,
        "No figures at the moment",
        text,
        false,
    );
    answer
        .headers_mut()
        .insert(header::RETRY_AFTER, login::retry_after(60));
    answer
}

pub(super) fn broken() -> Response {
    let text = "The page could not be made. The log says why.";
    notice(
        StatusCode::INTERNAL_SERVER_ERROR,
        "Something broke",
        text,
        false,
    )
}
