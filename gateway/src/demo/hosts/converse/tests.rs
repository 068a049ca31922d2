//! Bedrock's door as a client meets it. What botocore makes of it is tried by
//! `tests/python/test_bedrock_oracle.py`.

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::{EmulatedHost, EmulatedHosts, EmulatorOptions, Fault, Meter};
use crate::backend::wires::bedrock::{Hearing, Names, path};
use crate::backend::wires::{Decoder, Report};
use crate::chat::{Finish, Reply};

const HOST: EmulatedHost = EmulatedHost::Bedrock;

struct World {
    hosts: EmulatedHosts,
    client: reqwest::Client,
}

async fn world() -> World {
    World {
        hosts: EmulatedHosts::start(EmulatorOptions::instant())
            .await
            .expect("free ports"),
        client: reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client"),
    }
}

impl World {
    async fn send(&self, stream: bool, body: &Value) -> reqwest::Response {
        let model = self.hosts.models(HOST)[0];
        let url = format!("{}{}", self.hosts.wire_url(HOST), path(model, stream));
        let request = self
            .client
            .post(url)
            .bearer_auth(self.hosts.credential(HOST));
        request
            .body(body.to_string())
            .send()
            .await
            .expect("a response")
    }

    async fn plain(&self, body: &Value) -> Value {
        let response = self.send(false, body).await;
        let status = response.status();
        let text = response.text().await.expect("text");
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).expect("JSON")
    }

    async fn hear(&self, body: &Value) -> (Reply, Report) {
        let response = self.send(true, body).await;
        assert_eq!(
            response.headers()["content-type"],
            "application/vnd.amazon.eventstream"
        );
        let mut hearing = Hearing::new(Names::default(), None);
        let mut reply = Reply::default();
        let bytes: Bytes = response.bytes().await.unwrap_or_default();
        hearing.take(bytes, &mut |event| reply.hear(event));
        hearing.end(&mut |event| reply.hear(event));
        (reply, hearing.report().clone())
    }

    async fn refused(&self, body: &Value) -> (u16, String, String) {
        let response = self.send(false, body).await;
        let status = response.status().as_u16();
        let kind = response.headers()["x-amzn-errortype"]
            .to_str()
            .expect("text")
            .to_owned();
        let body: Value =
            serde_json::from_str(&response.text().await.expect("text")).expect("JSON");
        (
            status,
            kind,
            body["message"].as_str().unwrap_or("").to_owned(),
        )
    }
}

fn asks(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": [{"text": text}]}]})
}

fn with_tool(text: &str) -> Value {
    let mut body = asks(text);
    body["toolConfig"] = json!({"tools": [{"toolSpec": {
        "name": "get_weather",
        "inputSchema": {"json": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}},
    }}]});
    body
}

#[tokio::test]
async fn plain_and_streamed_answers_are_alike_and_both_are_billed() {
    let world = world().await;
    let body = asks("say something\nanswer in 40 words");
    let plain = world.plain(&body).await;
    let content = &plain["output"]["message"]["content"];
    let (reply, report) = world.hear(&body).await;
    let said = &reply.choices[0].said;
    assert_eq!(content[1]["text"], json!(said.text));
    assert_eq!(
        content[0]["reasoningContent"]["reasoningText"]["text"],
        json!(said.reasoning)
    );
    assert_eq!(plain["stopReason"], "end_turn");
    assert_eq!(report.finish, Some(Finish::Stop));
    assert!(report.done && report.complete());
    let usage = report.usage.expect("a usage");
    assert_eq!(plain["usage"]["outputTokens"], 40);
    assert_eq!(usage.output().get(), 40);
    assert_eq!(plain["usage"]["inputTokens"], usage.input().get());
    assert_eq!(world.hosts.bill(HOST).tokens(Meter::Output), 80);
}

#[tokio::test]
async fn a_tool_is_called_and_its_result_answered() {
    let world = world().await;
    let body = with_tool("the weather?");
    let plain = world.plain(&body).await;
    assert_eq!(plain["stopReason"], "tool_use");
    let called = plain["output"]["message"].clone();
    let call = called["content"][1]["toolUse"].clone();
    assert_eq!(call["name"], "get_weather");
    assert!(call["input"]["place"].is_string());
    let (reply, report) = world.hear(&body).await;
    assert_eq!(report.finish, Some(Finish::ToolCalls));
    let heard = &reply.choices[0].said.calls[0];
    assert_eq!(
        serde_json::from_str::<Value>(&heard.arguments).expect("JSON"),
        call["input"]
    );
    let mut next = body;
    let messages = next["messages"].as_array_mut().expect("messages");
    messages.push(called);
    messages.push(json!({"role": "user", "content": [{"toolResult": {
        "toolUseId": call["toolUseId"], "content": [{"text": "clear, -3"}],
    }}]}));
    let answer = world.plain(&next).await;
    let text = answer["output"]["message"]["content"][1]["text"].as_str();
    assert!(
        text.is_some_and(|text| text.contains("clear, -3")),
        "{answer}"
    );
    next.as_object_mut().expect("a body").remove("toolConfig");
    let (status, kind, message) = world.refused(&next).await;
    assert_eq!((status, kind.as_str()), (400, "ValidationException"));
    assert!(message.contains("toolConfig"), "{message}");
}

