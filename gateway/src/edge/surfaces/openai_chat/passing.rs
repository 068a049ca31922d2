//! A body that passes from this surface to a wire of the same dialect: what is edited on the way.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::backend::wires::{Asked, openai};
use crate::catalog::{Catalog, Quirks, SHIPPED, ThinkingControl};

fn request(body: &Value) -> Request {
    read(Frames::from(Bytes::from(body.to_string()))).expect("a request")
}

fn sent(body: &Value, quirks: &Quirks, bound: Option<u64>) -> Value {
    let text = passed(&request(body), quirks, bound).expect("the host can be asked");
    serde_json::from_str(&text).expect("still JSON")
}

fn passed(request: &Request, quirks: &Quirks, bound: Option<u64>) -> Result<String, String> {
    let asked = Asked {
        model: "host/model",
        quirks,
        stream: request.stream,
        bound: bound.map(Tokens::new),
        tenant: "tenant-1",
    };
    let outgoing = openai::passed(request, asked).map_err(|cannot| cannot.0)?;
    Ok(String::from_utf8(outgoing.body.joined()).expect("text"))
}

/// The quirks of each shipped host.
fn shipped() -> BTreeMap<String, Quirks> {
    static HOSTS: LazyLock<BTreeMap<String, Quirks>> = LazyLock::new(|| {
        let files = SHIPPED.map(|(file, text)| (file.to_owned(), text.to_owned()));
        let catalog = Catalog::from_files(files.into()).expect("the shipped catalog is right");
        catalog
            .hosts
            .values()
            .map(|host| (host.name.to_string(), host.quirks.clone()))
            .collect()
    });
    HOSTS.clone()
}

#[test]
fn only_what_routing_needs_is_edited() {
    let body =
        json!({"messages":[{"role":"user","content":"hi \" there"}],"model":"m","x":{"y":[1]}});
    let mut expected = body.clone();
    expected["model"] = json!("host/model");
    assert_eq!(sent(&body, &Quirks::default(), None), expected);
}

#[test]
fn a_stream_is_always_asked_for_its_usage() {
    let body = json!({"model":"m","messages":[{}],"stream":true});
    let asked = sent(&body, &Quirks::default(), None);
    assert_eq!(asked["stream_options"], json!({"include_usage":true}));
    let body =
        json!({"model":"m","messages":[{}],"stream":true,"stream_options":{"include_usage":false}});
    let asked = sent(&body, &Quirks::default(), None);
    assert_eq!(asked["stream_options"], json!({"include_usage":true}));
    let quirks = Quirks {
        no_stream_options: true,
        ..Quirks::default()
    };
    let asked = sent(
        &json!({"model":"m","messages":[{}],"stream":true}),
        &quirks,
        None,
    );
    assert_eq!(asked.get("stream_options"), None);
}

#[test]
fn a_bound_is_set_where_the_caller_gave_none_and_renamed_where_the_host_wants() {
    let body = json!({"model":"m","messages":[{}]});
    assert_eq!(sent(&body, &Quirks::default(), Some(9))["max_tokens"], 9);
    let quirks = Quirks {
        max_tokens_field: Some("max_completion_tokens".into()),
        ..Quirks::default()
    };
    let body = json!({"model":"m","messages":[{}],"max_tokens":7});
    let asked = sent(&body, &quirks, Some(9));
    assert_eq!(asked["max_completion_tokens"], 7);
    assert_eq!(asked["max_tokens"], Value::Null);
    assert_eq!(sent(&body, &Quirks::default(), Some(9))["max_tokens"], 7);
}

