//! `tollgate route`: where a request would go at an instant, by the book and the accounts alone.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use crate::catalog::Catalog;
use crate::chat::{Frames, Refusal};
use crate::commands::Failure;
use crate::edge::surfaces::openai_chat;
use crate::id::Tag;
use crate::serve::accounts;
use crate::settings::Settings;
use crate::stack::{Metrics, Sites, route_offline};
use crate::time::Timestamp;

#[derive(Debug, clap::Args)]
pub struct RouteArgs {
    /// A chat completion request as JSON; `-` reads standard input.
    #[arg(long)]
    pub file: PathBuf,
    /// The instant to plan for; now if not given.
    #[arg(long)]
    pub at: Option<Timestamp>,
    /// A demand; may be given several times.
    #[arg(long = "tag")]
    pub tags: Vec<String>,
}

/// Prints the ranked plan, and each rejected backend with its reason.
///
/// # Errors
/// An unreadable file (2), or a request that would be refused (1).
pub fn run(
    args: &RouteArgs,
    settings: &Settings,
    catalog: Catalog,
    json: bool,
    now: Timestamp,
) -> Result<(), Failure> {
    let body =
        read(args).map_err(|error| Failure::usage(format!("{}: {error}", args.file.display())))?;
    let request = openai_chat::read(Frames::from(Bytes::from(body))).map_err(|refusal| {
        Failure::usage(format!("{}: {}", args.file.display(), refusal.message))
    })?;
    let mut tags: Vec<Tag> = args
        .tags
        .iter()
        .map(|tag| Tag::new(tag.to_ascii_lowercase()))
        .collect();
    tags.sort();
    tags.dedup();
    let catalog = Arc::new(catalog);
    let accounts = accounts(settings, &catalog).map_err(Failure::usage)?;
    let sites = Sites::build(catalog, &accounts, None, &Metrics::new());
    match route_offline(&sites, &request, &tags, args.at.unwrap_or(now)) {
        Ok(route) if json => println!("{:#}", json!(route)),
        Ok(route) => {
            println!(
                "{}: {}",
                route.model,
                route
                    .decision
                    .chosen
                    .as_deref()
                    .unwrap_or("no backend can take it")
            );
            for (rank, line) in route.decision.ranked.iter().enumerate() {
                println!(
                    "  {}. {:<56} ${} expected, {}",
                    rank + 1,
                    line.backend,
                    line.cost,
                    line.window
                );
            }
            for rejection in &route.decision.rejected {
                println!("  -  {:<56} {}", rejection.backend, rejection.reason);
            }
        }
        Err(refusal) => {
            if json {
                println!(
                    "{}",
                    String::from_utf8_lossy(&openai_chat::error_body(&refusal))
                );
            }
            return Err(Failure::failed(explained(&refusal)));
        }
    }
    Ok(())
}

fn read(args: &RouteArgs) -> std::io::Result<Vec<u8>> {
    if args.file.as_os_str() == "-" {
        let mut body = Vec::new();
        std::io::stdin().read_to_end(&mut body)?;
        return Ok(body);
    }
    std::fs::read(&args.file)
}

fn explained(refusal: &Refusal) -> String {
    let mut text = refusal.to_string();
    for lack in &refusal.backends {
        text.push_str(&format!("\n  {}: {}", lack.backend, lack.reason));
    }
    text
}