#[tokio::test]
async fn what_bedrock_refuses_is_refused() {
    let world = world().await;
    let user = json!({"role": "user", "content": [{"text": "a"}]});
    let assistant = json!({"role": "assistant", "content": [{"text": "b"}]});
    for (body, word) in [
        (json!({"messages": []}), "missing"),
        (json!({"messages": [user, user]}), "alternate"),
        (json!({"messages": [assistant]}), "start with a user"),
        (asks(" "), "blank"),
        (
            json!({"messages": [{"role": "user", "content": [{"text": "a", "image": {}}]}]}),
            "exactly one",
        ),
        (
            json!({"messages": [user], "inferenceConfig": {"temperature": 1.5}}),
            "temperature",
        ),
        (
            json!({"messages": [user, assistant, {"role": "user", "content": [
                {"toolResult": {"toolUseId": "x", "content": []}}]}]}),
            "do not answer",
        ),
    ] {
        let (status, kind, message) = world.refused(&body).await;
        assert_eq!((status, kind.as_str()), (400, "ValidationException"));
        assert!(message.contains(word), "{message}");
    }
    world.hosts.set_fault(HOST, Fault::Status(429));
    let (status, kind, _) = world.refused(&asks("a")).await;
    assert_eq!((status, kind.as_str()), (429, "ThrottlingException"));
}

#[tokio::test]
async fn thinking_settings_and_schemas_are_understood() {
    let world = world().await;
    let mut body = asks("hm");
    body["additionalModelRequestFields"] = json!({"thinking": {"type": "disabled"}});
    body["outputConfig"] = json!({"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {
        "schema": r#"{"type":"object","properties":{"days":{"type":"integer"}},"required":["days"]}"#,
    }}}});
    let answer = world.plain(&body).await;
    let content = &answer["output"]["message"]["content"];
    assert_eq!(content[0]["text"], json!(r#"{"days":1}"#));
}

#[tokio::test]
async fn faults_strike_streams_as_bedrock_would_show_them() {
    let world = world().await;
    let struck = async |fault| {
        world.hosts.set_fault(HOST, fault);
        world.hear(&asks("hm\nanswer in 40 words")).await.1
    };
    let report = struck(Fault::ErrorInStream).await;
    assert!(
        report
            .error
            .is_some_and(|error| error.starts_with("modelStreamErrorException"))
    );
    assert!(struck(Fault::GarbageFrame).await.error.is_some());
    assert!(struck(Fault::UsageNegative).await.nonsense);
    let report = struck(Fault::NoUsage).await;
    assert!(report.complete() && report.usage.is_none());
    assert_eq!(struck(Fault::GaveUp).await.finish, Some(Finish::HostGaveUp));
    let report = struck(Fault::UsageTwice).await;
    assert_eq!(report.usage.map(|usage| usage.output().get()), Some(40));
}

#[tokio::test]
async fn a_repeated_prompt_is_read_from_the_cache() {
    let world = world().await;
    let words: String = (0..1_300).map(|word| format!("w{word} ")).collect();
    let body = asks(&words);
    world.plain(&body).await;
    let usage = world.plain(&body).await["usage"].clone();
    assert_eq!(usage["cacheReadInputTokens"], 1_024);
    let (_, report) = world.hear(&body).await;
    let heard = report.usage.expect("a usage");
    assert_eq!(heard.cache_hit.get(), 1_024);
    assert_eq!(json!(heard.cache_miss.get()), usage["inputTokens"]);
}

#[tokio::test]
async fn every_body_that_the_wire_writes_is_answered() {
    let world = world().await;
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/backend/wires/bedrock/goldens");
    let mut answered = 0;
    for file in std::fs::read_dir(folder).expect("the goldens").flatten() {
        if file.path().extension().is_some_and(|kind| kind == "json") {
            let text = std::fs::read_to_string(file.path()).expect("text");
            let body = serde_json::from_str(&text).expect("JSON");
            let answer = world.plain(&body).await;
            assert!(answer["stopReason"].is_string(), "{:?}", file.path());
            answered += 1;
        }
    }
    assert!(answered > 5);
}