#[test]
fn a_bound_takes_the_place_of_one_that_is_null() {
    for given in ["max_tokens", "max_completion_tokens"] {
        let body = format!(r#"{{"model":"m","messages":[{{}}],"{given}":null}}"#);
        let request = read(Frames::from(Bytes::from(body))).expect("a request");
        let text = passed(&request, &Quirks::default(), Some(9)).expect("the host can be asked");
        assert_eq!(
            text,
            r#"{"max_tokens":9,"model":"host/model","messages":[{}]}"#
        );
    }
}

/// Bodies of callers, as they wrote them.
const BODIES: [(&str, &str); 10] = [
    (
        "Nothing but a question",
        r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#,
    ),
    (
        "A stream",
        r#"{ "stream": true, "model": "m", "messages": [{"role":"user","content":"hi"}] }"#,
    ),
    (
        "Thinking off, in DeepSeek's words",
        r#"{"model":"m","thinking":{"type":"disabled"},"messages":[{"role":"user","content":"hi"}]}"#,
    ),
    (
        "Thinking off, in OpenAI's words",
        r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"reasoning_effort":"none"}"#,
    ),
    (
        "Thinking as much as can be, said twice",
        r#"{"thinking":{"type":"enabled"}, "reasoning_effort":"max", "model":"m","messages":[{"role":"user","content":"hi"}]}"#,
    ),
    (
        "Thinking a little",
        r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"reasoning_effort":"low"}"#,
    ),
    (
        "Thinking on, among other arguments of the template",
        r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"chat_template_kwargs":{"thinking":true,"tone":"dry"},"x":1}"#,
    ),
    (
        "A tenant of the caller's own",
        r#"{"user_id":"me","model":"m","messages":[{"role":"user","content":"hi"}],"cache_salt":"me","prompt_cache_isolation_key":"me"}"#,
    ),
    (
        "A tool that must be called",
        r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"required"}"#,
    ),
    (
        "A tool's result, and thinking of an earlier turn",
        r#"{"model":"m","messages":[{"role":"developer","content":"brief"},{"role":"assistant","content":null,"reasoning_content":"hm","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":[{"type":"text","text":"12"}]}],"tools":[{"type":"function","function":{"name":"f"}}]}"#,
    ),
];

