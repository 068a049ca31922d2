//! Files and batches as a client meets them, on both databases, with hosts that are played.

mod desk;
mod work;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use futures_util::future::BoxFuture;
use jiff::SignedDuration;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tower::ServiceExt;

use super::*;
use crate::access::{Pepper, Principal};
use crate::edge::desk::{Callers, files_and_batches};
use crate::history::{Batches, Files};
use crate::id::KeyId;
use crate::ledger::Payer;
use crate::ledger::testing::{Fresh, on_both};
use crate::settings::BatchSettings;
use crate::time::Clock;

/// Keys are `ORGANISATION:ROLE`.
struct Doors(KeyId);

impl Callers for Doors {
    fn caller<'a>(
        &'a self,
        headers: &'a HeaderMap,
    ) -> BoxFuture<'a, Result<Arc<Principal>, Refusal>> {
        let key = headers
            .get("authorization")
            .and_then(|key| key.to_str().ok());
        let found = key
            .and_then(|key| key.strip_prefix("Bearer ")?.split_once(':'))
            .map(|(organisation, role)| {
                Arc::new(Principal {
                    payer: Payer {
                        organisation: organisation.into(),
                        team: "search".into(),
                        project: "ranking".into(),
                        key: self.0,
                    },
                    role: role.parse().expect("a role"),
                    tags: Vec::new(),
                    budget: None,
                    expires: None,
                })
            })
            .ok_or_else(|| Refusal::new(Code::InvalidKey, "no key"));
        Box::pin(std::future::ready(found))
    }
}

/// Hosts: what they were asked, and what they answer to the n-th asking of the same; never, if
/// nothing.
struct Hosts {
    asked: Mutex<Vec<(Value, HeaderMap, KeyId)>>,
    answer: Box<dyn Fn(u64, usize) -> Option<Told> + Send + Sync>,
    heard: Notify,
}

impl Hosts {
    fn that(answer: impl Fn(u64, usize) -> Option<Told> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Hosts {
            asked: Mutex::default(),
            answer: Box::new(answer),
            heard: Notify::new(),
        })
    }

    /// How often each was asked.
    fn times(&self) -> BTreeMap<u64, usize> {
        let mut times = BTreeMap::new();
        for (body, _, _) in self.asked.lock().iter() {
            *times
                .entry(body["n"].as_u64().expect("a number"))
                .or_default() += 1;
        }
        times
    }

    async fn until_asked(&self, times: usize) {
        while self.asked.lock().len() < times {
            self.heard.notified().await;
        }
    }
}

impl Ask for Hosts {
    fn ask(
        &self,
        key: KeyId,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> BoxFuture<'static, Told> {
        assert_eq!(url, "/v1/chat/completions");
        let body: Value = serde_json::from_slice(&body).expect("a body");
        let n = body["n"].as_u64().expect("a number");
        let mut asked = self.asked.lock();
        let before = asked.iter().filter(|(body, _, _)| body["n"] == n).count();
        asked.push((body, headers, key));
        self.heard.notify_one();
        match (self.answer)(n, before) {
            Some(told) => Box::pin(std::future::ready(told)),
            None => Box::pin(std::future::pending()),
        }
    }
}

fn said(n: u64) -> Option<Told> {
    let body = json!({"answer": n, "usage": {"prompt_tokens": 7, "completion_tokens": 3}});
    Some(Told {
        status: StatusCode::OK,
        request_id: Some(format!("request-{n}")),
        retry_after: None,
        body: Bytes::from(body.to_string()),
    })
}

fn failed(status: u16) -> Option<Told> {
    Some(Told {
        status: StatusCode::from_u16(status).expect("a status"),
        request_id: None,
        retry_after: None,
        body: Bytes::from_static(b"{\"error\":{\"message\":\"no\"}}"),
    })
}

struct World {
    router: Router,
    runner: Runner,
    key: KeyId,
}

