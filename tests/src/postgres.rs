//! Databases on a real PostgreSQL: one each for tests that only need a database, and whole servers
//! for tests that stop theirs.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;

use crate::required;

/// A database of its own on the run's server.
#[derive(Clone, Debug)]
pub struct Database {
    pub url: String,
}

impl Database {
    pub async fn create() -> Self {
        Self::create_on(&required("TOLLGATE_TEST_POSTGRES")).await
    }

    async fn create_on(server: &str) -> Self {
        let name = format!("test_{}", uuid::Uuid::now_v7().simple());
        let mut connection = PgConnection::connect(server)
            .await
            .unwrap_or_else(|error| panic!("no PostgreSQL at {server}: {error}"));
        // The name is made of hexadecimal digits above; nothing else can be in it.
        let statement = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        connection.execute(statement).await.expect("a new database");
        let (server, _) = server.rsplit_once('/').expect("a URL with a database");
        Database {
            url: format!("{server}/{name}"),
        }
    }
}

/// A server of its own, with PostgreSQL's usual care for the disk.
pub struct Cluster {
    folder: TempDir,
    port: u16,
}

impl Cluster {
    /// Blocking: some seconds.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("tollgate-postgres")
            .tempdir()
            .expect("a temporary folder");
        // Freed before the server takes it: nobody else asks for this very port meanwhile.
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("its address").port();
        drop(free);
        let cluster = Cluster { folder, port };
        if as_root() {
            run(Command::new("chown")
                .arg("postgres")
                .arg(cluster.folder.path()));
        }
        run(cluster
            .program("initdb")
            .args([
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
                "-D",
            ])
            .arg(cluster.data()));
        cluster.start_again();
        cluster
    }

    pub async fn database(&self) -> Database {
        let server = format!("postgres://postgres@127.0.0.1:{}/postgres", self.port);
        Database::create_on(&server).await
    }

    /// As a power cut or a crash would: no transaction ends, no connection is told.
    pub fn stop_at_once(&self) {
        run(self
            .program("pg_ctl")
            .args(["-m", "immediate", "-w", "stop", "-D"])
            .arg(self.data()));
    }

    pub fn start_again(&self) {
        let options = format!(
            "-p {} -k {} -c listen_addresses=127.0.0.1",
            self.port,
            self.folder.path().display()
        );
        run(self
            .program("pg_ctl")
            .args(["-w", "-t", "60", "-o", &options, "-l"])
            .arg(self.folder.path().join("log"))
            .args(["start", "-D"])
            .arg(self.data()));
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// PostgreSQL's programs refuse to run as root.
    fn program(&self, name: &str) -> Command {
        let program = programs().join(name);
        let mut command = if as_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.folder.path());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self
            .program("pg_ctl")
            .args(["-m", "immediate", "stop", "-D"])
            .arg(self.data())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

fn run(command: &mut Command) {
    // Not captured by pipes: the server that pg_ctl leaves behind would hold them open.
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

fn as_root() -> bool {
    let asked = Command::new("id").arg("-u").output().expect("id");
    asked.stdout.trim_ascii() == b"0"
}

/// The newest installed version's programs.
fn programs() -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql").map(|folders| {
        folders
            .flatten()
            .map(|folder| folder.path().join("bin"))
            .collect::<Vec<_>>()
    });
    let mut found: Vec<PathBuf> = installed.unwrap_or_default();
    found.retain(|folder| folder.join("initdb").exists());
    found.sort_by_key(|folder| {
        let version = folder.parent().and_then(Path::file_name);
        version.and_then(|version| version.to_str()?.parse::<u32>().ok())
    });
    found
        .pop()
        .expect("PostgreSQL's programs below /usr/lib/postgresql")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_that_was_stopped_comes_back_with_what_it_had() {
        let cluster = tokio::task::block_in_place(Cluster::start);
        let database = cluster.database().await;
        tokio::task::block_in_place(|| cluster.stop_at_once());
        assert!(PgConnection::connect(&database.url).await.is_err());
        tokio::task::block_in_place(|| cluster.start_again());
        assert!(PgConnection::connect(&database.url).await.is_ok());
    }
}
