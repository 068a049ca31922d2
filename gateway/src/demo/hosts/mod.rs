//! Eleven emulated hosts on loopback: each speaks chat completions at its documented path with its
//! own model ids, shapes, speed and context cache, and keeps its own bill; Bedrock speaks Converse
//! as well. They exist for the
//! demonstration and for tests; nothing here knows the gateway's catalog, pricing or money.
//!
//! Tokens are words (see `tokens`): a test or a player of traffic can ask for exact sizes. A line
//! `answer in N words` at the end of a prompt makes the answer N tokens long, thinking included.

mod answer;
mod asked;
mod bare;
mod bill;
mod cache;
mod control;
mod converse;
mod deployments;
mod door;
mod errors;
mod fault;
mod feeds;
mod profile;
mod rules;
mod sample;
mod shapes;
mod speak;
mod state;
mod tariff;
mod tokens;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use bill::{Bill, BillLine, BilledCall, Meter, dollars};
pub use deployments::Deployment;
pub use fault::Fault;
pub use profile::EmulatedHost;
pub use state::{BilledAt, EmulatorOptions};
pub use tariff::{Charges, DemonstrationPrice, demonstration_prices};
pub use tokens::count as count_tokens;

use state::HostState;

#[derive(Debug, thiserror::Error)]
#[error("the emulated host {host} cannot listen on a free loopback port: {source}")]
pub struct CannotListen {
    host: EmulatedHost,
    source: std::io::Error,
}

/// The running hosts. Dropping them closes their doors.
pub struct EmulatedHosts {
    hosts: Vec<Running>,
}

struct Running {
    state: Arc<HostState>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl EmulatedHosts {
    /// Starts all eleven, each on a free port of 127.0.0.1.
    pub async fn start(options: EmulatorOptions) -> Result<Self, CannotListen> {
        let mut hosts = Vec::new();
        for host in EmulatedHost::ALL {
            let wrong = |source| CannotListen { host, source };
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(wrong)?;
            let address = listener.local_addr().map_err(wrong)?;
            // Small chunks must leave at once.
            let listener = listener.tap_io(|connection| {
                let _ = connection.set_nodelay(true);
            });
            let state = Arc::new(HostState::new(host, options.clone()));
            let router = Router::new()
                .fallback(door::enter)
                .with_state(Arc::clone(&state));
            let task = tokio::spawn(async move {
                let _ = axum::serve(listener, router).await;
            });
            hosts.push(Running {
                state,
                address,
                task,
            });
        }
        Ok(EmulatedHosts { hosts })
    }

    fn running(&self, host: EmulatedHost) -> &Running {
        &self.hosts[host.index()]
    }

    /// `http://127.0.0.1:PORT`.
    pub fn root_url(&self, host: EmulatedHost) -> String {
        format!("http://{}", self.running(host).address)
    }

    /// Append `/chat/completions`.
    pub fn base_url(&self, host: EmulatedHost) -> String {
        format!("{}{}", self.root_url(host), host.profile().base_path)
    }

    /// What precedes `/model/{id}/converse` at Bedrock, and the paths of its wire at the others.
    pub fn wire_url(&self, host: EmulatedHost) -> String {
        match host {
            EmulatedHost::Bedrock => self.root_url(host),
            _ => self.base_url(host),
        }
    }

    /// The credential of the account `default`; see [`EmulatedHost::credential_of`] for others.
    pub fn credential(&self, host: EmulatedHost) -> String {
        host.credential_of("default")
    }

    /// The ids of the models that the host sells now.
    pub fn models(&self, host: EmulatedHost) -> Vec<&'static str> {
        tariff::models(host, self.running(host).state.now())
    }

    /// Files for `config/deployments/`: the invented prices, and the addresses that are the
    /// operator's at Azure and Vertex.
    pub fn deployments(&self) -> Vec<Deployment> {
        deployments::deployments(|host| self.base_url(host))
    }

    /// What the host charges for a model at an instant, and the name of that window.
    pub fn price_at(
        host: EmulatedHost,
        model: &str,
        at: crate::time::Timestamp,
    ) -> Option<(String, Charges)> {
        let price = tariff::in_force(host, tariff::sold_as(host, model, at)?, at)?;
        Some((price.window, price.charges))
    }

    /// What the host has charged so far, all accounts together.
    pub fn bill(&self, host: EmulatedHost) -> Bill {
        self.running(host).state.book.lock().bill(host)
    }

    pub fn bills(&self) -> Vec<Bill> {
        EmulatedHost::ALL
            .into_iter()
            .map(|host| self.bill(host))
            .collect()
    }

    /// The sum of all bills.
    pub fn picodollars(&self) -> i128 {
        self.bills().iter().map(Bill::picodollars).sum()
    }

    /// Each call that the host charged, oldest first.
    pub fn calls(&self, host: EmulatedHost) -> Vec<BilledCall> {
        self.running(host).state.book.lock().calls()
    }

    /// Chat requests that reached the host, refused ones included.
    pub fn requests(&self, host: EmulatedHost) -> u64 {
        self.running(host).state.requests()
    }

    /// Strikes every request at the host until cleared.
    pub fn set_fault(&self, host: EmulatedHost, fault: Fault) {
        self.running(host).state.set_fault(Some(fault), None);
    }

    /// Strikes the next `times` requests at the host.
    pub fn set_fault_times(&self, host: EmulatedHost, fault: Fault, times: u32) {
        self.running(host).state.set_fault(Some(fault), Some(times));
    }

    pub fn clear_fault(&self, host: EmulatedHost) {
        self.running(host).state.set_fault(None, None);
    }

    /// Waits until no call is in flight at any host: then every bill is complete, also of calls
    /// whose client left.
    pub async fn idle(&self) {
        for running in &self.hosts {
            running.state.idle().await;
        }
    }
}

#[cfg(test)]
mod tests;
