//! Every dialect in front of every kind of host: thinking that clients drop is put back, tenants
//! are kept apart, nothing of a caller's reaches a host that is not the host's business, and errors
//! read as the dialect's own.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tollgate_tests::upstream::{Script, text_of};
use tollgate_tests::{
    Caller, Gateway, MockHost, Said, Setup, Surface, Upstream, postgres::Database,
};

const PRO: &str = "deepseek-v4-pro";

fn words(range: std::ops::Range<usize>) -> String {
    range.map(text_of).collect()
}

/// The shipped catalog's DeepSeek, at a host that is as strict as DeepSeek.
async fn deepseek(host: &Upstream) -> Gateway {
    Setup::default()
        .clock("2026-11-24T02:00:00Z")
        .shipped("deepseek", &host.base_url())
        .start()
        .await
}

async fn caller_of(gateway: &Gateway, organisation: &str, team: &str) -> Caller {
    let key = gateway
        .key(&["--organisation", organisation, "--team", team])
        .await;
    Caller::new(gateway.address(), &key.secret)
}

/// It thinks, and calls a tool under an id and with arguments of its own.
fn calling(name: &str) -> Script {
    let arguments = json!({"name": name}).to_string();
    Script {
        demands_thinking: true,
        ..Script::calling(&format!("call_{name}"), "look_up", &arguments)
    }
}

fn asked_with_tools(surface: Surface, streams: bool) -> Value {
    let mut question = surface.with_tools(surface.question_to(PRO));
    question["stream"] = json!(streams);
    question
}

async fn ask(caller: &Caller, surface: Surface, question: &Value) -> Said {
    surface.read(&caller.ask_at(surface.path(), question).await)
}

