//! `tollgate check`: is the configuration sound, and what would be enabled?

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use crate::backend;
use crate::catalog::Catalog;
use crate::commands::Failure;
use crate::pricing;
use crate::serve::accounts;
use crate::settings::Settings;
use crate::time::Timestamp;

/// Prints what is enabled and what to set for the rest.
///
/// # Errors
/// A mistake in the accounts; mistakes in files were found before.
pub fn run(
    settings: &Settings,
    config: &Path,
    catalog: Catalog,
    json: bool,
    now: Timestamp,
) -> Result<(), Failure> {
    let catalog = Arc::new(catalog);
    let accounts = accounts(settings, &catalog).map_err(Failure::usage)?;
    let (backends, unused) = backend::backends(&catalog, &accounts, |_| Arc::default());
    let served: Vec<_> = backends
        .iter()
        .filter(|backend| backend.offer().served_at(now))
        .collect();
    if json {
        let enabled: Vec<_> = served
            .iter()
            .map(|backend| {
                let window = pricing::window(backend.offer(), now, now);
                json!({
                    "backend": backend.name,
                    "host": backend.host().name,
                    "model": backend.model(),
                    "region": backend.region,
                    "window": window.as_ref().map(|window| window.id.clone()),
                    "rates": window.as_ref().map(|window| window.rates),
                })
            })
            .collect();
        let missing: Vec<_> = unused
            .iter()
            .map(|unused| json!({"host": unused.host, "reason": unused.reason}))
            .collect();
        let document = json!({
            "config": config.display().to_string(),
            "catalog": catalog.version,
            "hosts": catalog.hosts.len(),
            "enabled": enabled,
            "disabled": missing,
        });
        println!("{document:#}");
        return Ok(());
    }
    println!("{}: sound", config.display());
    println!(
        "catalog {}: sound, {} hosts",
        catalog.version,
        catalog.hosts.len()
    );
    println!("\nenabled now ({} backends):", served.len());
    for backend in &served {
        let price = pricing::window(backend.offer(), now, now).map_or_else(
            || "price unknown: requests are not sent there until it is set".to_owned(),
            |window| {
                format!(
                    "{} / {} / {} $ per 1M tokens (hit / miss / output), {}",
                    window.rates.cache_hit,
                    window.rates.cache_miss,
                    window.rates.output,
                    window.band
                )
            },
        );
        println!("  {:<60} {price}", backend.name);
    }
    if served.is_empty() {
        println!("  none");
    }
    println!("\nnot enabled ({} hosts):", unused.len());
    for unused in &unused {
        println!("  {:<12} {}", unused.host, unused.reason);
    }
    Ok(())
}
