//! `tollgate serve`: the gateway, until it is told to stop.

use crate::commands::Failure;
use crate::serve::{House, ServeError};
use crate::settings::Settings;

#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// Address to listen on, instead of the configuration's.
    #[arg(long)]
    pub listen: Option<String>,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps the gateway from starting.
pub async fn run(args: ServeArgs, mut settings: Settings) -> Result<(), Failure> {
    if let Some(listen) = args.listen {
        settings.listen = listen;
    }
    let house = House::open(settings, false).await.map_err(failure)?;
    let unused = house.unused();
    if house.rooms.sites.load().all.is_empty() {
        eprintln!("No host is enabled yet. Set at least one of these and start again:");
        for unused in &unused {
            eprintln!("  {:<12} {}", unused.host, unused.reason);
        }
        eprintln!("`tollgate demo` shows everything without any account.");
    }
    if let Some(key) = &house.first_key {
        println!("admin key, shown this once: {}", key.secret.expose());
    }
    println!("listening on http://{}", house.address);
    house.run(stopped()).await.map_err(failure)
}

/// Configuration mistakes exit with 2, the rest with 1.
pub(super) fn failure(error: ServeError) -> Failure {
    match error {
        ServeError::Catalog(_) | ServeError::Accounts(_) => Failure::usage(error),
        _ => Failure::failed(error),
    }
}

/// Done when the process is told to stop.
pub(super) async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        // Without a handler the signal ends the process by itself.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
