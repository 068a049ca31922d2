//! A host on loopback that speaks the OpenAI-compatible wire as its [`Script`] says, well or badly,
//! and remembers: every request it got, by the attempt id in `x-request-id`, and what it charges for
//! each. It stands on a bare socket, so that it can do what no server library would.

mod answer;
mod http;
mod script;
mod speech;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use script::{End, Framing, Gate, Reply, Script, Start, ToolCall, UsageStyle};
pub use speech::text_of;

/// A running host. Dropped, it stops listening; connections in flight end by themselves.
pub struct Upstream {
    address: SocketAddr,
    state: Arc<State>,
    listening: JoinHandle<()>,
}

struct State {
    always: Mutex<Script>,
    next: Mutex<VecDeque<Script>>,
    received: Mutex<Vec<Received>>,
}

/// One request as the host saw it.
#[derive(Clone, Debug)]
pub struct Received {
    /// `x-request-id`: the gateway's id of the attempt.
    pub attempt: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// What the host charges, once it has computed anything.
    pub bill: Option<Bill>,
    pub state: Delivery,
}

/// How far an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Open,
    /// All that the script says was written.
    Whole,
    /// The other side closed before that.
    Left,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the gateway sends JSON")
    }
}

/// Tokens that a host charges for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    pub cache_miss: u64,
    pub cache_hit: u64,
    pub reasoning: u64,
    pub visible: u64,
}

/// Picodollars a token.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    pub cache_hit: u64,
    pub cache_miss: u64,
    pub output: u64,
}

impl Default for Rates {
    fn default() -> Self {
        Rates {
            cache_hit: 3_625,
            cache_miss: 435_000,
            output: 870_000,
        }
    }
}

impl Bill {
    /// In picodollars, by the host's own arithmetic.
    pub fn cost(&self, rates: Rates) -> i128 {
        i128::from(self.cache_miss) * i128::from(rates.cache_miss)
            + i128::from(self.cache_hit) * i128::from(rates.cache_hit)
            + i128::from(self.reasoning + self.visible) * i128::from(rates.output)
    }
}

impl Upstream {
    /// A host that answers well until told otherwise.
    pub async fn start() -> Self {
        Self::start_with(Script::default()).await
    }

    pub async fn start_with(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            always: Mutex::new(script),
            next: Mutex::default(),
            received: Mutex::default(),
        });
        let listening = tokio::spawn({
            let state = Arc::clone(&state);
            async move {
                while let Ok((socket, _)) = listener.accept().await {
                    // A caller's reset ends one connection, never the host.
                    tokio::spawn(answer::serve(socket, Arc::clone(&state)));
                }
            }
        });
        Upstream {
            address,
            state,
            listening,
        }
    }

    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// From now on every request is treated so.
    pub fn behave(&self, script: Script) {
        *self.state.always.lock() = script;
    }

    /// The next request is treated so, those after it as before. Calls queue up.
    pub fn behave_once(&self, script: Script) {
        self.state.next.lock().push_back(script);
    }

    /// Every request so far, in the order of arrival.
    pub fn received(&self) -> Vec<Received> {
        self.state.received.lock().clone()
    }

    pub fn count(&self) -> usize {
        self.state.received.lock().len()
    }

    /// The only request that there was.
    pub fn only(&self) -> Received {
        let received = self.received();
        assert_eq!(
            received.len(),
            1,
            "the host got {} requests",
            received.len()
        );
        received.into_iter().next().expect("just counted")
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl State {
    fn script(&self) -> Script {
        self.next
            .lock()
            .pop_front()
            .unwrap_or_else(|| self.always.lock().clone())
    }

    fn note(&self, request: &http::Request) -> usize {
        let mut received = self.received.lock();
        received.push(Received {
            attempt: request
                .header("x-request-id")
                .unwrap_or_default()
                .to_owned(),
            path: request.path.clone(),
            headers: request.headers.clone(),
            body: Vec::new(),
            bill: None,
            state: Delivery::Open,
        });
        received.len() - 1
    }

    fn update(&self, index: usize, change: impl FnOnce(&mut Received)) {
        change(&mut self.received.lock()[index]);
    }
}