fn world(fresh: &Fresh, hosts: &Arc<Hosts>) -> World {
    let settings = BatchSettings {
        in_flight: 2,
        ..BatchSettings::default()
    };
    let pepper = Pepper::load(None, fresh.folder.path()).expect("a pepper");
    let files = Files::new(fresh.store.clone(), &pepper, &settings);
    let batches = Batches::new(fresh.store.clone(), &pepper, &settings);
    let new_batch = Arc::new(Notify::new());
    let key = KeyId::new();
    let router = files_and_batches(Desk {
        files: files.clone(),
        batches: batches.clone(),
        callers: Arc::new(Doors(key)),
        clock: Clock::system(),
        new_batch: new_batch.clone(),
    });
    let runner = Runner {
        files,
        batches,
        ask: hosts.clone(),
        clock: Clock::system(),
        settings,
        pace: Pace {
            renew: Duration::from_millis(5),
            first_wait: Duration::ZERO,
            longest_wait: Duration::ZERO,
            ..Pace::default()
        },
        new_batch,
    };
    World {
        router,
        runner,
        key,
    }
}

/// The same runner, after so many seconds.
fn later(runner: &Runner, seconds: i64) -> Runner {
    Runner {
        clock: Clock::starting_at(Timestamp::now() + SignedDuration::from_secs(seconds)),
        ..runner.clone()
    }
}

async fn work(runner: &Runner) {
    let (_tell, stop) = watch::channel(false);
    let claimed = runner.batches.claim(runner.pace.hold, runner.clock.now());
    let (hold, batch) = claimed.await.expect("claim").expect("a batch");
    runner.work(hold, batch, stop).await;
}

impl World {
    async fn send(&self, method: &str, path: &str, key: &str, body: Body) -> (u16, Bytes) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "multipart/form-data; boundary=XX")
            .header("x-tollgate-tags", "eu,soc2")
            .body(body)
            .expect("a request");
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("an answer");
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX)
            .await
            .expect("a body");
        (status, body)
    }

    async fn told(&self, method: &str, path: &str, body: Body) -> Value {
        let (status, body) = self.send(method, path, "acme:app", body).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).expect("JSON")
    }

    async fn upload(&self, content: &str) -> String {
        let file = self
            .told("POST", "/v1/files", upload("batch", content))
            .await;
        file["id"].as_str().expect("an id").to_owned()
    }

    async fn batch(&self, content: &str) -> String {
        let id = self.upload(content).await;
        let batch = self.told("POST", "/v1/batches", wanted(&id)).await;
        batch["id"].as_str().expect("an id").to_owned()
    }

    async fn get(&self, batch: &str) -> Value {
        self.told("GET", &format!("/v1/batches/{batch}"), Body::empty())
            .await
    }

    async fn lines(&self, file: &Value) -> Vec<Value> {
        let path = format!("/v1/files/{}/content", file.as_str().expect("a file"));
        let (status, body) = self.send("GET", &path, "acme:app", Body::empty()).await;
        assert_eq!(status, 200);
        let text = std::str::from_utf8(&body).expect("text");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }
}

fn upload(purpose: &str, content: &str) -> Body {
    Body::from(format!(
        "--XX\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\n{purpose}\r\n\
         --XX\r\ncontent-disposition: form-data; name=\"file\"; filename=\"in.jsonl\"\r\n\
         content-type: application/octet-stream\r\n\r\n{content}\r\n--XX--\r\n"
    ))
}

fn wanted(file: &str) -> Body {
    let wanted = json!({"input_file_id": file, "endpoint": "/v1/chat/completions",
        "completion_window": "24h", "metadata": {"run": "7"}});
    Body::from(wanted.to_string())
}

fn line(n: u64) -> String {
    json!({"custom_id": format!("mine-{n}"), "method": "POST", "url": "/v1/chat/completions",
        "body": {"model": "deepseek-v4-flash", "n": n}})
    .to_string()
}

fn lines(count: u64) -> String {
    (1..=count).map(|n| line(n) + "\n").collect()
}
