//! `tollgate.toml`: every setting with its limit and its reason. Paths are relative to the file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer};

use crate::id::{AccountName, HostName, RegionName, Tag};
use crate::money::Money;
use crate::time::Timestamp;

#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("{path}: {source}; write a configuration there, or name another with --config")]
    Unreadable {
        path: String,
        source: std::io::Error,
    },
    #[error("{path}:{line}: {message}")]
    Wrong {
        path: String,
        line: usize,
        message: String,
    },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where callers reach the gateway.
    pub listen: String,
    /// Folder of the embedded database, the spool and the pepper of the keys.
    pub data: PathBuf,
    /// Folders of the catalog; a later one extends an earlier one.
    pub catalog: Vec<PathBuf>,
    /// PostgreSQL; the environment's `DATABASE_URL` goes before it, none means embedded SQLite.
    pub database_url: Option<String>,
    /// For rehearsals: the instant that the gateway takes its start for.
    pub clock_starts_at: Option<Timestamp>,
    pub ledger: LedgerSettings,
    pub limits: Limits,
    pub account: Vec<Account>,
    pub dashboard: Dashboard,
    pub history: HistorySettings,
    pub batches: BatchSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            listen: "127.0.0.1:8080".to_owned(),
            data: PathBuf::from("../data"),
            catalog: vec![PathBuf::from("catalog"), PathBuf::from("deployments")],
            database_url: None,
            clock_starts_at: None,
            ledger: LedgerSettings::default(),
            limits: Limits::default(),
            account: Vec::new(),
            dashboard: Dashboard::default(),
            history: HistorySettings::default(),
            batches: BatchSettings::default(),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerSettings {
    pub durability: Durability,
    /// How much may wait for the database; beyond it requests are refused rather than unmetered.
    pub spool_bytes: u64,
}

impl Default for LedgerSettings {
    fn default() -> Self {
        LedgerSettings {
            durability: Durability::Written,
            spool_bytes: 8 << 30,
        }
    }
}

/// What an entry must have survived before a request goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Handed to the operating system: survives any death of the process; synced ≤ 10 ms behind.
    Written,
    /// On the disk: survives power loss as well.
    Synced,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest request body. A million tokens are some 4 MB.
    pub body_bytes: u64,
    /// Largest plain answer read from a host.
    pub answer_bytes: u64,
    /// Time for a caller to send its whole body.
    #[serde(deserialize_with = "duration")]
    pub read_timeout: Duration,
    /// Connections held open; beyond it new ones wait to be accepted.
    pub connections: usize,
    /// Requests in flight in the whole gateway; beyond it new ones are shed with 503.
    pub in_flight: usize,
    /// Requests in flight for one key; beyond it 429.
    pub in_flight_per_key: u32,
    /// Requests a second for one key, and how many may come at once.
    pub requests_per_second: u32,
    pub burst: u32,
    #[serde(deserialize_with = "duration")]
    pub connect_timeout: Duration,
    /// From sending a request to the first byte of a stream, or to the whole of a plain answer's head.
    #[serde(deserialize_with = "duration")]
    pub first_byte_timeout: Duration,
    /// Longest silence inside an answer.
    #[serde(deserialize_with = "duration")]
    pub idle_timeout: Duration,
    /// Attempts of one request, the first included.
    pub attempts: u16,
    /// Longest `Retry-After` that is waited for instead of refusing.
    #[serde(deserialize_with = "duration")]
    pub retry_wait: Duration,
    /// When a caller has left: the rest of the answer is read to its usage if it will cost no more
    /// than this, and cancelled otherwise.
    pub drain_cost: Money,
    #[serde(deserialize_with = "duration")]
    pub drain_time: Duration,
    /// How much of a stream is remembered while it runs, so that another host can go on when one
    /// breaks off; longer ones end with an error instead.
    pub resume_bytes: usize,
    /// How much is kept of answers to requests with an `Idempotency-Key`, for a day; the oldest make
    /// way first.
    pub replay_bytes: usize,
    /// Output reserved, and asked for, when a key has a hard budget and the caller sets no bound.
    pub assumed_output: u64,
    /// How long running requests may take to end when the gateway is told to stop.
    #[serde(deserialize_with = "duration")]
    pub shutdown_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            body_bytes: 32 << 20,
            answer_bytes: 64 << 20,
            read_timeout: Duration::from_secs(60),
            connections: 16_384,
            in_flight: 4096,
            in_flight_per_key: 512,
            requests_per_second: 100_000,
            burst: 100_000,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(600),
            idle_timeout: Duration::from_secs(120),
            attempts: 3,
            retry_wait: Duration::from_secs(2),
            drain_cost: Money::from_picodollars(20_000_000_000),
            drain_time: Duration::from_secs(120),
            resume_bytes: 4 << 20,
            replay_bytes: 64 << 20,
            assumed_output: 32_768,
            shutdown_time: Duration::from_secs(60),
        }
    }
}

