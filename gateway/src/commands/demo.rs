//! `tollgate demo`: emulated hosts on loopback, the real gateway in front of them, a piece of real
//! traffic played through it, and the proof that the ledger is what the hosts billed.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::serve::{failure, stopped};
use crate::access::{Minted, NewKey, Role};
use crate::catalog::SHIPPED;
use crate::commands::Failure;
use crate::demo::report::{Agreement, Elsewhere, HostSpend, Story};
use crate::demo::{
    EmulatedHost, EmulatedHosts, EmulatorOptions, Played, Traffic, TrafficKey, TrafficOptions,
};
use crate::id::{HostName, OrganisationName, ProjectName, RegionName, Tag, TeamName};
use crate::ledger::store::{Dim, SpendQuery};
use crate::ledger::{Entry, Store};
use crate::money::Money;
use crate::pricing;
use crate::serve::House;
use crate::settings::{Account, Settings};
use crate::stack::Sites;
use crate::time::{Clock, Timestamp};

/// Entries are read for the comparison in pages of this size.
const PAGE: u32 = 1_000;
/// How long the ledger may take to reach its database once the traffic is through.
const SHIPPING: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: String,
    /// Requests of the trace to play.
    #[arg(long, default_value_t = 300)]
    pub requests: usize,
}

/// Plays the demonstration and then serves until it is told to stop.
///
/// # Errors
/// What keeps it from starting, and a ledger that is not what the hosts billed.
pub async fn run(args: DemoArgs, settings: Settings, as_json: bool) -> Result<(), Failure> {
    let folder = Folder::make().map_err(Failure::failed)?;
    let clock = settings
        .clock_starts_at
        .map_or_else(Clock::system, Clock::starting_at);
    let hosts = EmulatedHosts::start(EmulatorOptions {
        clock,
        speedup: 50,
        people_speedup: 2,
        billed_at: crate::demo::BilledAt::End,
        ..EmulatorOptions::default()
    })
    .await
    .map_err(Failure::failed)?;
    let settings = demonstration_settings(&args, settings, &hosts, &folder.0)?;
    let house = House::open(settings, true).await.map_err(failure)?;
    let teams = Teams::mint(&house).await?;
    let gateway = format!("http://{}", house.address);
    let (store, rooms) = (house.store.clone(), house.rooms.clone());
    // The one JSON document stands alone on standard output.
    if as_json {
        eprintln!("listening on {gateway}");
    } else {
        println!("listening on {gateway}");
    }
    let (stop, told) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(house.run(async {
        let _ = told.await;
    }));
    let begun = clock.now();
    let played = play(&args, &gateway, &teams).await?;
    hosts.idle().await;
    rooms
        .ledger
        .drain(SHIPPING)
        .await
        .map_err(Failure::failed)?;
    let story = tell(
        &store,
        &rooms.sites.load(),
        &hosts,
        played,
        begun,
        &gateway,
        &teams,
    )
    .await?;
    if as_json {
        println!("{:#}", document(&story, &teams, &hosts));
    } else {
        println!("\n{}", story.text());
        println!("Key for the dashboard: {}", teams.finance.secret.expose());
        println!("Stop with Ctrl-C.");
    }
    if !story.agreement.holds() {
        return Err(Failure::failed("the ledger is not what the hosts billed"));
    }
    stopped().await;
    let _ = stop.send(());
    running.await.map_err(Failure::failed)?.map_err(failure)
}

/// A folder that goes when the demonstration ends.
struct Folder(std::path::PathBuf);

