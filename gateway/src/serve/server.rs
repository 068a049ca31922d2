//! The HTTP server: connections in, requests to the router, and an orderly end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tracing::{debug, warn};

use super::patience::Patient;
use crate::settings::Limits;

/// Headers that take longer are a slow-loris, not a client.
const HEADER_TIME: Duration = Duration::from_secs(30);
/// After an accept that failed (no file descriptor left) the next is tried this much later.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Accepts connections until `stop` is done; then lets requests under way end, as long as the
/// limits allow.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: &Limits,
    stop: impl Future<Output = ()> + Send,
) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(limits.connections));
    tokio::pin!(stop);
    loop {
        let accepted = async {
            let place = room.clone().acquire_owned().await;
            (listener.accept().await, place)
        };
        let (connection, peer, place) = tokio::select! {
            (accepted, place) = accepted => match accepted {
                Ok((connection, peer)) => (connection, peer, place),
                Err(error) => {
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        // A connection that is gone already needs no option.
        let _ = connection.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone().map_request(
            move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(ConnectInfo(peer));
                request.map(axum::body::Body::new)
            },
        ));
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIME)
            .serve_connection(
                TokioIo::new(Patient::new(connection, limits.idle_timeout)),
                service,
            );
        let serving = graceful.watch(serving);
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.shutdown_time, graceful.shutdown())
        .await
        .is_err()
    {
        warn!(
            "requests were still running after {} s and are cut off",
            limits.shutdown_time.as_secs()
        );
    }
}
