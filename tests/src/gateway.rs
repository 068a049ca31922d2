//! The gateway's binary as a process with a folder, a configuration and a port of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::OnceLock;

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use crate::postgres::Database;
use crate::{Caller, Ledger, MockHost, PATIENCE, book, until};

/// What a gateway is started with.
#[derive(Default)]
pub struct Setup {
    hosts: Vec<MockHost>,
    database: Option<Database>,
    clock: Option<String>,
    ledger: String,
    limits: String,
    more: String,
    /// Hosts of the shipped catalog, and where they stand instead.
    shipped: Vec<(String, String)>,
    /// Pages of the operator's own, by file name.
    deployments: Vec<(String, String)>,
    environment: Vec<(String, String)>,
}

impl Setup {
    pub fn host(mut self, host: MockHost) -> Self {
        self.hosts.push(host);
        self
    }

    /// A host of the shipped catalog, at this address.
    pub fn shipped(mut self, host: &str, base_url: &str) -> Self {
        self.shipped.push((host.to_owned(), base_url.to_owned()));
        self.variable(&shipped_key(host), &format!("sk-host-{host}"))
    }

    /// A page of the operator's own beside the shipped catalog.
    pub fn deployment(mut self, file: &str, page: &str) -> Self {
        self.deployments.push((file.to_owned(), page.to_owned()));
        self
    }

    /// A variable of the gateway's environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The ledger in PostgreSQL instead of SQLite.
    pub fn postgres(mut self, database: &Database) -> Self {
        self.database = Some(database.clone());
        self
    }

    /// The gateway's clock shows this instant at its start.
    pub fn clock(mut self, instant: &str) -> Self {
        self.clock = Some(instant.to_owned());
        self
    }

    /// A line of `[ledger]`.
    pub fn ledger(mut self, name: &str, value: &str) -> Self {
        self.ledger += &format!("{name} = {value}\n");
        self
    }

    /// A line of `[limits]`.
    pub fn limit(mut self, name: &str, value: &str) -> Self {
        self.limits += &format!("{name} = {value}\n");
        self
    }

    /// More configuration, as TOML tables.
    pub fn and(mut self, toml: &str) -> Self {
        self.more += toml;
        self
    }

    fn config(&self) -> String {
        let catalog = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/catalog");
        let catalogs = if self.shipped.is_empty() && self.deployments.is_empty() {
            "\"catalog\"".to_owned()
        } else {
            format!("{:?}, \"deployments\"", catalog.display().to_string())
        };
        let mut config =
            format!("data = \"data\"\nlisten = \"127.0.0.1:0\"\ncatalog = [{catalogs}]\n");
        if let Some(instant) = &self.clock {
            config += &format!("clock_starts_at = \"{instant}\"\n");
        }
        if !self.ledger.is_empty() {
            config += &format!("\n[ledger]\n{}", self.ledger);
        }
        if !self.limits.is_empty() {
            config += &format!("\n[limits]\n{}", self.limits);
        }
        for host in &self.hosts {
            config += &format!("\n{}", host.account());
        }
        for (host, base_url) in &self.shipped {
            let key = shipped_key(host);
            config += &format!(
                "\n[[account]]\nhost = \"{host}\"\nkey_env = \"{key}\"\nbase_url = \"{base_url}\"\n"
            );
        }
        config + "\n" + &self.more
    }

    pub async fn start(self) -> Gateway {
        let folder = tempfile::Builder::new()
            .prefix("tollgate")
            .tempdir()
            .expect("a folder");
        std::fs::write(folder.path().join("tollgate.toml"), self.config())
            .expect("the configuration");
        book::write(&folder.path().join("catalog"), &self.hosts);
        let deployments = folder.path().join("deployments");
        std::fs::create_dir(&deployments).expect("a folder");
        for (file, page) in &self.deployments {
            std::fs::write(deployments.join(file), page).expect("a page");
        }
        let mut gateway = Gateway {
            folder,
            setup: self,
            command: vec!["serve".to_owned()],
            running: None,
        };
        gateway.restart().await;
        gateway
    }
}

/// The variable that holds the key of a host of the shipped catalog.
fn shipped_key(host: &str) -> String {
    format!("TEST_{}_KEY", host.to_ascii_uppercase())
}

/// A gateway. Dropped, it is killed; if the test failed, its log is shown.
pub struct Gateway {
    folder: TempDir,
    setup: Setup,
    /// The subcommand that runs.
    command: Vec<String>,
    running: Option<Running>,
}

struct Running {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<String>>,
}

/// A caller's key as `tollgate key create --json` prints it.
#[derive(Clone, Debug, Deserialize)]
pub struct Key {
    pub id: String,
    #[serde(rename = "key")]
    pub secret: String,
}

impl Gateway {
    /// `tollgate demo` with these arguments and no configuration at all.
    pub async fn demo(arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("tollgate")
            .tempdir()
            .expect("a folder");
        let command = ["demo", "--listen", "127.0.0.1:0"].iter().chain(arguments);
        let command = command.map(|word| (*word).to_owned()).collect();
        let mut gateway = Gateway {
            folder,
            setup: Setup::default(),
            command,
            running: None,
        };
        gateway.restart().await;
        gateway
    }