impl Folder {
    fn make() -> std::io::Result<Self> {
        let path =
            std::env::temp_dir().join(format!("tollgate-demo-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir_all(path.join("deployments"))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind, it is a few files in the system's temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The configuration of the gateway in front of the emulated hosts: the real catalog, addresses
/// and keys of theirs, and the invented prices where no real one is published.
fn demonstration_settings(
    args: &DemoArgs,
    mut settings: Settings,
    hosts: &EmulatedHosts,
    folder: &Path,
) -> Result<Settings, Failure> {
    let deployments = folder.join("deployments");
    for deployment in hosts.deployments() {
        std::fs::write(deployments.join(&deployment.file), &deployment.toml)
            .map_err(Failure::failed)?;
    }
    settings.account.clear();
    for host in EmulatedHost::ALL {
        let key_file = folder.join(format!("{host}.key"));
        std::fs::write(&key_file, hosts.credential(host)).map_err(Failure::failed)?;
        settings.account.push(Account {
            key_file: Some(key_file),
            base_url: Some(hosts.wire_url(host).parse().map_err(Failure::failed)?),
            // One emulator stands for all of a host's regions: one of them is enough.
            regions: match host {
                EmulatedHost::Bedrock => vec![RegionName::from("eu-north-1")],
                _ => Vec::new(),
            },
            ..Account::at(HostName::from(host.name()))
        });
    }
    // The operator's own files are of the real hosts: the demonstration leaves them out.
    let catalog = folder.join("catalog");
    std::fs::create_dir_all(catalog.join("calendars")).map_err(Failure::failed)?;
    for (path, text) in SHIPPED {
        std::fs::write(catalog.join(path), text).map_err(Failure::failed)?;
    }
    settings.catalog = vec![catalog, deployments];
    settings.data = folder.join("data");
    settings.database_url = Some(format!(
        "sqlite:{}",
        settings.data.join("tollgate.sqlite").display()
    ));
    settings.listen.clone_from(&args.listen);
    // A caller of the demonstration who leaves is always followed to the end of its answer.
    settings.limits.drain_cost = Money::from_picodollars(i128::from(i64::MAX));
    Ok(settings)
}

/// The keys of the demonstration.
struct Teams {
    search: Minted,
    support: Minted,
    legal: Minted,
    finance: Minted,
}

impl Teams {
    async fn mint(house: &House) -> Result<Teams, Failure> {
        let mint = async |team: &str, role: Role, tags: Vec<Tag>| {
            let key = NewKey {
                organisation: OrganisationName::from("default"),
                team: TeamName::from(team),
                project: ProjectName::from("demonstration"),
                role,
                tags,
                budget: None,
                expires: None,
            };
            let minted = house.keys.mint(&key, house.rooms.clock.now()).await;
            minted.map_err(Failure::failed)
        };
        let teams = Teams {
            search: mint("search", Role::App, Vec::new()).await?,
            support: mint("support", Role::App, Vec::new()).await?,
            legal: mint(
                "legal",
                Role::App,
                vec![Tag::from("no-china"), Tag::from("soc2")],
            )
            .await?,
            finance: mint("finance", Role::Finance, Vec::new()).await?,
        };
        house
            .rooms
            .directory
            .refresh()
            .await
            .map_err(Failure::failed)?;
        Ok(teams)
    }
}

async fn play(args: &DemoArgs, gateway: &str, teams: &Teams) -> Result<Played, Failure> {
    let traffic = Traffic::shipped().map_err(Failure::failed)?;
    let keys: Vec<TrafficKey> = [&teams.search, &teams.support, &teams.legal]
        .map(|key| TrafficKey {
            secret: key.secret.expose().to_owned(),
            tags: Vec::new(),
        })
        .into();
    let terminal = std::io::stderr().is_terminal();
    let options = TrafficOptions {
        requests: args.requests,
        progress: terminal.then(|| -> Arc<dyn Fn(usize, usize) + Send + Sync> {
            Arc::new(|done, all| eprint!("\rplaying traffic: {done} of {all} "))
        }),
        ..TrafficOptions::default()
    };
    let played = traffic
        .play(&format!("{gateway}/v1"), &keys, &options)
        .await
        .map_err(Failure::failed)?;
    if terminal {
        eprintln!();
    }
    Ok(played)
}

async fn tell(
    store: &Store,
    sites: &Sites,
    hosts: &EmulatedHosts,
    played: Played,
    begun: Timestamp,
    gateway: &str,
    teams: &Teams,
) -> Result<Story, Failure> {
    let span = (begun, Timestamp::MAX);
    let query = SpendQuery {
        from: span.0,
        to: span.1,
        by: vec![Dim::Host],
    };
    let rows = store.spend(&query).await.map_err(Failure::failed)?;
    let mut spend: Vec<HostSpend> = rows
        .into_iter()
        .map(|row| HostSpend {
            attempts: row.attempts,
            input: row.usage.input().get(),
            cached: row.usage.cache_hit.get(),
            output: row.usage.output().get(),
            cost: row.cost,
            invented_price: ["bedrock", "siliconflow", "lightning"].contains(&row.key[0].as_str()),
            host: row.key.into_iter().next().unwrap_or_default(),
        })
        .collect();
    spend.sort_by_key(|host| std::cmp::Reverse(host.cost));
    Ok(Story {
        played,
        agreement: Agreement::of(&spend, &hosts.bills()),
        elsewhere: elsewhere(store, sites, span).await?,
        spend,
        gateway: gateway.to_owned(),
        key: teams.search.secret.expose().to_owned(),
        model: "deepseek-v4-pro".to_owned(),
    })
}

/// What the same usage would have cost at each host that sells every model asked for, at the
/// instants at which it was billed; and spread evenly over the allowed ones.
async fn elsewhere(
    store: &Store,
    sites: &Sites,
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<Elsewhere>, Failure> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let after = entries.last().map(|entry| (entry.billed, entry.id));
        let page = store
            .entries(from, to, after, PAGE)
            .await
            .map_err(Failure::failed)?;
        let last = page.len() < PAGE as usize;
        entries.extend(page);
        if last {
            break;
        }
    }
    let mut choices: Vec<Elsewhere> = Vec::new();
    let spread: Money = entries
        .iter()
        .filter_map(|entry| match entry.price {
            crate::ledger::Price::Priced { spread, .. } => Some(spread),
            crate::ledger::Price::Unpriced => None,
        })
        .sum();
    for host in sites.catalog.hosts.values() {
        let total: Option<Money> = entries
            .iter()
            .map(|entry| {
                let offers = host
                    .offers
                    .iter()
                    .filter(|offer| offer.is_of(&entry.place.model, None));
                let window = offers
                    .filter_map(|offer| pricing::window(offer, entry.billed, entry.billed))
                    .next()?;
                Some(pricing::cost(&window.rates, &entry.usage))
            })
            .sum();
        if let Some(cost) = total {
            choices.push(Elsewhere {
                choice: format!("everything at {}", host.title),
                cost,
            });
        }
    }
    choices.sort_by_key(|choice| choice.cost);
    choices.push(Elsewhere {
        choice: "spread evenly over the hosts allowed".to_owned(),
        cost: spread,
    });
    Ok(choices)
}

fn document(story: &Story, teams: &Teams, hosts: &EmulatedHosts) -> serde_json::Value {
    let hosts: serde_json::Map<String, serde_json::Value> = EmulatedHost::ALL
        .into_iter()
        .map(|host| (host.name().to_owned(), hosts.root_url(host).into()))
        .collect();
    json!({
        "demonstration": true,
        "gateway": story.gateway,
        "key": story.key,
        "model": story.model,
        "dashboard": {"url": format!("{}/dashboard", story.gateway), "key": teams.finance.secret.expose()},
        "played": {"sent": story.played.sent, "answered": story.played.answered, "errors": story.played.errors},
        "spend": story.spend.iter().map(|host| json!({
            "host": host.host, "attempts": host.attempts, "cost": host.cost,
        })).collect::<Vec<_>>(),
        "elsewhere": story.elsewhere.iter().map(|choice| json!({
            "choice": choice.choice, "cost": choice.cost,
        })).collect::<Vec<_>>(),
        "ledger": story.agreement.ledger,
        "bills": crate::demo::hosts::dollars(story.agreement.bills),
        "agree": story.agreement.holds(),
        "hosts": hosts,
    })
}
