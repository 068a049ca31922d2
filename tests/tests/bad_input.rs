//! What nobody should send: each is told clearly what is wrong, in OpenAI's envelope with the right
//! status and code; no host hears of it and nothing is booked.

use std::fmt::Write;

use serde_json::{Value, json};
use tollgate_tests::{Caller, Gateway, MockHost, Setup, Upstream, exchange, question, streamed};

struct World {
    host: Upstream,
    gateway: Gateway,
    caller: Caller,
}

impl World {
    async fn new(setup: Setup) -> Self {
        let host = Upstream::start().await;
        let gateway = setup.host(MockHost::new("mockhost", &host)).start().await;
        let caller = gateway.caller().await;
        World {
            host,
            gateway,
            caller,
        }
    }

    async fn refused(&self, body: impl Into<String>, status: u16, code: &str) -> String {
        let body = body.into();
        let shown: String = body.chars().take(120).collect();
        let answer = self
            .caller
            .post("/v1/chat/completions", body)
            .await
            .expect("an answer");
        assert_eq!(answer.status, status, "{shown}: {}", answer.text);
        assert_eq!(answer.code(), code, "{shown}");
        answer.message()
    }

    /// A good request still gets its answer, and is all that the host and the ledger know of.
    async fn nothing_came_of_it(&self) {
        let answer = self.caller.ask(&question()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(self.host.count(), 1, "the host was touched");
        self.gateway.ledger().only().await;
    }
}

fn with(field: &str, value: Value) -> String {
    let mut request = question();
    request[field] = value;
    request.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_request_is_refused() {
    let world = World::new(Setup::default()).await;
    let invalid = "invalid_request";
    for body in [
        "",
        " ",
        "hello",
        "[]",
        "null",
        "42",
        "\"model\"",
        "{",
        "{}",
        "{\"model\":",
        "{\"model\":\"mock-model\",}",
    ] {
        world.refused(body, 400, invalid).await;
    }
    let whole = question().to_string();
    for end in [1, whole.len() / 2, whole.len() - 1] {
        world.refused(&whole[..end], 400, invalid).await;
    }
    world
        .refused(format!("{whole} {whole}"), 400, invalid)
        .await;
    world.refused(format!("{whole}x"), 400, invalid).await;
    world
        .refused(whole.replace("64", "NaN"), 400, invalid)
        .await;
    world.nothing_came_of_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_of_the_wrong_kind_is_named() {
    let world = World::new(Setup::default()).await;
    for (field, value) in [
        ("model", json!(5)),
        ("model", json!(null)),
        ("model", json!("")),
        ("model", json!(["mock-model"])),
        ("messages", json!("hello")),
        ("messages", json!({})),
        ("messages", json!([])),
        ("messages", json!(null)),
        ("stream", json!("yes")),
        ("stream_options", json!(true)),
        ("max_tokens", json!("many")),
        ("tools", json!({})),
        ("temperature", json!("hot")),
        ("n", json!(1.5)),
    ] {
        let message = world
            .refused(with(field, value.clone()), 400, "invalid_request")
            .await;
        assert!(message.contains(field), "{field}: {value}: {message}");
    }
    world.nothing_came_of_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn absurd_numbers_are_refused_or_bounded_never_wrapped() {
    let world = World::new(Setup::default()).await;
    for (field, number) in [
        ("max_tokens", "9223372036854775808"),
        ("max_tokens", "18446744073709551616"),
        ("max_tokens", "-1"),
        ("max_tokens", "0"),
        ("max_tokens", "1e308"),
        ("max_tokens", "1e999"),
        ("max_tokens", "0.5"),
        ("max_completion_tokens", "9223372036854775807"),
        ("n", "1000"),
        ("n", "-1"),
        ("n", "0"),
        ("n", "340282366920938463463374607431768211456"),
    ] {
        let body = question().to_string().replace("\"max_tokens\":64,", "");
        let body = body.replacen('{', &format!("{{\"{field}\":{number},"), 1);
        let message = world.refused(body, 400, "invalid_request").await;
        assert!(message.contains(field), "{field}: {number}: {message}");
    }
    world.nothing_came_of_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_given_twice_is_refused_however_it_is_spelt() {
    let world = World::new(Setup::default()).await;
    let request = question().to_string();
    for twice in [
        r#""model":"another","#,
        r#""mod\u0065l":"another","#,
        r#""\u006dodel":"mock-model","#,
    ] {
        let body = request.replacen('{', &format!("{{{twice}"), 1);
        let message = world.refused(body, 400, "invalid_request").await;
        assert!(
            message.contains("model") && message.contains("twice"),
            "{message}"
        );
    }
    world.nothing_came_of_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_escaped_name_means_the_same_as_a_plain_one() {
    let world = World::new(Setup::default()).await;
    let body = question()
        .to_string()
        .replacen("\"model\"", "\"m\\u006fdel\"", 1);
    let answer = world
        .caller
        .post("/v1/chat/completions", body)
        .await
        .expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(world.host.only().json()["model"], "mock-model");
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_and_wide_bodies_harm_nobody() {
    let world = World::new(Setup::default()).await;
    for depth in [1_000, 100_000, 1_000_000] {
        let bomb = "[".repeat(depth) + &"]".repeat(depth);
        let body = question()
            .to_string()
            .replacen('{', &format!("{{\"x\":{bomb},"), 1);
        world.refused(body, 400, "invalid_request").await;
    }
    world
        .refused("[".repeat(1_000_000), 400, "invalid_request")
        .await;
    world
        .refused("{\"a\":".repeat(200_000), 400, "invalid_request")
        .await;

    let mut wide = String::from("{");
    for index in 0..1_000_000 {
        write!(wide, "\"k{index}\":0,").expect("a string");
    }
    world
        .refused(wide + &question().to_string()[1..], 400, "invalid_request")
        .await;
    world.nothing_came_of_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_nobody_sells_is_told_with_those_that_are() {
    let world = World::new(Setup::default()).await;
    let message = world
        .refused(with("model", json!("gpt-7")), 400, "invalid_request")
        .await;
    assert!(
        message.contains("gpt-7") && message.contains("mock-model"),
        "{message}"
    );
    let huge = world
        .refused(
            with("model", json!("m".repeat(100_000))),
            400,
            "invalid_request",
        )
        .await;
    assert!(
        huge.len() < 2_000,
        "the answer repeats what was sent: {} bytes",
        huge.len()
    );
    for odd in [
        "../../etc/passwd",
        "mock-model\r\nx: y",
        "mock-model\u{0}",
        "mock-model#",
        "mock-model@evil.example",
    ] {
        world
            .refused(with("model", json!(odd)), 400, "invalid_request")
            .await;
    }
    world.nothing_came_of_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_has_ended_is_refused_with_its_successor() {
    let world = World::new(Setup::default().clock("2026-11-24T02:00:00Z")).await;
    let message = world
        .refused(with("model", json!("mock-retired")), 400, "invalid_request")
        .await;
    assert!(
        message.contains("mock-retired") && message.contains("mock-model"),
        "{message}"
    );
    assert!(message.contains("2026-07-24"), "{message}");
    world.nothing_came_of_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_the_limit_is_refused_before_it_is_sent() {
    let world = World::new(Setup::default().limit("body_bytes", "100000")).await;
    let address = world.gateway.address();

    // The head alone is enough: not a byte of the body is waited for.
    let bytes = world.caller.bytes(&question());
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let (head, _) = head.split_once("\r\n\r\n").expect("a head");
    let announced = head.replace(
        &format!("content-length: {}", question().to_string().len()),
        "content-length: 999999999999",
    );
    let answer = exchange(address, format!("{announced}\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("\"too_large\""), "{answer}");

    // Without a length, it ends as soon as too much has come.
    let chunked = head
        .lines()
        .filter(|line| !line.starts_with("content-length"))
        .collect::<Vec<_>>()
        .join("\r\n");
    let mut bytes = format!("{chunked}\r\ntransfer-encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..50 {
        bytes.extend_from_slice(format!("2710\r\n{}\r\n", " ".repeat(10_000)).as_bytes());
    }
    let answer = exchange(address, &bytes).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("\"too_large\""), "{answer}");
    world.nothing_came_of_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_none_is_refused_alike_whatever_it_holds() {
    let world = World::new(Setup::default()).await;
    let address = world.gateway.address();
    let body = question().to_string();
    let send = |authorization: String| {
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: tollgate\r\n{authorization}content-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        async move { exchange(address, request.as_bytes()).await }
    };
    let mut said = Vec::new();
    for authorization in [
        String::new(),
        "authorization:\r\n".to_owned(),
        "authorization: Bearer\r\n".to_owned(),
        "authorization: Bearer \r\n".to_owned(),
        "authorization: Bearer sk-nothing\r\n".to_owned(),
        "authorization: Bearer ' OR 1=1--\r\n".to_owned(),
        "authorization: Basic dXNlcjpwYXNz\r\n".to_owned(),
        "authorization: Bearer tg_\u{e9}\u{e9}\r\n".to_owned(),
    ] {
        let answer = send(authorization.clone()).await;
        assert!(
            answer.starts_with("HTTP/1.1 401 "),
            "{authorization}: {answer}"
        );
        assert!(
            answer.contains("\"invalid_key\""),
            "{authorization}: {answer}"
        );
        said.push(answer.split_once("\r\n\r\n").expect("a body").1.to_owned());
    }
    said.dedup();
    assert!(
        said.len() <= 2,
        "a stranger learns how near a key was: {said:?}"
    );

    // Headers that no server should take: refused by whichever rule comes first.
    for authorization in [
        format!("authorization: Bearer {}\r\n", "k".repeat(65_536)),
        "authorization: Bearer tg_\0\r\n".to_owned(),
    ] {
        let answer = send(authorization).await;
        let status = answer.get(9..12).unwrap_or_default().to_owned();
        assert!(["400", "401", "431"].contains(&status.as_str()), "{answer}");
    }
    world.nothing_came_of_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_keys_in_one_request_are_refused_and_the_scheme_may_be_lower_case() {
    let world = World::new(Setup::default()).await;
    let address = world.gateway.address();
    let good = String::from_utf8(world.caller.bytes(&question())).expect("text");

    let lower = good.replace("authorization: Bearer", "authorization: bearer");
    let answer = exchange(address, lower.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let before = world.host.count();

    for second in ["authorization: Bearer sk-other", "x-api-key: sk-other"] {
        let twice = good.replacen("content-type:", &format!("{second}\r\ncontent-type:"), 1);
        let answer = exchange(address, twice.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 401 "),
            "{second}: {answer}"
        );
    }
    assert_eq!(world.host.count(), before, "two keys, and a host was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_a_key_no_more() {
    let world = World::new(Setup::default()).await;
    let key = world.gateway.key(&["--team", "gone"]).await;
    let caller = Caller::new(world.gateway.address(), &key.secret);
    assert_eq!(caller.ask(&question()).await.status, 200);
    let revoked = world.gateway.run(&["key", "revoke", &key.id]).await;
    assert!(
        revoked.status.success(),
        "{}",
        String::from_utf8_lossy(&revoked.stderr)
    );
    tollgate_tests::until("the running gateway refuses the key", || async {
        (caller.ask(&question()).await.status == 401).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roads_that_lead_nowhere_say_so() {
    let world = World::new(Setup::default()).await;
    let address = world.gateway.address();
    let good = String::from_utf8(world.caller.bytes(&question())).expect("text");
    for (path, status) in [
        ("/v1/chat/completion", "404"),
        ("/nowhere", "404"),
        ("/v1/chat/completions/..%2f..%2fadmin", "404"),
        ("//v1/chat/completions", "404"),
    ] {
        let answer = exchange(
            address,
            good.replacen("/v1/chat/completions", path, 1).as_bytes(),
        )
        .await;
        assert_eq!(answer.get(9..12), Some(status), "{path}: {answer}");
        assert!(answer.contains("\"not_found\""), "{path}: {answer}");
    }
    let get = good.replacen("POST", "GET", 1);
    let answer = exchange(address, get.as_bytes()).await;
    assert_eq!(answer.get(9..12), Some("405"), "{answer}");
    assert!(
        answer.to_ascii_lowercase().contains("\r\nallow: post"),
        "{answer}"
    );
    assert!(answer.contains("\"error\""), "{answer}");
    world.nothing_came_of_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_content_type_is_no_reason_to_guess() {
    let world = World::new(Setup::default()).await;
    let good = String::from_utf8(world.caller.bytes(&question())).expect("text");
    for kind in [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/html",
    ] {
        let request = good.replacen("application/json", kind, 1);
        let answer = exchange(world.gateway.address(), request.as_bytes()).await;
        assert!(
            ["400", "415"].contains(&answer.get(9..12).unwrap_or_default()),
            "{kind}: {answer}"
        );
        assert!(answer.contains("\"invalid_request\""), "{kind}: {answer}");
    }
    let packed = good.replacen(
        "content-type:",
        "content-encoding: gzip\r\ncontent-type:",
        1,
    );
    let answer = exchange(world.gateway.address(), packed.as_bytes()).await;
    assert!(
        ["400", "415"].contains(&answer.get(9..12).unwrap_or_default()),
        "{answer}"
    );
    world.nothing_came_of_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_smuggle_are_refused_and_the_connection_closed() {
    let world = World::new(Setup::default()).await;
    let good = String::from_utf8(world.caller.bytes(&question())).expect("text");
    let length = format!("content-length: {}", question().to_string().len());
    for smuggled in [
        good.replacen(&length, &format!("{length}\r\ncontent-length: 3"), 1),
        good.replacen(
            &length,
            &format!("{length}\r\ntransfer-encoding: chunked"),
            1,
        ),
        good.replacen(&length, "content-length: -1", 1),
        good.replacen("content-type:", "x-folded: a\r\n b\r\ncontent-type:", 1),
        good.replacen("host:", "host : x\r\nhost:", 1),
        "GARBAGE\r\n\r\n".to_owned(),
    ] {
        let answer = exchange(world.gateway.address(), smuggled.as_bytes()).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{smuggled}\n{answer}"
        );
    }
    world.nothing_came_of_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_tollgate_headers_are_refused_not_ignored() {
    let world = World::new(Setup::default()).await;
    for (name, value) in [
        ("x-tollgate-max-cost", "cheap"),
        ("x-tollgate-max-cost", "-1"),
        ("x-tollgate-max-cost", "1e3"),
        ("x-tollgate-tags", "no such tag!"),
    ] {
        let answer = world
            .caller
            .clone()
            .with(name, value)
            .ask(&question())
            .await;
        assert!(
            matches!(answer.status, 400 | 403),
            "{name}: {value}: {} {}",
            answer.status,
            answer.text
        );
        answer.code();
    }
    world.nothing_came_of_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_never_sees_the_callers_key_nor_its_headers() {
    let world = World::new(Setup::default()).await;
    let caller = world
        .caller
        .clone()
        .with("x-forwarded-for", "10.0.0.1")
        .with("cookie", "a=b")
        .with("x-amz-security-token", "t");
    assert_eq!(caller.ask(&streamed()).await.status, 200);
    let seen = world.host.only();
    assert_eq!(
        seen.header("authorization"),
        Some("Bearer sk-host-mockhost")
    );
    for name in [
        "x-forwarded-for",
        "cookie",
        "x-amz-security-token",
        "x-tollgate-tags",
        "x-api-key",
    ] {
        assert_eq!(seen.header(name), None, "{name} reached the host");
    }
}
