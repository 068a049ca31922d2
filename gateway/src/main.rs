//! The command line: parse, call, print.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tollgate::catalog::Catalog;
use tollgate::commands::{self, Failure};
use tollgate::settings::{Settings, SettingsError};
use tollgate::time::Clock;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One endpoint for DeepSeek-V4 wherever it is sold or run, at the lowest true cost that the
/// caller's rules allow.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        env = "TOLLGATE_CONFIG",
        default_value = "config/tollgate.toml"
    )]
    config: PathBuf,
    /// Print one JSON document on standard output.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The gateway.
    Serve(commands::serve::ServeArgs),
    /// The gateway in front of emulated hosts, with a piece of real traffic played through it.
    Demo(commands::demo::DemoArgs),
    /// Validates configuration and catalog, and says what would be enabled.
    Check,
    /// Callers' keys: create, list, revoke, rotate.
    Key(commands::key::KeyArgs),
    /// What a usage costs at a host, at an instant, as known at an instant.
    Price(commands::price::PriceArgs),
    /// Where a request would go, and why.
    Route(commands::route::RouteArgs),
    /// The ledger, grouped.
    Spend(commands::spend::SpendArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("TOLLGATE_LOG")
                .unwrap_or_else(|_| "info,sqlx=warn".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("tollgate: {failure}");
            failure.status()
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let settings = match Settings::load(&cli.config) {
        // The demonstration needs nothing of an operator's: it runs from any folder.
        Err(SettingsError::Unreadable { .. }) if matches!(cli.command, Command::Demo(_)) => {
            Settings::default()
        }
        loaded => loaded.map_err(Failure::usage)?,
    };
    let now = settings
        .clock_starts_at
        .map_or_else(Clock::system, Clock::starting_at)
        .now();
    let catalog = || Catalog::load(&settings.catalog).map_err(Failure::usage);
    let json = cli.json;
    match cli.command {
        Command::Price(args) => {
            commands::price::run(&args, &catalog()?, json, now).map_err(Failure::from)
        }
        Command::Check => commands::check::run(&settings, &cli.config, catalog()?, json, now),
        Command::Route(args) => commands::route::run(&args, &settings, catalog()?, json, now),
        Command::Serve(args) => wait(commands::serve::run(args, settings)),
        Command::Demo(args) => wait(commands::demo::run(args, settings, json)),
        Command::Key(args) => wait(commands::key::run(&args, &settings, json, now)),
        Command::Spend(args) => wait(commands::spend::run(&args, &settings, json, now)),
    }
}

fn wait(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::failed)?
        .block_on(work)
}
