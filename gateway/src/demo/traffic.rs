//! A piece of a real trace (`trace.jsonl`, see `trace.NOTICE.md`) sent through the gateway by a
//! real HTTP client, as several teams would send it: plain and streamed, tagged and untagged, with
//! real sizes and real sharing of prefixes, and made-up words.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::trace::{Traced, parse_line, prompt};

#[derive(Debug, thiserror::Error)]
pub enum TrafficError {
    #[error("line {line} of the trace is not readable: {why}")]
    Unreadable { line: usize, why: String },
    #[error("no key to send the traffic with: hand in at least one")]
    NoKeys,
    #[error("no model to ask for: name at least one")]
    NoModels,
    #[error("the HTTP client cannot be built: {0}")]
    Client(#[from] reqwest::Error),
}

/// A key of the gateway that sends a share of the traffic.
#[derive(Clone, Debug)]
pub struct TrafficKey {
    /// `Authorization: Bearer`.
    pub secret: String,
    /// Sent as `x-tollgate-tags` with each of its requests.
    pub tags: Vec<String>,
}

/// Told how many requests are done, of how many.
pub type Progress = Arc<dyn Fn(usize, usize) + Send + Sync>;

#[derive(Clone)]
pub struct TrafficOptions {
    /// At most this many, from the start of the trace.
    pub requests: usize,
    /// Divides all sizes, blocks as well: 1 sends the trace's thousands of tokens a request.
    pub shrink: u64,
    /// Divides the time between requests; 0 sends each as soon as a place is free.
    pub speedup: u32,
    /// Requests in flight.
    pub concurrency: usize,
    /// As the gateway names them; each conversation stays with one.
    pub models: Vec<String>,
    /// Longest wait for a whole answer.
    pub patience: Duration,
    pub progress: Option<Progress>,
}

impl Default for TrafficOptions {
    fn default() -> Self {
        TrafficOptions {
            requests: 300,
            shrink: 1,
            speedup: 20,
            concurrency: 32,
            models: vec![
                "deepseek-v4-pro".to_owned(),
                "deepseek-v4.1-flash".to_owned(),
            ],
            patience: Duration::from_secs(120),
            progress: None,
        }
    }
}

/// What came of it, as the client saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Played {
    pub sent: u64,
    /// Whole answers.
    pub answered: u64,
    /// Of those, the streamed ones.
    pub streamed: u64,
    /// Error code → how many; `cut` and `unreachable` are the client's own words.
    pub errors: BTreeMap<String, u64>,
    /// Prompt tokens, cached ones included, by the answers' usage.
    pub input_tokens: u64,
    pub cached_tokens: u64,
    pub output_tokens: u64,
    /// `x-tollgate-backend` → answers.
    pub by_backend: BTreeMap<String, u64>,
    pub took: Duration,
}

/// The trace, ready to be played.
#[derive(Clone, Debug)]
pub struct Traffic {
    requests: Vec<Traced>,
}

impl Traffic {
    /// The five minutes that ship with the program.
    pub fn shipped() -> Result<Self, TrafficError> {
        Traffic::parse(include_str!("trace.jsonl"))
    }

    pub fn parse(text: &str) -> Result<Self, TrafficError> {
        let read = |(index, line): (usize, &str)| {
            parse_line(line).map_err(|why| TrafficError::Unreadable {
                line: index + 1,
                why,
            })
        };
        let requests = text
            .lines()
            .enumerate()
            .map(read)
            .collect::<Result<_, _>>()?;
        Ok(Traffic { requests })
    }

    pub fn requests(&self) -> &[Traced] {
        &self.requests
    }

