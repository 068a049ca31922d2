//! The hosts as a client meets them.

use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::time::Clock;

#[derive(Deserialize)]
struct Completion {
    model: String,
    choices: Vec<Choice>,
    usage: Usage,
}

#[derive(Deserialize)]
struct Choice {
    message: Value,
    finish_reason: String,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

struct World {
    hosts: EmulatedHosts,
    client: reqwest::Client,
}

fn noon(options: EmulatorOptions, instant: &str) -> EmulatorOptions {
    EmulatorOptions {
        clock: Clock::starting_at(instant.parse().expect("an instant")),
        ..options
    }
}

async fn world_with(options: EmulatorOptions) -> World {
    World {
        hosts: EmulatedHosts::start(options).await.expect("free ports"),
        client: reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client"),
    }
}

async fn world() -> World {
    world_with(noon(EmulatorOptions::instant(), "2026-11-24T02:00:00Z")).await
}

impl World {
    async fn send(&self, host: EmulatedHost, credential: &str, body: &Value) -> reqwest::Response {
        let request = self
            .client
            .post(format!("{}/chat/completions", self.hosts.base_url(host)))
            .header("content-type", "application/json")
            .body(body.to_string());
        let request = match host {
            EmulatedHost::Azure => request.header("api-key", credential),
            _ => request.bearer_auth(credential),
        };
        request.send().await.expect("a response")
    }

    async fn ask(&self, host: EmulatedHost, body: &Value) -> (u16, String) {
        let response = self.send(host, &self.hosts.credential(host), body).await;
        let status = response.status().as_u16();
        (
            status,
            response.text().await.unwrap_or_else(|_| "(cut)".to_owned()),
        )
    }

    fn request(&self, host: EmulatedHost, fields: &Value) -> Value {
        let mut body = json!({
            "model": self.hosts.models(host)[0],
            "messages": [{"role": "user", "content": "say something\nanswer in 40 words"}],
        });
        for (name, value) in fields.as_object().expect("an object") {
            body[name] = value.clone();
        }
        body
    }

    /// The chunks of a streamed answer.
    async fn stream(&self, host: EmulatedHost, fields: &Value) -> Vec<Value> {
        let mut body = self.request(host, fields);
        body["stream"] = json!(true);
        let (status, text) = self.ask(host, &body).await;
        assert_eq!(status, 200, "{text}");
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
        text.lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .filter(|data| *data != "[DONE]")
            .map(|data| serde_json::from_str(data).expect("JSON"))
            .collect()
    }

