//! `tollgate key`: callers' keys, made and ended. A running gateway takes them up within a second.

use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::SignedDuration;
use serde_json::json;

use super::Failure;
use crate::access::{AccessError, Budget, KeyRow, NewKey, Role};
use crate::id::{KeyId, OrganisationName, ProjectName, Tag, TeamName};
use crate::serve::{open_keys, open_store};
use crate::settings::Settings;
use crate::time::Timestamp;

#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Mints a key; its secret is shown this once.
    Create(CreateArgs),
    /// All keys, newest first, without their secrets.
    List,
    /// Ends a key at once.
    Revoke { id: KeyId },
    /// A new secret for the same key; the old one goes on counting for a while.
    Rotate {
        id: KeyId,
        /// How long the old secret still counts: 24h, 30m, 0s.
        #[arg(long, default_value = "24h")]
        grace: SignedDuration,
    },
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// The team that pays.
    #[arg(long, value_parser = name)]
    team: String,
    #[arg(long, default_value = "default", value_parser = name)]
    organisation: String,
    #[arg(long, default_value = "default", value_parser = name)]
    project: String,
    /// A demand on every request of this key; may be given several times.
    #[arg(long = "tag", value_parser = tag)]
    tags: Vec<Tag>,
    /// app, finance, compliance or admin.
    #[arg(long, default_value = "app")]
    role: Role,
    /// Hard limit in dollars: 250/month, 5/day, 1000/total.
    #[arg(long)]
    budget: Option<Budget>,
    /// The instant from which the key counts no more.
    #[arg(long)]
    expires: Option<Timestamp>,
}

fn name(text: &str) -> Result<String, String> {
    let sound = !text.trim().is_empty() && text.len() <= 100 && !text.chars().any(char::is_control);
    sound
        .then(|| text.trim().to_owned())
        .ok_or_else(|| "write a name of at most 100 letters".to_owned())
}

fn tag(text: &str) -> Result<Tag, String> {
    let sound =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    if text.is_empty() || text.len() > 64 || !text.bytes().all(sound) {
        return Err("write a tag of letters, digits, - _ . :, such as soc2".to_owned());
    }
    Ok(Tag::new(text.to_ascii_lowercase()))
}

/// Runs one of the subcommands.
///
/// # Errors
/// A database that does not answer, or a key that does not exist.
pub async fn run(
    args: &KeyArgs,
    settings: &Settings,
    json: bool,
    now: Timestamp,
) -> Result<(), Failure> {
    let store = open_store(settings).await.map_err(Failure::failed)?;
    let keys = open_keys(settings, &store).map_err(Failure::failed)?;
    let failed = |error: AccessError| Failure::failed(error);
    match &args.action {
        Action::Create(create) => {
            let minted = keys.mint(&create.new_key(), now).await.map_err(failed)?;
            print_secret(minted.id, minted.secret.expose(), json);
        }
        Action::List => print_list(&keys.list().await.map_err(failed)?, json),
        Action::Revoke { id } => {
            keys.revoke(*id, now).await.map_err(failed)?;
            if json {
                println!("{:#}", json!({"id": id, "revoked": now}));
            } else {
                println!("{id} is revoked");
            }
        }
        Action::Rotate { id, grace } => {
            let grace = Duration::try_from(*grace)
                .map_err(|_| Failure::usage("--grace is negative; write a duration such as 24h"))?;
            let minted = keys.rotate(*id, grace, now).await.map_err(failed)?;
            print_secret(minted.id, minted.secret.expose(), json);
        }
    }
    Ok(())
}

impl CreateArgs {
    fn new_key(&self) -> NewKey {
        let mut tags = self.tags.clone();
        tags.sort();
        tags.dedup();
        NewKey {
            organisation: OrganisationName::from(self.organisation.as_str()),
            team: TeamName::from(self.team.as_str()),
            project: ProjectName::from(self.project.as_str()),
            role: self.role,
            tags,
            budget: self.budget,
            expires: self.expires,
        }
    }
}

fn print_secret(id: KeyId, secret: &str, json: bool) {
    if json {
        println!("{:#}", json!({"id": id, "key": secret}));
    } else {
        println!(
            "id   {id}\nkey  {secret}\nThe key is shown this once; only a digest of it is kept."
        );
    }
}

fn print_list(rows: &[KeyRow], json: bool) {
    if json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                json!({
                    "id": row.id,
                    "hint": row.hint,
                    "organisation": row.organisation,
                    "team": row.team,
                    "project": row.project,
                    "role": row.role,
                    "tags": row.tags,
                    "budget": row.budget.map(|budget| budget.to_string()),
                    "created": row.created,
                    "expires": row.expires,
                    "revoked": row.revoked,
                })
            })
            .collect();
        println!("{:#}", json!(rows));
        return;
    }
    println!(
        "{:<36}  {:<8}  {:<10}  {:<16}  {:<16}  {:<14}  tags",
        "id", "key", "role", "team", "project", "budget"
    );
    for row in rows {
        let budget = row
            .budget
            .map_or_else(|| "none".to_owned(), |budget| budget.to_string());
        let tags: Vec<&str> = row.tags.iter().map(Tag::as_str).collect();
        let ended = match (row.revoked, row.expires) {
            (Some(at), _) => format!("  revoked {at:.0}"),
            (None, Some(at)) => format!("  expires {at:.0}"),
            (None, None) => String::new(),
        };
        println!(
            "{}  {:<8}  {:<10}  {:<16}  {:<16}  {:<14}  {}{ended}",
            row.id,
            row.hint,
            row.role.as_str(),
            row.team.as_str(),
            row.project.as_str(),
            budget,
            tags.join(",")
        );
    }
}