    /// Sends the traffic to `base_url` (append `/chat/completions`), shared among `keys`.
    pub async fn play(
        &self,
        base_url: &str,
        keys: &[TrafficKey],
        options: &TrafficOptions,
    ) -> Result<Played, TrafficError> {
        if keys.is_empty() {
            return Err(TrafficError::NoKeys);
        }
        if options.models.is_empty() {
            return Err(TrafficError::NoModels);
        }
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(options.patience)
            .build()?;
        let url = format!("{}/chat/completions", base_url.trim_end_matches('/'));
        let places = Arc::new(Semaphore::new(options.concurrency.max(1)));
        let played = Arc::new(Mutex::new(Played::default()));
        let total = self.requests.len().min(options.requests);
        let begun = Instant::now();
        let mut sending = tokio::task::JoinSet::new();
        for (index, traced) in self.requests.iter().take(total).enumerate() {
            let due = traced
                .at
                .checked_div(options.speedup)
                .unwrap_or(Duration::ZERO);
            tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                break;
            };
            let request = outgoing(&client, &url, keys, options, index, traced);
            let streamed = is_streamed(index);
            let played = Arc::clone(&played);
            let progress = options.progress.clone();
            sending.spawn(async move {
                let seen = send(request, streamed).await;
                let done = {
                    let mut played = played.lock();
                    played.count(seen, streamed);
                    usize::try_from(played.sent).unwrap_or(usize::MAX)
                };
                if let Some(progress) = progress {
                    progress(done, total);
                }
                drop(place);
            });
        }
        while sending.join_next().await.is_some() {}
        let mut played = played.lock().clone();
        played.took = begun.elapsed();
        Ok(played)
    }
}

/// Two of three requests are streamed.
fn is_streamed(index: usize) -> bool {
    index % 3 != 2
}

fn outgoing(
    client: &reqwest::Client,
    url: &str,
    keys: &[TrafficKey],
    options: &TrafficOptions,
    index: usize,
    traced: &Traced,
) -> reqwest::RequestBuilder {
    // All conversations begin with the same system prompt; the second block tells them apart.
    let conversation = usize::try_from(
        traced
            .blocks
            .get(1)
            .or(traced.blocks.first())
            .copied()
            .unwrap_or(0),
    )
    .unwrap_or(index);
    let key = &keys[conversation % keys.len()];
    let model = &options.models[conversation / keys.len() % options.models.len()];
    let shrink = options.shrink.max(1);
    let output = (traced.output / shrink).max(1);
    let mut body = json!({
        "model": model,
        "messages": [{"role": "user", "content": prompt(traced, shrink)}],
        "max_tokens": output.next_power_of_two().max(1_024),
    });
    if is_streamed(index) {
        body["stream"] = json!(true);
        body["stream_options"] = json!({"include_usage": true});
    }
    let mut request = client
        .post(url)
        .bearer_auth(&key.secret)
        .header("content-type", "application/json")
        .body(body.to_string());
    if !key.tags.is_empty() {
        request = request.header("x-tollgate-tags", key.tags.join(","));
    }
    request
}

/// What the client saw of one request.
#[derive(Debug, Default)]
struct Seen {
    error: Option<String>,
    backend: Option<String>,
    usage: Value,
}

impl Seen {
    fn failed(error: impl Into<String>) -> Self {
        Seen {
            error: Some(error.into()),
            ..Seen::default()
        }
    }
}

async fn send(request: reqwest::RequestBuilder, streamed: bool) -> Seen {
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) if error.is_timeout() => return Seen::failed("timed_out"),
        Err(_) => return Seen::failed("unreachable"),
    };
    let status = response.status();
    let backend = response
        .headers()
        .get("x-tollgate-backend")
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let Ok(body) = response.text().await else {
        return Seen {
            backend,
            ..Seen::failed("cut")
        };
    };
    let mut seen = if !status.is_success() {
        let document: Value = serde_json::from_str(&body).unwrap_or_default();
        Seen::failed(
            document["error"]["code"]
                .as_str()
                .map_or_else(|| status.as_u16().to_string(), str::to_owned),
        )
    } else if streamed {
        read_stream(&body)
    } else {
        read_document(&body)
    };
    seen.backend = backend;
    seen
}

fn read_document(body: &str) -> Seen {
    match serde_json::from_str::<Value>(body) {
        Ok(document) if document["choices"][0]["finish_reason"].is_string() => Seen {
            usage: document["usage"].clone(),
            ..Seen::default()
        },
        _ => Seen::failed("unreadable"),
    }
}