/// What the host was last told that it had thought, before each call.
fn thinking_brought_back(host: &Upstream) -> Vec<Value> {
    let last = host.received().pop().expect("a request").json();
    let turns = last["messages"].as_array().expect("turns").clone();
    let called = turns
        .into_iter()
        .filter(|turn| turn["tool_calls"].is_array());
    called
        .map(|turn| turn["reasoning_content"].clone())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_drops_what_the_model_thought_completes_its_loop_of_tools() {
    let host = Upstream::start().await;
    let gateway = deepseek(&host).await;
    let caller = gateway.caller().await;
    for surface in Surface::CONVERSATIONS {
        for streams in [false, true] {
            let name = format!("{surface:?}_{streams}");
            host.behave(calling(&name));
            let question = asked_with_tools(surface, streams);
            let called = ask(&caller, surface, &question).await;
            assert_eq!(called.thinking, words(0..4), "{name}");
            let [call] = called.calls.as_slice() else {
                panic!("{name}: {called:?}");
            };
            assert_eq!(call.id, format!("call_{name}"));
            assert_eq!(
                serde_json::from_str::<Value>(&call.arguments).ok(),
                Some(json!({"name": name}))
            );

            let next = surface.followed(&question, &called, "three hosts");
            host.behave(Script {
                demands_thinking: true,
                ..Script::default()
            });
            let said = ask(&caller, surface, &next).await;
            assert_eq!(
                (said.text, said.finish.as_str()),
                (words(4..12), surface.done())
            );
            assert_eq!(thinking_brought_back(&host), [words(0..4)], "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_goes_on_by_another_dialect_and_another_key_of_the_organisation() {
    let host = Upstream::start().await;
    let gateway = deepseek(&host).await;
    let caller = gateway.caller().await;
    let colleague = caller_of(&gateway, "default", "research").await;
    for first in Surface::CONVERSATIONS {
        for second in Surface::CONVERSATIONS {
            let name = format!("{first:?}_{second:?}");
            host.behave(calling(&name));
            let called = ask(&caller, first, &asked_with_tools(first, true)).await;
            let question = asked_with_tools(second, false);
            let next = second.followed(&question, &called, "three hosts");
            let said = ask(&colleague, second, &next).await;
            assert_eq!(said.text, "", "{name}");
            assert_eq!(said.finish, second.done(), "{name}");
            assert_eq!(thinking_brought_back(&host), [words(0..4)], "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_organisation_gets_nothing_of_what_was_thought() {
    let host = Upstream::start().await;
    let gateway = deepseek(&host).await;
    let caller = gateway.caller().await;
    let stranger = caller_of(&gateway, "elsewhere", "search").await;
    for surface in Surface::CONVERSATIONS {
        host.behave(calling(&format!("{surface:?}")));
        let question = asked_with_tools(surface, false);
        let called = ask(&caller, surface, &question).await;
        let next = surface.followed(&question, &called, "three hosts");
        ask(&stranger, surface, &next).await;
        // A blank passes the host's check where nobody knows.
        assert_eq!(thinking_brought_back(&host), [" "], "{surface:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_brings_back_itself_stays_as_it_is() {
    let host = Upstream::start().await;
    let gateway = deepseek(&host).await;
    let caller = gateway.caller().await;
    host.behave(calling("own"));
    let question = asked_with_tools(Surface::Chat, false);
    let called = ask(&caller, Surface::Chat, &question).await;
    let mut next = Surface::Chat.followed(&question, &called, "three hosts");
    next["messages"][1]["reasoning_content"] = json!("I thought otherwise.");
    ask(&caller, Surface::Chat, &next).await;
    assert_eq!(thinking_brought_back(&host), ["I thought otherwise."]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_host_thought_is_brought_to_the_next_in_its_own_words() {
    for surface in Surface::CONVERSATIONS {
        for streams in [false, true] {
            let (cheap, strict) = (Upstream::start().await, Upstream::start().await);
            cheap.behave_once(Script {
                thinking_as: "reasoning",
                ..calling("there")
            });
            cheap.behave(Script::status(503, "overloaded"));
            strict.behave(calling("here"));
            let gateway = Setup::default()
                .host(MockHost::new("cheap", &cheap).quirk("reasoning_field", "\"reasoning\""))
                .host(
                    MockHost::new("strict", &strict)
                        .quirk("history_reasoning", "\"required_with_tools\"")
                        .dearer(20),
                )
                .start()
                .await;
            let caller = gateway.caller().await;
            let mut question = surface.with_tools(surface.question());
            question["stream"] = json!(streams);
            let called = ask(&caller, surface, &question).await;
            let next = surface.followed(&question, &called, "three hosts");
            ask(&caller, surface, &next).await;
            assert_eq!((cheap.count(), strict.count()), (2, 1));
            assert_eq!(thinking_brought_back(&strict), [words(0..4)], "{surface:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thinking_has_the_callers_name_whatever_the_hosts_is() {
    let host = Upstream::start_with(Script {
        thinking_as: "reasoning",
        ..Script::default()
    })
    .await;
    let gateway = Setup::default()
        .host(MockHost::new("mockhost", &host).quirk("reasoning_field", "\"reasoning\""))
        .start()
        .await;
    let caller = gateway.caller().await;
    for surface in Surface::CONVERSATIONS {
        for question in [surface.question(), surface.streamed()] {
            let said = ask(&caller, surface, &question).await;
            assert_eq!((said.thinking, said.text), (words(0..4), words(4..12)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_caller_shows_reaches_the_host_beside_what_it_asks() {
    const OURS: [&str; 7] = [
        "host",
        "authorization",
        "content-type",
        "content-length",
        "accept",
        "user-agent",
        "x-request-id",
    ];
    let host = Upstream::start().await;
    let gateway = Setup::default()
        .host(
            MockHost::new("mockhost", &host)
                .completing()
                .certified("eu"),
        )
        .start()
        .await;
    let key = gateway.key(&["--team", "search"]).await;
    let by_bearer = Caller::new(gateway.address(), &key.secret);
    for surface in Surface::ALL {
        for caller in [by_bearer.clone(), by_bearer.clone().by_x_api_key()] {
            let caller = caller
                .with("cookie", "session=secret-of-the-caller")
                .with("proxy-authorization", "Basic secret-of-the-caller")
                .with("x-tollgate-tags", "eu")
                .with("x-tollgate-max-cost", "1.00")
                .with("x-tollgate-session", "secret-of-the-caller")
                .with("openai-organization", "secret-of-the-caller")
                .with("anthropic-version", "2023-06-01")
                .with("anthropic-beta", "interleaved-thinking-2025-05-14")
                .with("x-forwarded-for", "192.0.2.7");
            for question in [surface.question(), surface.streamed()] {
                let before = host.count();
                let name = format!("request-{before}");
                let caller = caller.clone().with("idempotency-key", &name);
                let answer = caller.ask_at(surface.path(), &question).await;
                assert_eq!(answer.status, 200, "{}", answer.text);
                assert_eq!(host.count(), before + 1);
                let received = host.received().pop().expect("a request");
                let names: BTreeSet<&str> = received
                    .headers
                    .iter()
                    .map(|(name, _)| name.as_str())
                    .collect();
                let foreign: Vec<&&str> =
                    names.iter().filter(|name| !OURS.contains(name)).collect();
                assert!(foreign.is_empty(), "{foreign:?}");
                assert_eq!(
                    received.header("authorization"),
                    Some("Bearer sk-host-mockhost")
                );
                let body = String::from_utf8_lossy(&received.body);
                let shown = format!("{:?} {body}", received.headers);
                assert!(
                    !shown.contains(&key.secret) && !shown.contains("secret-of-the-caller"),
                    "{shown}"
                );
                assert!(!shown.contains("tollgate-"), "{shown}");
            }
        }
    }
    assert!(!gateway.log().contains(&key.secret));
}

/// The tenant that the host was last told, which must be a name without meaning.
fn tenant(host: &Upstream) -> String {
    let body = host.received().pop().expect("a request").json();
    let tenant = body["user_id"].as_str().expect("a tenant").to_owned();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    assert!(tenant.len() >= 16 && tenant.bytes().all(fits), "{tenant}");
    assert!(!body.to_string().contains("of-the-caller"), "{body}");
    tenant
}

#[tokio::test(flavor = "multi_thread")]
async fn deepseek_is_told_the_organisation_by_a_name_of_ours_and_never_a_callers_own() {
    let host = Upstream::start().await;
    let mut gateway = deepseek(&host).await;
    let caller = gateway.caller().await;
    let colleague = caller_of(&gateway, "default", "research").await;
    let stranger = caller_of(&gateway, "elsewhere", "search").await;
    let mut of = BTreeSet::new();
    for surface in Surface::ALL {
        let mut question = surface.question_to(PRO);
        let own = match surface {
            Surface::Messages => ("metadata", json!({"user_id": "user-of-the-caller"})),
            _ => ("user_id", json!("user-of-the-caller")),
        };
        question[own.0] = own.1;
        for question in [surface.question_to(PRO), question] {
            ask(&caller, surface, &question).await;
            of.insert(tenant(&host));
            ask(&colleague, surface, &question).await;
            of.insert(tenant(&host));
        }
        ask(&stranger, surface, &surface.question_to(PRO)).await;
        assert!(!of.contains(&tenant(&host)), "two organisations are one");
    }
    assert_eq!(of.len(), 1, "one organisation is several: {of:?}");

    gateway.stop().await;
    gateway.restart().await;
    let caller = caller.at(gateway.address());
    ask(&caller, Surface::Chat, &Surface::Chat.question_to(PRO)).await;
    assert!(of.contains(&tenant(&host)), "another name after a restart");
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_always_asked_for_and_told_to_those_who_want_it() {
    let host = Upstream::start().await;
    let gateway = Setup::default()
        .host(MockHost::new("mockhost", &host).completing())
        .start()
        .await;
    let caller = gateway.caller().await;
    for surface in Surface::ALL {
        let mut wanted = surface.streamed();
        wanted["stream_options"] = json!({"include_usage": true});
        for question in [surface.question(), surface.streamed(), wanted] {
            let said = ask(&caller, surface, &question).await;
            let received = host.received().pop().expect("a request");
            let (asked, bill) = (received.json(), received.bill.expect("it answered"));
            let streams = question["stream"] == true;
            let tells_unasked = matches!(surface, Surface::Messages | Surface::Responses);
            let hidden = streams && !tells_unasked && question["stream_options"].is_null();
            let all = (
                bill.cache_miss + bill.cache_hit,
                bill.reasoning + bill.visible,
            );
            assert_eq!(said.usage, (!hidden).then_some(all), "{question}");
            if streams {
                assert_eq!(asked["stream_options"]["include_usage"], true, "{asked}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_error_reads_as_the_dialects_own() {
    let host = Upstream::start().await;
    let gateway = Setup::default()
        .host(MockHost::new("mockhost", &host).completing())
        .start()
        .await;
    let caller = gateway.caller().await;
    let nobody = Caller::new(gateway.address(), "tg_nobody");
    let poor = gateway
        .key(&["--team", "poor", "--budget", "0.000001/total"])
        .await;
    let poor = Caller::new(gateway.address(), &poor.secret);
    let demanding = caller.clone().with("x-tollgate-tags", "soc2");
    let words = "messages.1.content.0: Invalid `signature` in `thinking` block \u{2014} \"x\" \\ y";
    let refusal = json!({"error": {"message": words, "type": "invalid_request_error"}});

    for surface in Surface::ALL {
        let good = surface.streamed();
        let mut unknown = good.clone();
        unknown["model"] = json!("no-such-model");
        let mut wrong = good.clone();
        wrong["temperature"] = json!("hot");
        for (what, caller, question, status, code, messages_kind) in [
            (
                "a wrong key",
                &nobody,
                &good,
                401,
                "invalid_key",
                "authentication_error",
            ),
            (
                "no budget",
                &poor,
                &good,
                402,
                "budget_exceeded",
                "billing_error",
            ),
            (
                "nobody certified",
                &demanding,
                &good,
                403,
                "no_certified_backend",
                "permission_error",
            ),
            (
                "a wrong model",
                &caller,
                &unknown,
                400,
                "invalid_request",
                "invalid_request_error",
            ),
            (
                "a wrong field",
                &caller,
                &wrong,
                400,
                "invalid_request",
                "invalid_request_error",
            ),
        ] {
            let answer = caller.ask_at(surface.path(), question).await;
            let refused = surface.refused(&answer);
            let shown = format!("{surface:?}, {what}: {}", answer.text);
            assert_eq!(
                (answer.status, refused.code.as_str()),
                (status, code),
                "{shown}"
            );
            if surface == Surface::Messages {
                assert_eq!(refused.kind, messages_kind, "{shown}");
            }
            assert!(refused.message.len() > 20, "{shown}");
            if status == 403 {
                let backends = &answer.json()["error"]["backends"];
                assert!(
                    backends[0]["reason"]
                        .as_str()
                        .is_some_and(|why| why.contains("soc2")),
                    "{shown}"
                );
            }
            assert!(answer.header("x-tollgate-request-id").is_some(), "{shown}");
        }
        assert_eq!(host.count(), 0, "{surface:?}");
    }
    for surface in Surface::ALL {
        host.behave(Script::status(400, refusal.to_string()));
        let answer = caller.ask_at(surface.path(), &surface.streamed()).await;
        let refused = surface.refused(&answer);
        assert_eq!(
            (answer.status, refused.code.as_str()),
            (400, "invalid_request")
        );
        assert!(
            refused.message.contains(words),
            "{surface:?}: {}",
            answer.text
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_counted_without_asking_a_host_and_booked_as_nothing() {
    let host = Upstream::start().await;
    let gateway = Setup::default()
        .host(MockHost::new("mockhost", &host))
        .start()
        .await;
    let caller = gateway.caller().await;
    let path = "/v1/messages/count_tokens";
    let mut question = Surface::Messages.with_tools(Surface::Messages.question());
    question
        .as_object_mut()
        .expect("an object")
        .remove("max_tokens");
    let mut counts = Vec::new();
    for times in [1, 10, 100] {
        question["messages"][0]["content"] = json!("Which hosts sell this model? ".repeat(times));
        let answer = caller.ask_at(path, &question).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        counts.push(answer.json()["input_tokens"].as_u64().expect("a count"));
    }
    // Six words and a mark, a hundred times.
    assert!(
        counts.is_sorted() && (500..1_500).contains(&(counts[2] - counts[0])),
        "{counts:?}"
    );
    let nobody = Caller::new(gateway.address(), "tg_nobody");
    let answer = nobody.ask_at(path, &question).await;
    assert_eq!(answer.status, 401, "{}", answer.text);
    assert_eq!(
        Surface::Messages.refused(&answer).kind,
        "authentication_error"
    );
    assert_eq!(
        (host.count(), gateway.ledger().rows().await),
        (0, Vec::new())
    );
}

/// The turns that the host was last given: who spoke, and what was said.
fn turns(host: &Upstream) -> Vec<(String, String)> {
    let body = host.received().pop().expect("a request").json();
    let turns = body["messages"].as_array().expect("turns").clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    turns
        .iter()
        .map(|turn| (text(&turn["role"]), text(&turn["content"])))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_response_is_followed_and_given_back_after_a_restart() {
    let surface = Surface::Responses;
    for streams in [false, true] {
        for postgres in [false, true] {
            let host = Upstream::start().await;
            let mut setup = Setup::default().host(MockHost::new("mockhost", &host));
            if postgres {
                setup = setup.postgres(&Database::create().await);
            }
            let mut gateway = setup.start().await;
            let caller = gateway.caller().await;
            let stranger = caller_of(&gateway, "elsewhere", "search").await;
            let mut first = surface.question();
            first["instructions"] = json!("Be brief.");
            first["stream"] = json!(streams);
            let answered = ask(&caller, surface, &first).await;
            gateway.stop().await;
            gateway.restart().await;
            let caller = caller.at(gateway.address());
            let stranger = stranger.at(gateway.address());

            let path = format!("/v1/responses/{}", answered.id);
            let kept = surface.read(&caller.get(&path).await);
            assert_eq!(kept, answered);
            let items = caller.get(&format!("{path}/input_items")).await;
            assert_eq!(items.status, 200, "{}", items.text);
            let items = items.json();
            assert_eq!(items["data"].as_array().map(Vec::len), Some(1), "{items}");
            assert_eq!(
                items["data"][0]["content"][0]["text"], first["input"],
                "{items}"
            );

            let follow = json!({
                "model": first["model"], "input": "And at night?", "stream": streams,
                "previous_response_id": answered.id,
            });
            for path in [path.clone(), format!("{path}/input_items")] {
                assert_eq!(stranger.get(&path).await.status, 404);
            }
            assert_eq!(stranger.delete(&path).await.status, 404);
            let stolen = stranger.ask_at(surface.path(), &follow).await;
            assert_eq!(stolen.status, 400, "{}", stolen.text);
            assert_eq!(stolen.json()["error"]["param"], "previous_response_id");

            let said = ask(&caller, surface, &follow).await;
            assert_ne!(said.id, answered.id);
            let question = first["input"].as_str().expect("a text").to_owned();
            let expected = [
                ("user", question.as_str()),
                ("assistant", &words(4..12)),
                ("user", "And at night?"),
            ];
            let expected = expected.map(|(role, text)| (role.to_owned(), text.to_owned()));
            assert_eq!(turns(&host), expected);

            let deleted = caller.delete(&path).await;
            assert_eq!(
                (deleted.status, &deleted.json()["deleted"]),
                (200, &json!(true))
            );
            assert_eq!(caller.get(&path).await.status, 404);
            assert_eq!(caller.delete(&path).await.status, 404);
            let gone = caller.ask_at(surface.path(), &follow).await;
            assert_eq!(surface.refused(&gone).code, "invalid_request");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_is_not_to_be_stored_is_not_there() {
    let surface = Surface::Responses;
    let host = Upstream::start().await;
    let gateway = Setup::default()
        .host(MockHost::new("mockhost", &host))
        .start()
        .await;
    let caller = gateway.caller().await;
    for mut question in [surface.question(), surface.streamed()] {
        question["store"] = json!(false);
        let said = ask(&caller, surface, &question).await;
        let kept = caller.get(&format!("/v1/responses/{}", said.id)).await;
        assert_eq!(kept.status, 404, "{}", kept.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thinking_sealed_for_its_caller_comes_back_and_opens_for_nobody_else() {
    let host = Upstream::start().await;
    let gateway = Setup::default()
        .host(
            MockHost::new("mockhost", &host)
                .quirk("history_reasoning", "\"required_with_tools\"")
                .quirk("missing_reasoning", "\"space\""),
        )
        .start()
        .await;
    let caller = gateway.caller().await;
    let stranger = caller_of(&gateway, "elsewhere", "search").await;
    let surface = Surface::Responses;
    host.behave(calling("sealed"));
    let mut question = surface.with_tools(surface.question());
    question["store"] = json!(false);
    question["include"] = json!(["reasoning.encrypted_content"]);
    let answer = caller.ask_at(surface.path(), &question).await;
    let said = surface.read(&answer);
    let output = answer.json()["output"].clone();
    let sealed = output[0]["encrypted_content"].as_str().expect("a seal");
    assert!(!sealed.contains("word0"), "{sealed}");

    // As Codex does: the reasoning item comes back with its seal alone.
    let item = json!({"type": "reasoning", "summary": [], "encrypted_content": sealed});
    let mut next = surface.followed(&question, &said, "three hosts");
    let input = next["input"].as_array_mut().expect("items");
    // Under another id the call is unknown here: only the seal can tell.
    for part in &mut input[1..] {
        part["call_id"] = json!("call_of_another_day");
        if part["type"] == "function_call" {
            part["arguments"] = json!("{\"name\":\"another\"}");
        }
    }
    input.insert(1, item);
    ask(&caller, surface, &next).await;
    assert_eq!(thinking_brought_back(&host), [words(0..4)]);
    ask(&stranger, surface, &next).await;
    assert_eq!(thinking_brought_back(&host), [" "]);
}