#[test]
fn every_host_gets_a_callers_body_in_its_own_words() {
    let mut text = String::from(
        "# What becomes of a body on its way to each host\n\n\
         A caller's chat body as it leaves for each host of the OpenAI-compatible wire, byte for byte,\n\
         by the quirks of `config/catalog/`. `written anew`: the messages themselves must change, so\n\
         the body is read completely and written as `hosts.md` shows. Written by the test that checks\n\
         it.\n",
    );
    for (title, body) in BODIES {
        write!(
            text,
            "\n## {title}\n\n```json\n{body}\n```\n\n| host | |\n| --- | --- |\n"
        )
        .expect("text");
        let request = read(Frames::from(Bytes::from_static(body.as_bytes()))).expect("a request");
        for (host, quirks) in shipped() {
            let line = if !openai::passes(&request, &quirks) {
                "written anew".to_owned()
            } else {
                match passed(&request, &quirks, None) {
                    Ok(body) => format!("`{body}`"),
                    Err(refusal) => format!("refused: {refusal}"),
                }
            };
            writeln!(text, "| {host} | {line} |").expect("text");
        }
    }
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/backend/wires/openai/golden/passing.md");
    if std::env::var_os("TOLLGATE_GOLDEN").is_some_and(|how| how == "write") {
        std::fs::write(&path, &text).expect("the golden file can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = text
        .lines()
        .zip(kept.lines())
        .find(|(now, kept)| now != kept);
    assert!(
        kept == text,
        "passing.md differs (TOLLGATE_GOLDEN=write writes it anew), first at {differs:?}"
    );
}

#[test]
fn a_body_passes_only_where_its_messages_can_stay() {
    let tools = r#""tools":[{"type":"function","function":{"name":"f"}}]"#;
    let body = |messages: &str, rest: &str| {
        let text = format!(r#"{{"model":"m","messages":[{messages}],{tools}{rest}}}"#);
        // In small frames: what is looked for may lie across a seam.
        let mut frames = Frames::default();
        for part in text.as_bytes().chunks(7) {
            frames.push(Bytes::copy_from_slice(part));
        }
        read(frames).expect("a request")
    };
    let hosts = shipped();
    let passes = |host: &str, messages: &str, rest: &str| {
        openai::passes(&body(messages, rest), &hosts[host])
    };
    let called = r#"{"role":"assistant","tool_calls":[{"id":"c"}]}"#;
    let thought = r#"{"role":"assistant","reasoning_content":"hm","tool_calls":[{"id":"c"}]}"#;
    let result = r#"{"role":"tool","tool_call_id":"c","content":"say \"tool\""}"#;
    let user = r#"{"role":"user","content":"a \"developer\" speaks of \"reasoning_content\""}"#;
    // What stands in a text is no field.
    for host in hosts.keys() {
        assert!(passes(host, user, ""), "{host}");
    }
    assert!(!passes("deepinfra", result, ""));
    assert!(!passes(
        "deepseek",
        r#"{"role":"developer","content":"x"}"#,
        ""
    ));
    assert!(!passes("azure", thought, "") && passes("azure", called, ""));
    // DeepSeek wants thinking of all turns that called a tool, unless it is not to think.
    assert!(passes("deepseek", thought, ""));
    assert!(!passes("deepseek", &format!("{thought},{called}"), ""));
    assert!(passes(
        "deepseek",
        called,
        r#","thinking":{"type":"disabled"}"#
    ));
    assert!(!passes(
        "deepseek",
        user,
        r#","response_format":{"type":"json_object"}"#
    ));
    // An answer to be gone on with is taken at another address.
    assert!(!passes(
        "deepseek",
        r#"{"role":"assistant","content":"So","prefix":true}"#,
        ""
    ));
    let json = r#"{"role":"user","content":"as JSON"}"#;
    assert!(passes(
        "deepseek",
        json,
        r#","response_format":{"type":"json_object"}"#
    ));
    assert!(!passes("nebius", user, r#","tool_choice":"required""#));
    assert!(!passes("together", user, r#","logprobs":true"#));
}

fn bodies() -> impl Strategy<Value = (String, Map<String, Value>)> {
    let members = vec![
        ("model", json!("m")),
        (
            "messages",
            json!([{"role":"user","content":"say \"thinking\": {no}"}]),
        ),
        ("thinking", json!({"type":"enabled"})),
        ("reasoning_effort", json!("high")),
        ("enable_thinking", json!(true)),
        ("reasoning", json!({"enabled":true})),
        ("chat_template_kwargs", json!({"thinking":true})),
        ("user_id", json!("me")),
        ("cache_salt", json!("me")),
        ("max_tokens", json!(5)),
        ("stream", json!(true)),
        ("other", json!([1, {"a":2}])),
    ];
    let all = members.len();
    (
        Just(members).prop_shuffle(),
        proptest::collection::vec(any::<bool>(), all),
        prop_oneof![Just(""), Just(" "), Just("\n  ")],
    )
        .prop_map(|(members, kept, blank)| {
            let kept: Vec<(String, Value)> = members
                .into_iter()
                .zip(kept)
                .filter(|((key, _), kept)| *kept || matches!(*key, "model" | "messages"))
                .map(|((key, value), _)| (key.to_owned(), value))
                .collect();
            let written: Vec<String> = kept
                .iter()
                .map(|(key, value)| format!("{blank}\"{key}\"{blank}:{blank}{value}{blank}"))
                .collect();
            (
                format!("{{{}}}", written.join(",")),
                kept.into_iter().collect(),
            )
        })
}

proptest! {
    #[test]
    fn whatever_is_taken_out_the_rest_stays_and_nothing_stands_twice(
        (text, members) in bodies(),
        every in 1_usize..40,
        chosen in any::<prop::sample::Index>(),
    ) {
        let mut hosts = shipped();
        let mut mine = hosts["deepseek"].clone();
        mine.thinking = ThinkingControl::None;
        mine.no_stream_options = true;
        mine.max_tokens_field = Some("max_completion_tokens".into());
        mine.refused_fields = vec!["other".into()];
        mine.fields = vec![("store".into(), "false".into())];
        hosts.insert("mine".to_owned(), mine);
        let quirks = hosts.values().nth(chosen.index(hosts.len())).expect("a host");
        let mut frames = Frames::default();
        for part in text.as_bytes().chunks(every) {
            frames.push(Bytes::copy_from_slice(part));
        }
        let request = read(frames).expect("a request");
        let sent = passed(&request, quirks, Some(9)).expect("it can be asked");
        let object = crate::chat::scan::object(&Frames::from(Bytes::from(sent.clone()))).expect("JSON");
        let sent: Map<String, Value> = serde_json::from_str(&sent).expect("an object");
        prop_assert_eq!(object.members.len(), sent.len(), "a member stands twice");
        for (key, value) in &members {
            match key.as_str() {
                "model" => prop_assert_eq!(&sent["model"], "host/model"),
                "thinking" | "reasoning_effort" | "enable_thinking" | "reasoning"
                | "chat_template_kwargs" => {}
                "user_id" | "cache_salt" if quirks.tenant_field.as_deref() == Some(key) => {
                    prop_assert_eq!(&sent[key], "tenant-1");
                }
                "max_tokens" if quirks.max_tokens_field.is_some() => {
                    prop_assert!(!sent.contains_key("max_tokens"));
                    prop_assert_eq!(&sent["max_completion_tokens"], 5);
                }
                "other" if !quirks.refused_fields.is_empty() => {
                    prop_assert!(!sent.contains_key("other"));
                }
                _ => prop_assert_eq!(sent.get(key), Some(value)),
            }
        }
        // Never two switches at a host that takes one.
        if quirks.thinking == ThinkingControl::ReasoningEffort {
            prop_assert!(!sent.contains_key("thinking") && !sent.contains_key("reasoning"));
        }
    }
}