    async fn cached(&self, words: &str, user: &str) -> u64 {
        let body = json!({
            "model": "deepseek-v4-pro", "user_id": user,
            "messages": [{"role": "user", "content": words}],
        });
        let (_, text) = self.ask(EmulatedHost::Deepseek, &body).await;
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        answer["usage"]["prompt_cache_hit_tokens"]
            .as_u64()
            .expect("a count")
    }
}

fn joined(chunks: &[Value], field: &str) -> String {
    chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"][field].as_str())
        .collect()
}

fn words(name: &str, count: usize) -> String {
    (0..count).map(|index| format!("{name}{index} ")).collect()
}

#[tokio::test]
async fn every_host_answers_plain_and_streamed_alike_and_bills_both() {
    let world = world().await;
    for host in EmulatedHost::ALL {
        let (status, text) = world.ask(host, &world.request(host, &json!({}))).await;
        assert_eq!(status, 200, "{host}: {text}");
        let plain: Completion = serde_json::from_str(&text).expect("a completion");
        assert_eq!(plain.model, world.hosts.models(host)[0]);
        assert_eq!(plain.choices[0].finish_reason, "stop");
        assert_eq!(plain.usage.completion_tokens, 40);
        assert_eq!(plain.usage.total_tokens, plain.usage.prompt_tokens + 40);
        let chunks = world
            .stream(host, &json!({"stream_options": {"include_usage": true}}))
            .await;
        let message = &plain.choices[0].message;
        assert_eq!(
            Value::String(joined(&chunks, "content")),
            message["content"],
            "{host}"
        );
        let reasoning = if host == EmulatedHost::Together {
            "reasoning"
        } else {
            "reasoning_content"
        };
        assert_eq!(
            Value::String(joined(&chunks, reasoning)),
            message[reasoning],
            "{host}"
        );
        let usages = chunks
            .iter()
            .filter(|chunk| chunk["usage"].is_object())
            .count();
        assert_eq!(usages, 1, "{host}");
        assert!(chunks.len() > 6, "{host}: {} chunks", chunks.len());
        assert_eq!(world.hosts.bill(host).tokens(Meter::Output), 80, "{host}");
    }
    let sum: i128 = world.hosts.bills().iter().map(Bill::picodollars).sum();
    assert_eq!(world.hosts.picodollars(), sum);
}

#[tokio::test]
async fn a_wrong_credential_is_refused_by_every_host() {
    let world = world().await;
    for host in EmulatedHost::ALL {
        let response = world
            .send(host, "wrong", &world.request(host, &json!({})))
            .await;
        assert_eq!(response.status(), 401, "{host}");
        assert_eq!(world.hosts.bill(host).calls, 0);
    }
}

#[tokio::test]
async fn deepseeks_bill_at_peak_is_what_its_page_says() {
    let world = world().await;
    let body = json!({
        "model": "deepseek-v4-pro",
        "messages": [{"role": "user", "content": format!("{}\nanswer in 50 words", words("a", 995))}],
    });
    for _ in 0..2 {
        assert_eq!(world.ask(EmulatedHost::Deepseek, &body).await.0, 200);
    }
    // Twice 1,000 tokens of input, the second time cached, and 50 of output, per million:
    // 1000 x 1.32 + 1000 x 0.044 + 100 x 3.96 = 1760.
    assert_eq!(world.hosts.bill(EmulatedHost::Deepseek).total(), "0.00176");
    let page = format!(
        "{}/emulator/bill",
        world.hosts.root_url(EmulatedHost::Deepseek)
    );
    let shown = world
        .client
        .get(page)
        .send()
        .await
        .expect("a page")
        .text()
        .await
        .expect("text");
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["total"], "0.00176");
    assert_eq!(shown["lines"].as_array().expect("lines").len(), 3);
}

#[tokio::test]
async fn deepseeks_cache_stores_what_two_requests_share_and_keeps_users_apart() {
    let world = world().await;
    let prompt = |tail: &str| format!("{}{}", words("a", 300), words(tail, 50));
    assert_eq!(world.cached(&prompt("b"), "one").await, 0);
    assert_eq!(world.cached(&prompt("c"), "one").await, 0);
    // The role of the message and 300 words.
    assert_eq!(world.cached(&prompt("d"), "one").await, 301);
    assert_eq!(world.cached(&prompt("e"), "two").await, 0);
}

#[tokio::test]
async fn usage_comes_where_each_host_puts_it() {
    let world = world().await;
    let unasked = world.stream(EmulatedHost::Together, &json!({})).await;
    assert!(unasked.iter().all(|chunk| chunk.get("usage").is_none()));
    let asked = world
        .stream(
            EmulatedHost::Together,
            &json!({"stream_options": {"include_usage": true}}),
        )
        .await;
    assert!(asked[0]["usage"].is_null() && asked[0].get("usage").is_some());
    let last = asked.last().expect("chunks");
    assert_eq!(
        (
            last["choices"].as_array().map(Vec::len),
            last["usage"]["completion_tokens"].as_u64()
        ),
        (Some(0), Some(40))
    );
    let fireworks = world.stream(EmulatedHost::Fireworks, &json!({})).await;
    let last = fireworks.last().expect("chunks");
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
    assert!(last["usage"]["prompt_tokens"].is_u64());
    let mut places = Vec::new();
    for _ in 0..2 {
        let chunks = world
            .stream(
                EmulatedHost::Deepseek,
                &json!({"stream_options": {"include_usage": true}}),
            )
            .await;
        places.push(
            chunks.last().expect("chunks")["choices"]
                .as_array()
                .map(Vec::len),
        );
        assert_eq!(chunks[0]["choices"][0]["delta"]["reasoning_content"], "");
    }
    places.sort_unstable();
    assert_eq!(
        places,
        [Some(0), Some(1)],
        "once on the finish chunk, once behind it"
    );
    let azure = world.stream(EmulatedHost::Azure, &json!({})).await;
    assert!(azure[0]["prompt_filter_results"].is_array());
    assert!(azure[1]["choices"][0]["content_filter_results"].is_object());
}