    pub fn address(&self) -> SocketAddr {
        self.running.as_ref().expect("a running gateway").address
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// All that it wrote to standard output and standard error since its last start.
    pub fn log(&self) -> String {
        self.running
            .as_ref()
            .map(|running| running.log.lock().clone())
            .unwrap_or_default()
    }

    /// Where the host's page of the catalog lies, and what it should hold.
    pub fn page(&self, host: &MockHost) -> (PathBuf, String) {
        (
            self.folder
                .path()
                .join("catalog")
                .join(format!("{}.toml", host.name)),
            host.page(),
        )
    }

    pub fn ledger(&self) -> Ledger {
        match &self.setup.database {
            Some(database) => Ledger::postgres(&database.url),
            None => Ledger::sqlite_in(self.folder.path().join("data")),
        }
    }

    fn tollgate(&self) -> Command {
        let mut command = Command::new(binary());
        command
            .current_dir(self.folder.path())
            .env_remove("DATABASE_URL")
            .env_remove("TOLLGATE_CONFIG")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if self.folder.path().join("tollgate.toml").exists() {
            command.args(["--config", "tollgate.toml"]);
        }
        if let Some(database) = &self.setup.database {
            command.env("DATABASE_URL", &database.url);
        }
        for host in &self.setup.hosts {
            command.env(host.key_env(), format!("sk-host-{}", host.name));
        }
        command.envs(self.setup.environment.iter().cloned());
        command
    }

    /// Runs a command beside the running gateway, with its configuration.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        let running = self.tollgate().args(arguments).output();
        let ended = tokio::time::timeout(PATIENCE, running).await;
        ended
            .unwrap_or_else(|_| panic!("tollgate {arguments:?} does not end"))
            .expect("tollgate runs")
    }

    /// Runs a command that must succeed and print one JSON document.
    pub async fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success(),
            "tollgate {arguments:?}: {}\n{said}",
            output.status
        );
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!(
                "tollgate {arguments:?} prints no JSON: {error}\n{}",
                String::from_utf8_lossy(&output.stdout)
            )
        })
    }

    /// A new key, with these arguments of `tollgate key create`.
    pub async fn key(&self, arguments: &[&str]) -> Key {
        let arguments: Vec<&str> = [&["key", "create"], arguments, &["--json"]].concat();
        serde_json::from_value(self.json(&arguments).await).expect("`id` and `key`")
    }

    /// A caller with a new key of team `search`.
    pub async fn caller(&self) -> Caller {
        let key = self.key(&["--team", "search"]).await;
        Caller::new(self.address(), &key.secret)
    }

    pub async fn spend(&self, from: &str, to: &str, by: &str) -> Value {
        self.json(&["spend", "--from", from, "--to", to, "--by", by, "--json"])
            .await
    }

    /// Starts the process, in the same folder as before.
    pub async fn restart(&mut self) {
        assert!(self.running.is_none(), "the gateway runs already");
        let mut child = self
            .tollgate()
            .args(&self.command)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", binary().display()));
        let log = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().expect("a pipe"), &log);
        collect(child.stderr.take().expect("a pipe"), &log);

        let child = Mutex::new(child);
        let address = until("the line `listening on http://...`", || async {
            if let Some(address) = listening(&log.lock()) {
                return Some(address);
            }
            if let Some(status) = child.lock().try_wait().expect("a child's status") {
                panic!("the gateway did not start: {status}\n{}", log.lock());
            }
            None
        })
        .await;
        self.running = Some(Running {
            child: child.into_inner(),
            address,
            log,
        });
    }

    /// SIGTERM, and wait until it has drained and ended.
    pub async fn stop(&mut self) -> ExitStatus {
        let mut running = self.running.take().expect("a running gateway");
        signal("TERM", running.child.id().expect("not ended yet"));
        let ended = tokio::time::timeout(PATIENCE, running.child.wait()).await;
        ended
            .unwrap_or_else(|_| panic!("it does not end on SIGTERM\n{}", running.log.lock()))
            .expect("its status")
    }

    /// SIGKILL, wherever it stands.
    pub async fn kill(&mut self) {
        let mut running = self.running.take().expect("a running gateway");
        running
            .child
            .kill()
            .await
            .expect("the gateway was still running");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let from = log.char_indices().rev().nth(6_000).map_or(0, |(at, _)| at);
            eprintln!(
                "--- the gateway's log ---\n{}--- end of log ---",
                &log[from..]
            );
        }
    }
}

/// Sends a signal by its name.
pub fn signal(name: &str, process: u32) {
    let command = format!("kill -{name} {process}");
    let status = std::process::Command::new("sh")
        .args(["-c", &command])
        .status()
        .expect("sh");
    assert!(status.success(), "{command}: {status}");
}

fn listening(log: &str) -> Option<SocketAddr> {
    // Whole lines only: half an address is none.
    let lines = log
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    let mut found = lines.filter_map(|line| line.split_once("listening on http://"));
    let (_, address) = found.next()?;
    address.split_whitespace().next()?.parse().ok()
}

fn collect(pipe: impl AsyncRead + Unpin + Send + 'static, log: &Arc<Mutex<String>>) {
    let log = Arc::clone(log);
    tokio::spawn(async move {
        let mut lines = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut log = log.lock();
            log.push_str(&line);
            log.push('\n');
        }
    });
}

/// The binary under test, built first where the run does not name one.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(named) = std::env::var_os("TOLLGATE_BIN") {
            return named.into();
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("the workspace");
        let built = std::process::Command::new(env!("CARGO"))
            .args(["build", "--release", "--quiet", "-p", "tollgate"])
            .current_dir(root)
            .status()
            .expect("cargo runs");
        assert!(built.success(), "the gateway does not build: {built}");
        root.join("target/release/tollgate")
    })
}
