//! The suites' own host, seen by a plain HTTP client: what the other suites lean on must stand.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_tests::upstream::{Delivery, End, Framing, Script, Start, UsageStyle};
use tollgate_tests::{Bill, Caller, Upstream, question, streamed, until};

fn caller_of(host: &Upstream) -> Caller {
    let base = host.base_url();
    let address = base.trim_start_matches("http://").trim_end_matches("/v1");
    Caller::new(address.parse().expect("an address"), "sk-test").with("x-request-id", "attempt-1")
}

fn bill_of(usage: &Value) -> Bill {
    let count = |value: &Value| value.as_u64().expect("a count");
    let reasoning = count(&usage["completion_tokens_details"]["reasoning_tokens"]);
    Bill {
        cache_miss: count(&usage["prompt_cache_miss_tokens"]),
        cache_hit: count(&usage["prompt_cache_hit_tokens"]),
        reasoning,
        visible: count(&usage["completion_tokens"]) - reasoning,
    }
}

#[tokio::test]
async fn it_charges_what_it_tells() {
    let host = Upstream::start().await;
    let plain = caller_of(&host).ask(&question()).await;
    let stream = caller_of(&host).ask(&streamed()).await.events();
    let received = host.received();
    assert_eq!(received[0].bill, Some(bill_of(&plain.json()["usage"])));
    assert_eq!(
        received[1].bill,
        Some(bill_of(stream.usage().expect("asked for")))
    );
    assert!(stream.done);
    assert_eq!(received[0].attempt, "attempt-1");
    assert_eq!(received[0].json(), question());
    assert_eq!(received[1].state, Delivery::Whole);
}

#[tokio::test]
async fn every_framing_says_the_same() {
    let host = Upstream::start().await;
    let plain = caller_of(&host).ask(&streamed()).await.events().text();
    for framing in [
        Framing::ByteByByte,
        Framing::Crlf,
        Framing::KeepAlives,
        Framing::ByteOrderMark,
    ] {
        host.behave(Script::framed(framing));
        let framed = caller_of(&host).ask(&streamed()).await.events();
        assert_eq!(framed.text(), plain, "{framing:?}");
    }
    host.behave(Script::framed(Framing::HugeLine(100_000)));
    assert!(
        caller_of(&host)
            .ask(&streamed())
            .await
            .events()
            .text()
            .len()
            > 100_000
    );
}

#[tokio::test]
async fn it_can_be_told_to_refuse_once_and_to_break_off() {
    let host = Upstream::start_with(Script::ending(End::CutInside(3))).await;
    host.behave_once(Script::come_back(429, "7"));
    let refused = caller_of(&host).ask(&question()).await;
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (429, Some("7"))
    );
    assert!(caller_of(&host).try_ask(&streamed()).await.is_err());
    host.behave(Script::starting(Start::Close));
    assert!(caller_of(&host).try_ask(&question()).await.is_err());
}

#[tokio::test]
async fn a_caller_who_leaves_is_charged_what_was_computed() {
    let slow = Script::default()
        .events(400)
        .pause(Duration::from_millis(1));
    let host = Upstream::start_with(slow).await;
    caller_of(&host).leave_after(&streamed(), 2_000).await;
    let left = until("the host sees that the caller left", || async {
        Some(host.only()).filter(|request| request.state == Delivery::Left)
    })
    .await;
    let bill = left.bill.expect("some tokens");
    assert!(bill.visible > 0 && bill.visible < 396, "{bill:?}");
}

#[tokio::test]
async fn usage_can_be_told_in_the_ways_that_hosts_do() {
    let host = Upstream::start().await;
    for (style, told) in [
        (UsageStyle::Never, None),
        (UsageStyle::Negative, Some(json!(-1))),
    ] {
        host.behave(Script::telling(style));
        let events = caller_of(&host).ask(&streamed()).await.events();
        assert_eq!(
            events.usage().map(|usage| usage["prompt_tokens"].clone()),
            told
        );
    }
}