#[tokio::test]
async fn deepseek_keeps_waiting_clients_awake() {
    let world = world().await;
    let (_, plain) = world
        .ask(
            EmulatedHost::Deepseek,
            &world.request(EmulatedHost::Deepseek, &json!({})),
        )
        .await;
    assert!(plain.starts_with('\n'));
    let body = world.request(EmulatedHost::Deepseek, &json!({"stream": true}));
    let (_, stream) = world.ask(EmulatedHost::Deepseek, &body).await;
    assert!(stream.starts_with(": keep-alive\n\n"));
}

#[tokio::test]
async fn a_tools_arguments_come_in_several_deltas_and_fit_its_schema() {
    let world = world().await;
    let tools = json!([{"type": "function", "function": {"name": "weather", "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "units": {"enum": ["metric"]}},
        "required": ["city", "days", "units"],
    }}}]);
    for host in [
        EmulatedHost::Deepseek,
        EmulatedHost::Together,
        EmulatedHost::Azure,
    ] {
        let chunks = world.stream(host, &json!({"tools": tools})).await;
        let calls: Vec<&Value> = chunks
            .iter()
            .map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0])
            .filter(|call| !call.is_null())
            .collect();
        assert!(calls.len() > 3, "{host}");
        assert_eq!(calls[0]["function"]["name"], "weather");
        assert!(
            calls[0]["id"].is_string()
                && calls[1]["id"].is_null()
                && calls[1]["function"]["name"].is_null()
        );
        let arguments: String = calls
            .iter()
            .filter_map(|call| call["function"]["arguments"].as_str())
            .collect();
        let arguments: Value = serde_json::from_str(&arguments).expect("JSON");
        assert_eq!(
            arguments,
            json!({"city": "Lisbon", "days": 1, "units": "metric"})
        );
        assert!(
            chunks
                .iter()
                .any(|chunk| chunk["choices"][0]["finish_reason"] == "tool_calls")
        );
    }
}

#[tokio::test]
async fn a_client_that_leaves_pays_its_input_and_what_was_generated() {
    let world = world().await;
    for (host, stream) in [
        (EmulatedHost::Together, true),
        (EmulatedHost::Deepseek, true),
        (EmulatedHost::Deepseek, false),
    ] {
        let before = world.hosts.bill(host).tokens(Meter::Output);
        world.hosts.set_fault_times(host, Fault::HangAfter, 1);
        let body = world.request(host, &json!({"stream": stream}));
        let mut response = world.send(host, &world.hosts.credential(host), &body).await;
        let first = response.chunk().await.expect("a first piece");
        assert!(first.is_some());
        // The host hangs half-way; the client has had enough.
        let mut seen = String::from_utf8_lossy(&first.unwrap_or_default()).into_owned();
        while stream && count_content(&seen) < 20 {
            let piece = response
                .chunk()
                .await
                .expect("a piece")
                .expect("not the end");
            seen.push_str(&String::from_utf8_lossy(&piece));
        }
        drop(response);
        world.hosts.idle().await;
        let bill = world.hosts.bill(host);
        if stream {
            assert_eq!(bill.tokens(Meter::Output) - before, 20, "{host}");
        }
        assert!(!world.hosts.calls(host).last().expect("a call").complete);
        assert!(bill.tokens(Meter::CacheMiss) > 0);
    }
}

fn count_content(stream: &str) -> u64 {
    let delta = |data: &str| -> u64 {
        let chunk: Value = serde_json::from_str(data).unwrap_or_default();
        let delta = &chunk["choices"][0]["delta"];
        ["content", "reasoning_content", "reasoning"]
            .iter()
            .filter_map(|field| delta[field].as_str())
            .map(count_tokens)
            .sum()
    };
    stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(delta)
        .sum()
}

