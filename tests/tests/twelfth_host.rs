//! A host that nobody here has heard of takes one file: its page in the deployments' folder names its
//! address, its price and the variable that holds its key, and every dialect reaches it.

use serde_json::{Value, json};
use tollgate_tests::upstream::{Script, text_of};
use tollgate_tests::{Answer, Caller, Gateway, Rates, Setup, Surface, Upstream, until};

/// Everything that is to be known of the twelfth host.
fn page(address: &str) -> String {
    format!(
        r#"
host = "twelfth"
title = "The twelfth host"
wire = "openai"
auth = {{ kind = "bearer", env = "TWELFTH_API_KEY" }}
bills_at = "end"
source = "docs.twelfth.example"
read = 2026-11-24

[quirks]
thinking = "reasoning_effort"
effort = {{ off = "none", high = "high", max = "max" }}
reasoning_field = "reasoning"
tenant_field = "tenant"

[cache]
kind = "prefix"
source = "docs.twelfth.example/caching"
read = 2026-11-24

[[endpoint]]
region = "north"
base_url = "{address}"
completions = "completions"
jurisdiction = "NO"
source = "docs.twelfth.example"
read = 2026-11-24

[[offer]]
model = "deepseek-v4-pro"
id = "twelfth/deepseek-v4-pro"
snapshot = "0813"
context = 1_048_576
max_output = 131_072
capabilities = ["tools", "forced_tools", "json_object", "json_schema", "thinking", "completions"]
source = "docs.twelfth.example/models"
read = 2026-11-24

[[offer.tariff]]
name = "2026-11"
kind = "list"
from = 2026-11-01T00:00:00Z
known = 2026-11-01T00:00:00Z
flat = {{ hit = "0.01", miss = "0.20", output = "0.40" }}
source = "docs.twelfth.example/pricing"
read = 2026-11-24

[[certification]]
tag = "nordic"
evidence = "data centre in Bergen"
valid_from = 2026-01-01
source = "docs.twelfth.example/trust"
read = 2026-11-24
"#
    )
}

/// Picodollars a token, by that page.
const RATES: Rates = Rates {
    cache_hit: 10_000,
    cache_miss: 200_000,
    output: 400_000,
};

async fn world() -> (Upstream, Gateway) {
    let host = Upstream::start_with(Script {
        thinking_as: "reasoning",
        ..Script::default()
    })
    .await;
    let gateway = Setup::default()
        .clock("2026-11-24T02:00:00Z")
        .deployment("twelfth.toml", &page(&host.base_url()))
        .variable("TWELFTH_API_KEY", "sk-twelfth")
        .start()
        .await;
    (host, gateway)
}

fn words(range: std::ops::Range<usize>) -> String {
    range.map(text_of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_every_dialect_and_stands_in_the_ledger_by_its_name() {
    let (host, gateway) = world().await;
    let caller = gateway.caller().await.with("x-tollgate-tags", "nordic");
    let mut asked = 0;
    for surface in Surface::ALL {
        for streams in [false, true] {
            let mut question = surface.question_to("deepseek-v4-pro");
            question["stream"] = json!(streams);
            let answer = caller.ask_at(surface.path(), &question).await;
            let said = surface.read(&answer);
            let thinks = if surface == Surface::Completions {
                0
            } else {
                4
            };
            assert_eq!(
                (said.thinking, said.text),
                (words(0..thinks), words(thinks..12))
            );
            assert_eq!(
                answer.header("x-tollgate-backend"),
                Some("twelfth/default/north/deepseek-v4-pro-0813")
            );
            asked += 1;

            let received = host.received().pop().expect("a request");
            let path = match surface {
                Surface::Completions => "/v1/completions",
                _ => "/v1/chat/completions",
            };
            assert_eq!(received.path, path);
            assert_eq!(received.header("authorization"), Some("Bearer sk-twelfth"));
            let body = received.json();
            assert_eq!(body["model"], "twelfth/deepseek-v4-pro", "{body}");
            assert!(body["tenant"].is_string(), "{body}");
            let bill = received.bill.expect("it answered");
            assert_eq!(answer.cost(), Some(bill.cost(RATES)), "{surface:?}");
        }
    }
    let rows = gateway.ledger().at_least(asked).await;
    for row in rows {
        let booked = (
            row.host.as_str(),
            row.outcome.as_str(),
            row.counted_by.as_str(),
        );
        assert_eq!(booked, ("twelfth", "answered", "reported"), "{row:?}");
        assert_eq!(row.tags, "nordic");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_takes_batches_and_is_named_where_models_and_plans_are_told() {
    let (host, gateway) = world().await;
    let caller = gateway.caller().await;
    let models = caller.get("/v1/models").await.json();
    let ids = models["data"].as_array().expect("models").iter();
    assert!(
        ids.into_iter()
            .any(|model| model["id"] == "deepseek-v4-pro"),
        "{models}"
    );

    let question = Surface::Chat.question_to("deepseek-v4-pro");
    let plan = caller.ask_at("/v1/route", &question).await;
    assert!(plan.text.contains("twelfth/default/north"), "{}", plan.text);
    assert_eq!(host.count(), 0, "a plan asks nobody");

    let line = json!({
        "custom_id": "one", "method": "POST", "url": "/v1/chat/completions", "body": question,
    });
    let file = upload(&caller, &line.to_string()).await;
    let batch = json!({
        "input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h",
    });
    let batch = caller.ask_at("/v1/batches", &batch).await.json();
    let path = format!("/v1/batches/{}", batch["id"].as_str().expect("a batch"));
    let done = until("the batch is done", || async {
        let batch = caller.get(&path).await.json();
        let ended = !matches!(
            batch["status"].as_str(),
            Some("validating" | "in_progress" | "finalizing")
        );
        ended.then_some(batch)
    })
    .await;
    assert_eq!(done["status"], "completed", "{done}");
    let output = done["output_file_id"].as_str().expect("a file");
    let output = caller.get(&format!("/v1/files/{output}/content")).await;
    let result: Value = serde_json::from_str(output.text.trim()).expect("one line");
    assert_eq!(result["custom_id"], "one");
    let message = &result["response"]["body"]["choices"][0]["message"];
    assert_eq!(message["content"], words(4..12), "{result}");
    assert_eq!(gateway.ledger().only().await.host, "twelfth");
}

/// Uploads a file of requests as a form; its id.
async fn upload(caller: &Caller, lines: &str) -> Value {
    const EDGE: &str = "the-edge-of-a-part";
    let form = format!(
        "--{EDGE}\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n\
         --{EDGE}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"lines.jsonl\"\r\n\
         content-type: application/jsonl\r\n\r\n{lines}\r\n--{EDGE}--\r\n"
    );
    let kind = format!("multipart/form-data; boundary={EDGE}");
    let answer: Answer = caller
        .send("/v1/files", &kind, form)
        .await
        .expect("the gateway answers");
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["id"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_key_it_is_not_there_and_check_says_what_to_set() {
    let host = Upstream::start().await;
    let gateway = Setup::default()
        .deployment("twelfth.toml", &page(&host.base_url()))
        .start()
        .await;
    let question = Surface::Chat.question_to("deepseek-v4-pro");
    let answer = gateway.caller().await.ask(&question).await;
    assert_ne!(answer.status, 200, "{}", answer.text);
    assert_eq!(host.count(), 0);
    let check = gateway.run(&["check"]).await;
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    let line = said.lines().find(|line| line.contains("twelfth"));
    assert!(
        line.is_some_and(|line| line.contains("TWELFTH_API_KEY")),
        "{said}"
    );
}
