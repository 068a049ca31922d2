//! A request that demands something goes only where the demand is answered, whatever fails; where
//! nobody answers it, it is refused with what each backend lacks.

use tollgate_tests::upstream::{Script, Start};
use tollgate_tests::{Caller, MockHost, Received, Setup, Upstream, question, streamed};

/// The host's requests, which must be none.
fn untouched(host: &Upstream) -> Vec<Received> {
    let received = host.received();
    assert!(
        received.is_empty(),
        "a host without certification was asked: {received:?}"
    );
    received
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tagged_request_goes_to_the_certified_host_though_it_is_dearer() {
    let (cheap, certified) = (Upstream::start().await, Upstream::start().await);
    let gateway = Setup::default()
        .host(MockHost::new("cheap", &cheap))
        .host(
            MockHost::new("certified", &certified)
                .dearer(5)
                .certified("soc2")
                .certified("eu"),
        )
        .start()
        .await;
    let caller = gateway.caller().await;
    for tags in ["soc2", "eu,soc2", " eu , soc2 ", "SOC2"] {
        for request in [question(), streamed()] {
            let answer = caller
                .clone()
                .with("x-tollgate-tags", tags)
                .ask(&request)
                .await;
            assert_eq!(answer.status, 200, "{tags}: {}", answer.text);
            assert!(
                answer
                    .header("x-tollgate-backend")
                    .is_some_and(|name| name.starts_with("certified")),
                "{answer:?}"
            );
        }
    }
    untouched(&cheap);
    assert_eq!(caller.ask(&question()).await.status, 200);
    assert_eq!(cheap.count(), 1, "without a demand the cheap host serves");

    let rows = gateway.ledger().at_least(9).await;
    let tagged = rows.iter().filter(|row| row.host == "certified");
    assert!(
        tagged.clone().count() == 8 && tagged.clone().all(|row| row.tags.contains("soc2")),
        "{rows:#?}"
    );
    assert_eq!(
        rows.iter().filter(|row| row.tags == "eu,soc2").count(),
        4,
        "sorted, as one demand"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_own_tags_hold_whatever_the_request_says() {
    let (cheap, certified) = (Upstream::start().await, Upstream::start().await);
    let gateway = Setup::default()
        .host(MockHost::new("cheap", &cheap).certified("eu"))
        .host(
            MockHost::new("certified", &certified)
                .dearer(5)
                .certified("eu")
                .certified("hipaa"),
        )
        .start()
        .await;
    let key = gateway.key(&["--team", "clinic", "--tag", "hipaa"]).await;
    let caller = Caller::new(gateway.address(), &key.secret);
    assert_eq!(caller.ask(&question()).await.status, 200);
    for tags in ["", "eu", "-hipaa", "none"] {
        let answer = caller
            .clone()
            .with("x-tollgate-tags", tags)
            .ask(&question())
            .await;
        assert!(
            matches!(answer.status, 200 | 400 | 403),
            "{tags}: {}",
            answer.text
        );
    }
    untouched(&cheap);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_lists_each_backend_and_what_it_lacks() {
    let (one, other) = (Upstream::start().await, Upstream::start().await);
    let gateway = Setup::default()
        .clock("2026-11-24T02:00:00Z")
        .host(MockHost::new("plain", &one))
        .host(MockHost::new("lapsed", &other).certified_until("soc2", "2026-11-23"))
        .start()
        .await;
    let caller = gateway.caller().await.with("x-tollgate-tags", "soc2");
    for request in [question(), streamed()] {
        let answer = caller.ask(&request).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, "no_certified_backend")
        );
        let body = answer.json();
        let backends = body["error"]["backends"].as_array().expect("each backend");
        let reason = |host: &str| {
            let named = |entry: &&serde_json::Value| {
                entry["backend"]
                    .as_str()
                    .is_some_and(|name| name.starts_with(host))
            };
            let entry = backends
                .iter()
                .find(named)
                .unwrap_or_else(|| panic!("{host} is not listed: {body}"));
            entry["reason"].as_str().expect("a reason").to_owned()
        };
        assert!(reason("plain").contains("soc2"), "{body}");
        assert!(reason("lapsed").contains("2026-11-23"), "{body}");
    }
    untouched(&one);
    untouched(&other);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certification_holds_through_its_last_day_and_not_beyond() {
    let host = Upstream::start().await;
    let at = |instant: &str| {
        Setup::default()
            .clock(instant)
            .host(MockHost::new("lapsing", &host).certified_until("soc2", "2026-11-23"))
            .start()
    };
    let last_minute = at("2026-11-23T23:55:00Z").await;
    let caller = last_minute.caller().await.with("x-tollgate-tags", "soc2");
    assert_eq!(caller.ask(&question()).await.status, 200);
    assert_eq!(host.count(), 1);

    let next_day = at("2026-11-24T00:00:00Z").await;
    let caller = next_day.caller().await.with("x-tollgate-tags", "soc2");
    assert_eq!(caller.ask(&question()).await.status, 403);
    assert_eq!(host.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_over_never_leaves_the_certified_hosts() {
    let plain = Upstream::start().await;
    let failing = [
        Script::status(500, "{}"),
        Script::status(503, "<html>busy</html>"),
        Script::come_back(429, "60"),
        Script::starting(Start::Close),
    ];
    for script in failing {
        let shown = format!("{script:?}");
        let (first, second) = (
            Upstream::start_with(script.clone()).await,
            Upstream::start().await,
        );
        let gateway = Setup::default()
            .host(MockHost::new("plain", &plain))
            .host(MockHost::new("first", &first).dearer(2).certified("eu"))
            .host(MockHost::new("second", &second).dearer(9).certified("eu"))
            .start()
            .await;
        let caller = gateway.caller().await.with("x-tollgate-tags", "eu");
        let answer = caller.ask(&streamed()).await;
        assert_eq!(answer.status, 200, "{shown}: {}", answer.text);
        assert!(
            answer
                .header("x-tollgate-backend")
                .is_some_and(|name| name.starts_with("second")),
            "{shown}: {answer:?}"
        );
        assert!(first.count() >= 1, "{shown}");

        // And when all certified hosts fail, so does the request.
        second.behave(script);
        let answer = caller.ask(&question()).await;
        assert!(
            answer.status >= 429 && answer.status != 500,
            "{shown}: {} {}",
            answer.status,
            answer.text
        );
        answer.code();
        untouched(&plain);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certified_host_that_hangs_is_not_replaced_by_an_uncertified_one() {
    let (plain, hanging) = (
        Upstream::start().await,
        Upstream::start_with(Script::starting(Start::Never)).await,
    );
    let gateway = Setup::default()
        .limit("first_byte_timeout", "\"300ms\"")
        .host(MockHost::new("plain", &plain))
        .host(MockHost::new("hanging", &hanging).dearer(3).certified("eu"))
        .start()
        .await;
    let answer = gateway
        .caller()
        .await
        .with("x-tollgate-tags", "eu")
        .ask(&streamed())
        .await;
    assert_eq!((answer.status, answer.code().as_str()), (504, "timed_out"));
    untouched(&plain);
}
