//! `/dashboard`: pages for finance and operations, made on the server, whole without any script.
//! Each view is one file here (its query), and one template of the same name in
//! `dashboards/web/templates`. They rest on [`Figures`] for all they show and on nothing else.

mod assets;
mod breakdown;
mod decision;
mod figures;
mod login;
mod overview;
mod pages;
mod period;
mod picture;
mod request;
mod session;
mod wording;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::map_response;
use axum::response::Redirect;
use axum::routing::{get, post};

pub use figures::{
    Answer, Dimension, EntryInFull, Figures, FiguresError, NextChange, Span, Spend, Status,
    WindowNow, WindowPrice,
};

use crate::access::Principal;
use crate::time::Clock;
use login::Throttle;
use session::Sessions;

/// What the pages rest on.
pub struct DashboardRooms {
    figures: Arc<dyn Figures>,
    clock: Clock,
    demonstration: bool,
    sessions: Sessions,
    throttle: Throttle,
}

/// How the pages are set up.
#[derive(Clone, Copy, Debug, Default)]
pub struct DashboardSettings {
    /// Callers reach us by https (our own, or a proxy's): session cookies say so.
    pub https: bool,
    /// All that is shown is made up, and every page says so.
    pub demonstration: bool,
}

impl DashboardRooms {
    /// `secret` seals sessions: replicas that share it share them, and a new one ends them all.
    pub fn new(
        figures: Arc<dyn Figures>,
        clock: Clock,
        secret: &[u8; 32],
        settings: DashboardSettings,
    ) -> Self {
        DashboardRooms {
            figures,
            clock,
            demonstration: settings.demonstration,
            sessions: Sessions::new(secret, settings.https, clock),
            throttle: Throttle::new(),
        }
    }
}

/// Everything below `/dashboard`.
pub fn router(rooms: DashboardRooms) -> Router {
    Router::new()
        .route("/dashboard", get(overview::show))
        .route(
            "/dashboard/",
            get(|| async { Redirect::permanent("/dashboard") }),
        )
        .route("/dashboard/requests/{entry}", get(request::show))
        .route("/dashboard/login", get(login::form).post(login::sign_in))
        .route("/dashboard/logout", post(login::sign_out))
        .route("/dashboard/assets/{file}", get(assets::serve))
        .route(
            "/dashboard/{*elsewhere}",
            get(|| async { pages::not_found() }),
        )
        .layer(DefaultBodyLimit::max(login::LONGEST_FORM))
        .layer(map_response(pages::guard))
        .with_state(Arc::new(rooms))
}

/// What stands around every view: who reads, and the demonstration's banner.
struct Frame {
    team: String,
    role: &'static str,
    demonstration: bool,
    /// The view shown, for the navigation.
    view: View,
    assets: assets::Assets,
}

/// The views of the navigation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum View {
    Overview,
    Request,
}

impl Frame {
    fn around(view: View, rooms: &DashboardRooms, reader: &Principal) -> Self {
        Frame {
            team: wording::plain(reader.payer.team.as_str()),
            role: reader.role.as_str(),
            demonstration: rooms.demonstration,
            view,
            assets: assets::Assets,
        }
    }
}
