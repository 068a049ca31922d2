//! Hosts that misbehave in each way known to us: the caller gets a clear error or another host's
//! answer, and the ledger says what happened, how the tokens were counted and what they cost.

use std::time::{Duration, Instant};

use tollgate_tests::upstream::{Delivery, End, Framing, Reply, Script, Start, UsageStyle, text_of};
use tollgate_tests::{Caller, Gateway, MockHost, Rates, Row, Setup, Upstream, question, streamed};

struct World {
    host: Upstream,
    gateway: Gateway,
    caller: Caller,
}

impl World {
    async fn new() -> Self {
        let host = Upstream::start().await;
        let gateway = Setup::default()
            .limit("first_byte_timeout", "\"500ms\"")
            .limit("idle_timeout", "\"500ms\"")
            .limit("attempts", "1")
            .host(MockHost::new("mockhost", &host))
            .start()
            .await;
        let caller = gateway.caller().await;
        World {
            host,
            gateway,
            caller,
        }
    }

    /// The entry of the host's latest request.
    async fn entry(&self) -> Row {
        let attempt = self
            .host
            .received()
            .last()
            .expect("a request")
            .attempt
            .clone();
        let entries = self
            .gateway
            .ledger()
            .of(std::slice::from_ref(&attempt))
            .await;
        entries[&attempt].clone()
    }