/// Our credential at a host. Hosts whose credential stands in the environment variable that the
/// catalog names need no entry here.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    pub host: HostName,
    #[serde(default = "default_account")]
    pub name: AccountName,
    /// Environment variable with the credential; the catalog's if not given.
    pub key_env: Option<String>,
    /// File with the credential, instead.
    pub key_file: Option<PathBuf>,
    /// Where the credential is drawn from, if not found by itself.
    pub credentials: Option<Credentials>,
    /// A profile of AWS's shared files, instead of `AWS_PROFILE`.
    pub profile: Option<String>,
    /// An application at Microsoft Entra, instead of `AZURE_TENANT_ID` and `AZURE_CLIENT_ID`; the
    /// key is its secret then.
    pub tenant_id: Option<String>,
    pub client_id: Option<String>,
    /// The name of the service that requests to AWS are signed for; the catalog's if not given.
    pub signing_name: Option<String>,
    /// The scope of OAuth tokens; the catalog's if not given.
    pub scope: Option<String>,
    /// Names that the catalog's addresses leave blank.
    pub project: Option<String>,
    pub location: Option<String>,
    pub resource: Option<String>,
    /// Instead of the catalog's address: deployments, projects, own servers, emulators.
    pub base_url: Option<url::Url>,
    /// Only these regions; all if empty.
    #[serde(default)]
    pub regions: Vec<RegionName>,
    /// Certifications that need the operator's word, such as a signed BAA.
    #[serde(default)]
    pub confirm: Vec<Tag>,
}

impl Account {
    /// An account with nothing said but its host.
    pub fn at(host: HostName) -> Self {
        Account {
            host,
            name: default_account(),
            key_env: None,
            key_file: None,
            credentials: None,
            profile: None,
            tenant_id: None,
            client_id: None,
            signing_name: None,
            scope: None,
            project: None,
            location: None,
            resource: None,
            base_url: None,
            regions: Vec::new(),
            confirm: Vec::new(),
        }
    }
}

/// Sources of credentials that are used only where the operator says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credentials {
    /// The cloud's metadata server, which speaks for the machine.
    Metadata,
}

fn default_account() -> AccountName {
    AccountName::from("default")
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dashboard {
    /// The dashboard is reached by https (through a proxy): its cookie is marked `Secure`.
    pub https: bool,
}

/// What is kept of conversations, where and for how long. All of it is sealed under the pepper.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HistorySettings {
    /// Memory for thinking that callers may fail to give back.
    pub reasoning_bytes: usize,
    /// The most of that for one organisation, percent.
    pub reasoning_share: u8,
    /// Longest thinking of one turn that is kept.
    pub reasoning_item_bytes: usize,
    #[serde(deserialize_with = "duration")]
    pub reasoning_lifetime: Duration,
    /// How long stored responses are kept.
    #[serde(deserialize_with = "duration")]
    pub responses_lifetime: Duration,
    /// Largest stored response: its turns and its body together.
    pub response_bytes: usize,
}