#[tokio::test]
async fn faults_strike_as_they_are_set() {
    let world = world().await;
    let host = EmulatedHost::Nebius;
    let body = world.request(host, &json!({}));
    world.hosts.set_fault_times(host, Fault::Status(503), 1);
    assert_eq!(world.ask(host, &body).await.0, 503);
    assert_eq!(world.ask(host, &body).await.0, 200);
    world.hosts.set_fault(host, Fault::RetryAfterAbsurd);
    let refused = world.send(host, &world.hosts.credential(host), &body).await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["retry-after"]),
        (429, &"999999999".parse().expect("a header"))
    );
    world.hosts.clear_fault(host);
    let magic = json!({"messages": [{"role": "user", "content": "x\nx-emulate: html-200\n"}]});
    assert!(
        world
            .ask(host, &world.request(host, &magic))
            .await
            .1
            .starts_with("<html>")
    );
    assert_eq!(world.hosts.bill(host).calls, 1);
    let stream = |fault: &str| {
        let content = format!("x\nx-emulate: {fault}\nanswer in 40 words");
        world.request(
            host,
            &json!({
                "stream": true, "stream_options": {"include_usage": true},
                "messages": [{"role": "user", "content": content}],
            }),
        )
    };
    let usages = |text: &str| text.matches("\"total_tokens\"").count();
    assert_eq!(usages(&world.ask(host, &stream("usage-twice")).await.1), 2);
    assert_eq!(usages(&world.ask(host, &stream("no-usage")).await.1), 0);
    assert!(usages(&world.ask(host, &stream("usage-running")).await.1) > 4);
    assert!(
        world
            .ask(host, &stream("usage-negative"))
            .await
            .1
            .contains("\"completion_tokens\":-1")
    );
    assert_eq!(world.ask(host, &stream("cut-stream")).await.1, "(cut)");
    assert_eq!(world.ask(host, &stream("cut-before")).await.1, "(cut)");
    assert!(
        !world
            .ask(host, &stream("no-done"))
            .await
            .1
            .contains("[DONE]")
    );
    assert!(
        world
            .ask(host, &stream("error-in-stream"))
            .await
            .1
            .contains("\"error\"")
    );
    assert!(
        world
            .ask(host, &stream("gave-up"))
            .await
            .1
            .contains("insufficient_system_resource")
    );
}

#[tokio::test]
async fn deepseek_answers_429_beyond_its_concurrency() {
    let options = EmulatorOptions {
        deepseek_concurrency: Some(1),
        ..EmulatorOptions::instant()
    };
    let world = world_with(options).await;
    let host = EmulatedHost::Deepseek;
    world.hosts.set_fault_times(host, Fault::HangAfter, 1);
    let body = world.request(host, &json!({"stream": true}));
    let held = world.send(host, &world.hosts.credential(host), &body).await;
    assert_eq!(world.ask(host, &body).await.0, 429);
    drop(held);
    world.hosts.idle().await;
    assert_eq!(world.ask(host, &body).await.0, 200);
}

#[tokio::test]
async fn deepseek_answers_402_once_its_balance_is_spent() {
    let options = EmulatorOptions {
        deepseek_topped_up: 1,
        deepseek_granted: 1,
        ..EmulatorOptions::instant()
    };
    let world = world_with(options).await;
    let body = world.request(EmulatedHost::Deepseek, &json!({}));
    assert_eq!(world.ask(EmulatedHost::Deepseek, &body).await.0, 200);
    let (status, text) = world.ask(EmulatedHost::Deepseek, &body).await;
    assert_eq!(status, 402);
    assert!(text.contains("Insufficient Balance"));
}