fn read_stream(body: &str) -> Seen {
    let mut seen = Seen::default();
    let mut finished = false;
    let mut done = false;
    for line in body.lines() {
        let Some(data) = line.strip_prefix("data:").map(str::trim) else {
            continue;
        };
        if data == "[DONE]" {
            done = true;
            continue;
        }
        let chunk: Value = serde_json::from_str(data).unwrap_or_default();
        if !chunk["error"].is_null() {
            return Seen::failed(chunk["error"]["code"].as_str().unwrap_or("error_in_stream"));
        }
        finished |= chunk["choices"][0]["finish_reason"].is_string();
        if !chunk["usage"].is_null() {
            seen.usage = chunk["usage"].clone();
        }
    }
    if finished && done {
        seen
    } else {
        Seen::failed("cut")
    }
}

impl Played {
    fn count(&mut self, seen: Seen, streamed: bool) {
        self.sent += 1;
        if let Some(error) = seen.error {
            *self.errors.entry(error).or_default() += 1;
            return;
        }
        self.answered += 1;
        self.streamed += u64::from(streamed);
        let tokens = |count: &Value| count.as_u64().unwrap_or(0);
        self.input_tokens += tokens(&seen.usage["prompt_tokens"]);
        self.output_tokens += tokens(&seen.usage["completion_tokens"]);
        let cached = &seen.usage["prompt_tokens_details"]["cached_tokens"];
        let cached = if cached.is_null() {
            &seen.usage["prompt_cache_hit_tokens"]
        } else {
            cached
        };
        self.cached_tokens += tokens(cached);
        if let Some(backend) = seen.backend {
            *self.by_backend.entry(backend).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hosts::{EmulatedHost, EmulatedHosts, EmulatorOptions, Meter};
    use super::*;

    #[test]
    fn the_shipped_trace_is_five_minutes_of_real_sizes() {
        let traffic = Traffic::shipped().expect("readable");
        assert_eq!(traffic.requests().len(), 918);
        assert!(
            traffic
                .requests()
                .iter()
                .all(|traced| traced.at < Duration::from_secs(300))
        );
        let first = &traffic.requests()[0];
        assert_eq!(
            (first.input, first.output, first.blocks.len()),
            (6_758, 500, 14)
        );
    }

    #[test]
    fn a_line_that_is_no_request_is_named() {
        let error = Traffic::parse("{\"t\":0,\"in\":1,\"out\":1,\"blocks\":\"0\"}\n{}")
            .expect_err("line 2");
        assert!(error.to_string().contains("line 2"));
        assert!(Traffic::parse("{\"t\":0,\"in\":1,\"out\":1,\"blocks\":\"9-3\"}").is_err());
    }

    #[tokio::test]
    async fn what_the_client_saw_is_what_the_host_billed() {
        let hosts = EmulatedHosts::start(EmulatorOptions::instant())
            .await
            .expect("free ports");
        let host = EmulatedHost::Fireworks;
        let options = TrafficOptions {
            requests: 30,
            shrink: 16,
            speedup: 0,
            concurrency: 4,
            models: vec!["accounts/fireworks/models/deepseek-v4p1-flash".to_owned()],
            ..TrafficOptions::default()
        };
        let key = TrafficKey {
            secret: hosts.credential(host),
            tags: Vec::new(),
        };
        let traffic = Traffic::shipped().expect("readable");
        let played = traffic
            .play(&hosts.base_url(host), &[key], &options)
            .await
            .expect("played");
        hosts.idle().await;
        let bill = hosts.bill(host);
        assert_eq!(
            (played.answered, played.streamed, played.errors.len()),
            (30, 20, 0),
            "{played:?}"
        );
        assert_eq!(bill.tokens(Meter::Output), played.output_tokens);
        assert_eq!(bill.tokens(Meter::CacheHit), played.cached_tokens);
        assert_eq!(
            bill.tokens(Meter::CacheHit) + bill.tokens(Meter::CacheMiss),
            played.input_tokens
        );
        let traced: u64 = traffic.requests()[..30]
            .iter()
            .map(|traced| (traced.output / 16).max(1))
            .sum();
        assert_eq!(played.output_tokens, traced);
    }

    #[test]
    fn a_stream_that_was_cut_is_no_answer() {
        let whole = "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3}}\n\ndata: [DONE]\n\n";
        assert_eq!(read_stream(whole).error, None);
        assert_eq!(read_stream(&whole[..60]).error.as_deref(), Some("cut"));
        let error = "data: {\"error\":{\"code\":\"host_failed\"}}\n\n";
        assert_eq!(read_stream(error).error.as_deref(), Some("host_failed"));
    }
}