    /// What the host charges for its latest request.
    fn bill(&self) -> i128 {
        let received = self.host.received();
        let bill = received.last().expect("a request").bill;
        bill.map_or(0, |bill| bill.cost(Rates::default()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_host_is_told_as_what_it_means_to_the_caller() {
    let error = |text: &str| {
        format!(r#"{{"error":{{"message":"{text}","type":"x","param":null,"code":null}}}}"#)
    };
    let invalid = (400, "invalid_request");
    let failed = (502, "host_failed");
    let busy = (503, "no_backend");
    for (status, body, told) in [
        // The request itself is at fault: told as the host told it.
        (
            400,
            error("This model's maximum context length is 131072 tokens"),
            invalid,
        ),
        (422, error("top_p is out of range"), invalid),
        // Our credential, our money, our model id: never the caller's 401, 402, 403 or 404.
        (401, error("bad key"), failed),
        (402, error("Insufficient Balance"), failed),
        (403, error("your account has no credits"), failed),
        (404, error("no such model"), failed),
        (500, error("oops"), failed),
        (500, "<html><h1>Bad gateway</h1></html>".to_owned(), failed),
        (502, String::new(), failed),
        (302, String::new(), failed),
        (503, error("overloaded"), busy),
    ] {
        for request in [question(), streamed()] {
            // A host that refuses is let alone for a while: each case gets a world of its own.
            let world = World::new().await;
            world.host.behave(Script::status(status, body.clone()));
            let answer = world.caller.ask(&request).await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                told,
                "{status} {body}: {}",
                answer.text
            );
            if told == invalid {
                let why = if status == 400 {
                    "maximum context"
                } else {
                    "top_p"
                };
                assert!(answer.message().contains(why), "{}", answer.text);
            }
            assert!(!answer.text.contains("sk-host"), "{}", answer.text);
            let entry = world.entry().await;
            let booked = (
                entry.outcome.as_str(),
                entry.counted_by.as_str(),
                entry.cost,
            );
            assert_eq!(booked, ("refused", "nothing", Some(0)), "{status}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_host_is_told_with_when_to_come_back_and_never_for_ever() {
    let absurd = [
        "7",
        "0",
        "99999999999999999999",
        "-5",
        "soon",
        "",
        "Fri, 31 Dec 2999 23:59:59 GMT",
    ];
    for retry_after in absurd {
        let world = World::new().await;
        world.host.behave_once(Script::come_back(429, retry_after));
        let begun = Instant::now();
        let answer = world.caller.ask(&question()).await;
        let told = (answer.status, answer.code());
        assert_eq!(
            told,
            (503, "no_backend".to_owned()),
            "{retry_after}: {}",
            answer.text
        );
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{retry_after}: the caller waited"
        );
        let wait = answer.header("retry-after").expect("when to come back");
        let wait: u64 = wait.parse().expect("whole seconds");
        assert!(wait <= 300, "{retry_after}: come back in {wait} s");
        assert_eq!(world.entry().await.outcome, "refused");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_none_is_a_failure_of_the_host() {
    let html = Reply::Body {
        content_type: "text/html",
        body: "<html>please log in</html>".to_owned(),
    };
    let empty = Reply::Body {
        content_type: "application/json",
        body: String::new(),
    };
    let other = Reply::Body {
        content_type: "application/json",
        body: r#"{"hello":"world"}"#.to_owned(),
    };
    let error = Reply::Body {
        content_type: "application/json",
        body: r#"{"error":{"message":"we broke"}}"#.to_owned(),
    };
    for reply in [
        html,
        empty,
        other,
        error,
        Reply::HalfABody,
        Reply::HalfTheJson,
    ] {
        for request in [question(), streamed()] {
            let streams = request["stream"] == true;
            let half = matches!(reply, Reply::HalfABody | Reply::HalfTheJson);
            if streams && half {
                continue; // It would be a plain answer to a question for a stream: the cases above.
            }
            let world = World::new().await;
            world.host.behave(Script::replying(reply.clone()));
            let answer = world.caller.ask(&request).await;
            assert_eq!(
                answer.status, 502,
                "{reply:?} stream {streams}: {}",
                answer.text
            );
            assert_eq!(answer.code(), "host_failed");
            let entry = world.entry().await;
            assert!(
                matches!(entry.outcome.as_str(), "failed" | "cut" | "refused"),
                "{reply:?}: {entry:?}"
            );
            // The host may charge for it, and did not say what.
            assert!(entry.counted_by != "reported", "{reply:?}: {entry:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_closed_without_a_byte_is_a_failure() {
    for request in [question(), streamed()] {
        let world = World::new().await;
        world.host.behave(Script::starting(Start::Close));
        let answer = world.caller.ask(&request).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (502, "host_failed"),
            "{}",
            answer.text
        );
        assert_eq!(world.entry().await.outcome, "failed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_there_is_a_failure() {
    let gateway = Setup::default()
        .host(MockHost::at("nobody", "http://127.0.0.1:9/v1"))
        .start()
        .await;
    let answer = gateway.caller().await.ask(&question()).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (502, "host_failed"),
        "{}",
        answer.text
    );
    assert!(answer.message().len() < 1_000, "{}", answer.text);
    for row in gateway.ledger().at_least(1).await {
        assert_eq!(
            (row.outcome.as_str(), row.counted_by.as_str(), row.cost),
            ("failed", "nothing", Some(0))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_hangs_before_its_first_byte_times_out() {
    for start in [
        Start::Never,
        Start::After(Duration::from_secs(20)),
        Start::SlowHead(Duration::from_millis(100)),
    ] {
        for request in [question(), streamed()] {
            let world = World::new().await;
            world.host.behave(Script::starting(start));
            let begun = Instant::now();
            let answer = world.caller.ask(&request).await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (504, "timed_out"),
                "{start:?}: {}",
                answer.text
            );
            assert!(
                begun.elapsed() < Duration::from_secs(5),
                "{start:?}: {:?}",
                begun.elapsed()
            );
            let entry = world.entry().await;
            assert_eq!(entry.outcome, "timed_out", "{start:?}");
            assert_ne!(entry.counted_by, "reported");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_ends_with_an_error_the_caller_sees_and_is_counted() {
    for (end, outcomes) in [
        (End::CutInside(6), ["cut", "cut"]),
        (End::CutAfter(6), ["cut", "cut"]),
        (End::ErrorAfter(6), ["cut", "failed"]),
        (End::HangAfter(6), ["timed_out", "cut"]),
    ] {
        let world = World::new().await;
        world.host.behave(Script::ending(end));
        let answer = world.caller.try_ask(&streamed()).await;
        // Either the connection breaks, or an event says why; it never looks like a whole answer.
        if let Ok(answer) = answer {
            assert_eq!(answer.status, 200, "{}", answer.text);
            let events = answer.events();
            let told = events.data.iter().any(|event| !event["error"].is_null());
            assert!(told, "{end:?}: the caller cannot know: {}", answer.text);
            assert!(events.text().starts_with(&text_of(0)), "{}", answer.text);
        }
        let entry = world.entry().await;
        assert!(
            outcomes.contains(&entry.outcome.as_str()),
            "{end:?}: {entry:?}"
        );
        assert_eq!(entry.counted_by, "counted", "{end:?}: {entry:?}");
        assert!(
            entry.cost.is_some_and(|cost| cost > 0),
            "{end:?}: {entry:?}"
        );
        assert!(
            entry.reasoning > 0 && entry.visible > 0,
            "{end:?}: what passed was not counted: {entry:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_breaks_off_each_time_is_left_alone_after_a_while() {
    let world = World::new().await;
    world.host.behave(Script::ending(End::CutAfter(6)));
    for _ in 0..5 {
        let answer = world.caller.ask(&streamed()).await;
        assert!(!answer.events().done, "{}", answer.text);
    }
    let asked = world.host.count();
    let answer = world.caller.ask(&streamed()).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (503, "no_backend"),
        "{}",
        answer.text
    );
    assert!(answer.header("retry-after").is_some());
    assert_eq!(world.host.count(), asked, "it was left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_gives_up_though_it_answered_200_is_no_success() {
    let world = World::new().await;
    world.host.behave(Script::ending(End::GaveUp));
    let answer = world.caller.try_ask(&streamed()).await;
    if let Ok(answer) = &answer {
        assert!(
            answer.text.contains("insufficient_system_resource")
                || answer.text.contains("\"error\""),
            "{}",
            answer.text
        );
    }
    let entry = world.entry().await;
    assert!(
        matches!(entry.outcome.as_str(), "cut" | "failed"),
        "{entry:?}"
    );
    assert_eq!(
        (entry.counted_by.as_str(), entry.cost),
        ("reported", Some(world.bill()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_booked_once_in_whichever_way_it_is_told() {
    let world = World::new().await;
    for style in [
        UsageStyle::LastChunk,
        UsageStyle::Unasked,
        UsageStyle::Twice,
        UsageStyle::NullThenValue,
        UsageStyle::OnFinishChunk,
        UsageStyle::Cumulative,
    ] {
        world.host.behave(Script::telling(style));
        for request in [question(), streamed()] {
            let answer = world.caller.ask(&request).await;
            assert_eq!(answer.status, 200, "{style:?}: {}", answer.text);
            let entry = world.entry().await;
            // Counting up, the last count stands on the finish chunk and is the whole.
            assert_eq!(
                entry.cost,
                Some(world.bill()),
                "{style:?} {request}: {entry:?}"
            );
            assert_eq!(
                (entry.outcome.as_str(), entry.counted_by.as_str()),
                ("answered", "reported"),
                "{style:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_that_cannot_be_true_is_kept_out_of_the_books_and_counted_instead() {
    let world = World::new().await;
    for style in [
        UsageStyle::Never,
        UsageStyle::Negative,
        UsageStyle::Huge,
        UsageStyle::Text,
        UsageStyle::Inconsistent,
    ] {
        world.host.behave(Script::telling(style).events(40));
        for request in [question(), streamed()] {
            let answer = world.caller.ask(&request).await;
            assert_eq!(answer.status, 200, "{style:?}: {}", answer.text);
            let entry = world.entry().await;
            assert_eq!(
                (entry.outcome.as_str(), entry.counted_by.as_str()),
                ("answered", "counted"),
                "{style:?}: {entry:?}"
            );
            let cost = entry.cost.expect("a price");
            assert!(
                cost > 0 && cost < 20 * world.bill(),
                "{style:?}: {cost} where the host charges {}",
                world.bill()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outright_zero_is_a_count_and_no_gap() {
    let world = World::new().await;
    world.host.behave(Script::telling(UsageStyle::Zero));
    assert_eq!(world.caller.ask(&streamed()).await.status, 200);
    let entry = world.entry().await;
    assert_eq!(
        (entry.counted_by.as_str(), entry.cost),
        ("reported", Some(0)),
        "{entry:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn however_its_bytes_are_laid_out_a_stream_says_and_costs_the_same() {
    let world = World::new().await;
    let plain = world.caller.ask(&streamed()).await.events();
    for framing in [
        Framing::ByteByByte,
        Framing::Crlf,
        Framing::KeepAlives,
        Framing::ByteOrderMark,
    ] {
        world.host.behave(Script::framed(framing));
        let answer = world.caller.ask(&streamed()).await;
        let events = answer.events();
        assert_eq!(
            (events.text(), events.done),
            (plain.text(), true),
            "{framing:?}"
        );
        let entry = world.entry().await;
        assert_eq!(
            (entry.counted_by.as_str(), entry.cost),
            ("reported", Some(world.bill())),
            "{framing:?}: {entry:?}"
        );

        let plain_answer = world.caller.ask(&question()).await;
        assert_eq!(
            plain_answer.status, 200,
            "{framing:?}: {}",
            plain_answer.text
        );
        assert_eq!(world.entry().await.cost, Some(world.bill()), "{framing:?}");
    }
    for bytes in [100_000, 6 << 20] {
        world.host.behave(Script::framed(Framing::HugeLine(bytes)));
        let answer = world.caller.ask(&streamed()).await;
        assert!(
            answer.text.len() > bytes && answer.events().done,
            "{bytes}: {} came",
            answer.text.len()
        );
        assert_eq!(world.entry().await.cost, Some(world.bill()), "{bytes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_its_done_is_still_booked() {
    let world = World::new().await;
    world.host.behave(Script::ending(End::NoDone));
    let answer = world.caller.ask(&streamed()).await;
    assert_eq!(
        answer
            .events()
            .usage()
            .map(|usage| usage["prompt_tokens"].is_u64()),
        Some(true)
    );
    let entry = world.entry().await;
    assert_eq!(
        (entry.outcome.as_str(), entry.cost),
        ("answered", Some(world.bill())),
        "{entry:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_asked_of_the_host_and_hidden_from_a_caller_who_did_not_ask() {
    let world = World::new().await;
    let mut request = streamed();
    request
        .as_object_mut()
        .expect("an object")
        .remove("stream_options");
    for style in [
        UsageStyle::LastChunk,
        UsageStyle::OnFinishChunk,
        UsageStyle::Cumulative,
    ] {
        world.host.behave(Script::telling(style));
        let answer = world.caller.ask(&request).await;
        let events = answer.events();
        assert!(
            events.done && events.usage().is_none(),
            "{style:?}: {}",
            answer.text
        );
        assert!(events.data.iter().all(|event| {
            event["choices"]
                .as_array()
                .is_some_and(|choices| !choices.is_empty())
        }));
        assert_eq!(world.entry().await.counted_by, "reported", "{style:?}");
    }
    let seen = world.host.received();
    assert!(
        seen.iter()
            .all(|request| request.json()["stream_options"]["include_usage"] == true)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_answers_for_one_that_fails_before_its_first_byte() {
    for script in [
        Script::status(500, "oops"),
        Script::status(401, "bad key"),
        Script::status(402, "Insufficient Balance"),
        Script::come_back(429, "99999999999"),
        Script::come_back(503, "soon"),
        Script::starting(Start::Close),
        Script::starting(Start::Never),
        Script::replying(Reply::Body {
            content_type: "text/html",
            body: "<html></html>".to_owned(),
        }),
    ] {
        for request in [question(), streamed()] {
            let (bad, good) = (
                Upstream::start_with(script.clone()).await,
                Upstream::start().await,
            );
            let gateway = Setup::default()
                .limit("first_byte_timeout", "\"300ms\"")
                .host(MockHost::new("bad", &bad))
                .host(MockHost::new("good", &good).dearer(3))
                .start()
                .await;
            let answer = gateway.caller().await.ask(&request).await;
            assert_eq!(answer.status, 200, "{script:?}: {}", answer.text);
            assert!(
                answer
                    .header("x-tollgate-backend")
                    .is_some_and(|name| name.starts_with("good")),
                "{answer:?}"
            );
            assert_eq!(
                answer.header("x-tollgate-attempts"),
                Some((bad.count() + 1).to_string().as_str()),
                "{script:?}"
            );

            let rows = gateway.ledger().at_least(bad.count() + 1).await;
            let (last, failed) = rows.split_last().expect("some rows");
            assert!(
                failed
                    .iter()
                    .all(|row| row.host == "bad" && row.request == last.request),
                "{rows:#?}"
            );
            assert_eq!(
                rows.iter().map(|row| row.attempt).collect::<Vec<_>>(),
                (1..=rows.len()).map(|n| n as i64).collect::<Vec<_>>()
            );
            let dear = Rates {
                cache_hit: 3 * 3_625,
                cache_miss: 3 * 435_000,
                output: 3 * 870_000,
            };
            assert_eq!(
                last.cost,
                good.only().bill.map(|bill| bill.cost(dear)),
                "{last:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_first_byte_a_stream_is_never_begun_anew_elsewhere() {
    let (bad, good) = (
        Upstream::start_with(Script::ending(End::CutAfter(5))).await,
        Upstream::start().await,
    );
    let gateway = Setup::default()
        .host(MockHost::new("bad", &bad))
        .host(MockHost::new("good", &good).dearer(3))
        .start()
        .await;
    let answer = gateway.caller().await.try_ask(&streamed()).await;
    if let Ok(answer) = answer {
        assert_eq!(
            answer.text.matches(text_of(0).trim()).count(),
            1,
            "{}",
            answer.text
        );
    }
    assert_eq!((bad.count(), good.count()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_end_is_cut_at_the_limit() {
    let host = Upstream::start_with(Script::replying(Reply::Body {
        content_type: "application/json",
        body: format!("{{\"choices\":[],\"x\":\"{}\"}}", "y".repeat(3 << 20)),
    }))
    .await;
    let gateway = Setup::default()
        .limit("answer_bytes", "1000000")
        .host(MockHost::new("mockhost", &host))
        .start()
        .await;
    let answer = gateway.caller().await.ask(&question()).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (502, "host_failed"),
        "{}",
        answer.text.len()
    );
    assert!(
        host.received()
            .iter()
            .all(|request| request.state != Delivery::Open)
    );
}