impl Default for HistorySettings {
    fn default() -> Self {
        HistorySettings {
            reasoning_bytes: 256 << 20,
            reasoning_share: 50,
            reasoning_item_bytes: 2 << 20,
            reasoning_lifetime: Duration::from_secs(24 * 3600),
            responses_lifetime: Duration::from_secs(30 * 24 * 3600),
            response_bytes: 64 << 20,
        }
    }
}

/// Files and batches.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchSettings {
    /// Largest file.
    pub file_bytes: u64,
    /// The most that one organisation's files may take together.
    pub organisation_bytes: u64,
    /// How long a file is kept where its owner does not say.
    #[serde(deserialize_with = "duration")]
    pub file_lifetime: Duration,
    /// Most requests of one batch, and the largest of them.
    pub lines: u32,
    pub line_bytes: usize,
    /// Batches of one organisation that are not done yet.
    pub open: u32,
    /// Batches that one gateway works on at once, and requests of each in flight.
    pub running: usize,
    pub in_flight: usize,
}

impl Default for BatchSettings {
    fn default() -> Self {
        BatchSettings {
            file_bytes: 200 << 20,
            organisation_bytes: 10 << 30,
            file_lifetime: Duration::from_secs(30 * 24 * 3600),
            lines: 50_000,
            line_bytes: 8 << 20,
            open: 100,
            running: 4,
            in_flight: 16,
        }
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
    let span: SignedDuration = text.parse().map_err(|_| {
        serde::de::Error::custom(format!("`{text}` is no duration: write 500ms, 2s or 5m"))
    })?;
    Duration::try_from(span).map_err(|_| {
        serde::de::Error::custom(format!("`{text}` is negative; write a duration such as 2s"))
    })
}

impl Settings {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// An unreadable file, or the file and line of what is wrong in it.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Unreadable {
            path: path.display().to_string(),
            source,
        })?;
        let mut settings: Settings =
            toml::from_str(&text).map_err(|error| SettingsError::Wrong {
                path: path.display().to_string(),
                line: error.span().map_or(1, |span| {
                    text[..span.start.min(text.len())].matches('\n').count() + 1
                }),
                message: error.message().to_owned(),
            })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        settings.data = folder.join(&settings.data);
        for catalog in &mut settings.catalog {
            *catalog = folder.join(&catalog);
        }
        for account in &mut settings.account {
            account.key_file = account.key_file.as_ref().map(|file| folder.join(file));
        }
        Ok(settings)
    }

    /// The database to use: the environment's, the file's, or SQLite in the data folder.
    pub fn database(&self, environment: Option<String>) -> String {
        environment
            .filter(|url| !url.is_empty())
            .or_else(|| self.database_url.clone())
            .unwrap_or_else(|| format!("sqlite:{}", self.data.join("tollgate.sqlite").display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_told_with_its_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tollgate.toml");
        std::fs::write(
            &file,
            "listen = \"127.0.0.1:0\"\n[limits]\nidle_timeout = \"soon\"\n",
        )
        .expect("written");
        let error = Settings::load(&file).expect_err("no duration").to_string();
        assert!(
            error.contains("tollgate.toml:3:") && error.contains("write 500ms"),
            "{error}"
        );
        std::fs::write(&file, "listne = \"x\"\n").expect("written");
        let error = Settings::load(&file)
            .expect_err("unknown field")
            .to_string();
        assert!(
            error.contains("tollgate.toml:1:") && error.contains("listne"),
            "{error}"
        );
    }

    #[test]
    fn the_shipped_file_says_the_defaults_of_what_is_kept() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/tollgate.toml");
        let shipped = Settings::load(&file).expect("it is right");
        let defaults = Settings::default();
        let told = |settings: &Settings| format!("{:?} {:?}", settings.history, settings.batches);
        assert_eq!(told(&shipped), told(&defaults));
    }
}