#[tokio::test]
async fn the_emulators_own_pages_count_and_set_faults() {
    let world = world().await;
    let host = EmulatedHost::Vertex;
    let root = world.hosts.root_url(host);
    let fault = |body: &'static str| {
        world
            .client
            .post(format!("{root}/emulator/fault"))
            .body(body)
            .send()
    };
    assert_eq!(
        fault(r#"{"fault": "status-500", "times": 1}"#)
            .await
            .expect("a page")
            .status(),
        200
    );
    assert_eq!(
        fault(r#"{"fault": "teapot"}"#)
            .await
            .expect("a page")
            .status(),
        400
    );
    assert_eq!(
        world.ask(host, &world.request(host, &json!({}))).await.0,
        500
    );
    let count = world
        .client
        .get(format!("{root}/emulator/count"))
        .send()
        .await
        .expect("a page");
    let count: Value = serde_json::from_str(&count.text().await.expect("text")).expect("JSON");
    assert_eq!(
        (count["requests"].as_u64(), count["billed"].as_u64()),
        (Some(1), Some(0))
    );
}

#[tokio::test]
async fn a_model_that_is_not_sold_is_refused_in_each_hosts_way() {
    let world = world().await;
    let unknown = json!({"model": "gpt-17"});
    for (host, status) in [
        (EmulatedHost::Deepseek, 400),
        (EmulatedHost::Together, 404),
        (EmulatedHost::Azure, 404),
    ] {
        assert_eq!(
            world.ask(host, &world.request(host, &unknown)).await.0,
            status,
            "{host}"
        );
    }
}

#[test]
fn the_hosts_share_no_code_with_what_they_are_a_check_on() {
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/demo/hosts")];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for file in std::fs::read_dir(folder).expect("the sources") {
            let path = file.expect("a file").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // Tests look at a host from outside, with whatever serves.
            if path.file_name().is_some_and(|name| name == "tests.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("text");
            for line in text.lines().filter(|line| line.contains("crate::")) {
                let allowed = line.contains("crate::time::") || line.contains("\"crate::");
                assert!(allowed, "{}: {line}", path.display());
            }
            read += 1;
        }
    }
    assert!(read > 10);
}

#[tokio::test]
async fn deepseek_completes_a_bare_prompt_without_thinking() {
    let world = world().await;
    let deepseek = EmulatedHost::Deepseek;
    let send = async |fields: Value| {
        let mut body = json!({"model": "deepseek-v4-pro", "suffix": "}",
                              "prompt": "fn main() {\nanswer in 40 words"});
        for (name, value) in fields.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let response = world
            .client
            .post(format!(
                "{}/beta/completions",
                world.hosts.root_url(deepseek)
            ))
            .bearer_auth(world.hosts.credential(deepseek))
            .body(body.to_string())
            .send()
            .await
            .expect("a response");
        let status = response.status().as_u16();
        (status, response.text().await.expect("a body"))
    };
    let (status, text) = send(json!({})).await;
    assert_eq!(status, 200, "{text}");
    let plain: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(plain["object"], "text_completion");
    assert_eq!(plain["usage"]["completion_tokens"], 40);
    assert_eq!(plain["usage"].get("completion_tokens_details"), None);
    let said = plain["choices"][0]["text"].as_str().expect("text");

    let (_, echoed) = send(json!({"echo": true})).await;
    let echoed: Value = serde_json::from_str(&echoed).expect("JSON");
    let with_prompt = format!("fn main() {{\nanswer in 40 words{said}");
    assert_eq!(echoed["choices"][0]["text"], with_prompt);

    let asked = json!({"stream": true, "stream_options": {"include_usage": true}});
    let (_, stream) = send(asked).await;
    let chunks: Vec<Value> = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: ").filter(|data| *data != "[DONE]"))
        .map(|data| serde_json::from_str(data).expect("JSON"))
        .collect();
    let streamed: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["text"].as_str())
        .collect();
    assert_eq!(streamed, said);
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk["object"] == "text_completion")
    );
    assert!(
        chunks
            .iter()
            .any(|chunk| chunk["usage"]["completion_tokens"] == 40)
    );

    assert_eq!(send(json!({"max_tokens": 4097})).await.0, 400);
    assert_eq!(send(json!({"prompt": ["x"]})).await.0, 422);
    // Three answers were billed, the refusals were not.
    assert_eq!(world.hosts.bill(deepseek).calls, 3);
}
