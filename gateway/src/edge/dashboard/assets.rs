//! Styles and icons, built into the binary. Each has its content's digest in its address and its
//! `ETag`, so that a browser keeps it for as long as it stays the same.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::pages;

struct Asset {
    name: &'static str,
    kind: &'static str,
    content: &'static [u8],
}

const ASSETS: [Asset; 2] = [
    Asset {
        name: "tollgate.css",
        kind: "text/css; charset=utf-8",
        content: include_bytes!("../../../../dashboards/web/assets/tollgate.css"),
    },
    Asset {
        name: "tollgate.svg",
        kind: "image/svg+xml",
        content: include_bytes!("../../../../dashboards/web/assets/tollgate.svg"),
    },
];

/// Digests of [`ASSETS`], in their order.
static DIGESTS: LazyLock<[String; ASSETS.len()]> =
    LazyLock::new(|| ASSETS.map(|asset| blake3::hash(asset.content).to_hex()[..16].to_owned()));

/// Addresses of the assets, for templates.
#[derive(Clone, Copy)]
pub(super) struct Assets;

impl Assets {
    /// The address of a file; of one that is not there, an address that answers 404.
    pub(super) fn address(self, name: &str) -> String {
        let digest = ASSETS
            .iter()
            .position(|asset| asset.name == name)
            .map_or("", |at| &DIGESTS[at]);
        format!("/dashboard/assets/{name}?{digest}")
    }
}

/// `GET /dashboard/assets/{file}`
pub(super) async fn serve(Path(file): Path<String>, headers: HeaderMap) -> Response {
    let Some(at) = ASSETS.iter().position(|asset| asset.name == file) else {
        return pages::not_found();
    };
    let tag = format!("\"{}\"", DIGESTS[at]);
    let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|line| {
        line.to_str().is_ok_and(|line| {
            line.split(',')
                .any(|one| one.trim().trim_start_matches("W/") == tag)
        })
    });
    let mut answer = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        (
            [(
                header::CONTENT_TYPE,
                HeaderValue::from_static(ASSETS[at].kind),
            )],
            ASSETS[at].content,
        )
            .into_response()
    };
    let headers = answer.headers_mut();
    // An hour without asking: the address changes with the content.
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=3600"),
    );
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    answer
}
