//! Callers who leave in the middle: their tokens are neither free nor booked twice, wherever in the
//! stream they left.

use std::collections::BTreeMap;
use std::time::Duration;

use tollgate_tests::upstream::{Delivery, Script, UsageStyle};
use tollgate_tests::{
    Gateway, MockHost, Rates, Received, Row, Setup, Upstream, question, setting, streamed, until,
};

/// Slow enough that who leaves early leaves before the end; some 30 ms a stream.
fn paced() -> Script {
    Script::default().events(30).pause(Duration::from_millis(1))
}

/// Entries by attempt, once all attempts of the host have one.
async fn booked(gateway: &Gateway, host: &Upstream) -> Vec<(Received, Row)> {
    until("the host has ended all its answers", || async {
        host.received()
            .iter()
            .all(|request| request.state != Delivery::Open)
            .then_some(())
    })
    .await;
    let received = host.received();
    let attempts: Vec<String> = received
        .iter()
        .map(|request| request.attempt.clone())
        .collect();
    let mut entries: BTreeMap<String, Row> = gateway.ledger().of(&attempts).await;
    assert_eq!(
        entries.len(),
        received.len(),
        "entries for what the host never saw"
    );
    received
        .into_iter()
        .map(|request| {
            let entry = entries.remove(&request.attempt).expect("an entry for each");
            (request, entry)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_the_stream_is_read_and_booked_as_the_host_bills_it() {
    let host = Upstream::start_with(paced()).await;
    let gateway = Setup::default()
        .host(MockHost::new("mockhost", &host))
        .start()
        .await;
    let caller = gateway.caller().await;
    let whole = caller.leave_after(&streamed(), usize::MAX).await;
    assert!(whole > 3_000, "{whole} bytes");

    let offsets = setting("TOLLGATE_LEAVING_OFFSETS", 60);
    let left: Vec<usize> = (0..offsets)
        .map(|step| step * whole / offsets)
        .chain([whole - 6, whole - 1])
        .collect();
    for several in left.chunks(8) {
        let leaving = several.iter().map(|offset| {
            let caller = caller.clone();
            let offset = *offset;
            tokio::spawn(async move { caller.leave_after(&streamed(), offset).await })
        });
        for one in leaving.collect::<Vec<_>>() {
            one.await.expect("a caller leaves");
        }
    }

    // Who left before its request was read whole may never have been sent on.
    let booked = booked(&gateway, &host).await;
    assert!(
        booked.len() >= left.len(),
        "{} of {}",
        booked.len(),
        left.len() + 1
    );
    let mut drained = 0;
    for (request, entry) in &booked {
        assert_eq!(
            request.state,
            Delivery::Whole,
            "the host was cut off: {entry:?}"
        );
        let bill = request.bill.expect("a bill").cost(Rates::default());
        assert_eq!(entry.cost, Some(bill), "{entry:?}");
        assert!(
            matches!(entry.counted_by.as_str(), "reported" | "drained"),
            "{entry:?}"
        );
        assert_eq!(
            entry.outcome == "left",
            entry.counted_by == "drained",
            "{entry:?}"
        );
        drained += usize::from(entry.counted_by == "drained");
    }
    assert!(
        drained >= left.len() / 2,
        "only {drained} of {} were seen to leave",
        left.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_rest_is_too_dear_the_host_is_cut_off_and_what_passed_is_counted() {
    let host = Upstream::start_with(
        Script::default()
            .events(2_000)
            .pause(Duration::from_millis(1)),
    )
    .await;
    let gateway = Setup::default()
        .limit("drain_cost", "\"0\"")
        .host(MockHost::new("mockhost", &host))
        .start()
        .await;
    let caller = gateway.caller().await;
    for offset in [600, 1_500, 5_000, 9_000] {
        caller.leave_after(&streamed(), offset).await;
    }
    for (request, entry) in booked(&gateway, &host).await {
        assert_eq!(
            request.state,
            Delivery::Left,
            "the host was read to its end: {entry:?}"
        );
        assert_eq!(
            (entry.outcome.as_str(), entry.counted_by.as_str()),
            ("left", "counted"),
            "{entry:?}"
        );
        let bill = request.bill.expect("a bill").cost(Rates::default());
        let cost = entry.cost.expect("a price");
        assert!(
            cost > bill / 20 && cost < bill * 20,
            "{cost} where the host charges {bill}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_leaves_before_a_plain_answer_pays_for_it() {
    let slow = Script::starting(tollgate_tests::upstream::Start::After(
        Duration::from_millis(200),
    ));
    let host = Upstream::start_with(slow).await;
    let gateway = Setup::default()
        .host(MockHost::new("mockhost", &host))
        .start()
        .await;
    let caller = gateway.caller().await;
    for _ in 0..5 {
        let before = host.count();
        let request = question();
        let leaving = caller.leave_after(&request, 1);
        let seen = until("the host has the request", || async {
            (host.count() > before).then_some(())
        });
        // Dropped as soon as the host works on it.
        tokio::select! {
            _ = leaving => panic!("the answer came at once"),
            () = seen => {}
        }
    }
    for (request, entry) in booked(&gateway, &host).await {
        let bill = request.bill.map(|bill| bill.cost(Rates::default()));
        assert_eq!(
            (entry.outcome.as_str(), entry.counted_by.as_str()),
            ("left", "drained"),
            "{entry:?}"
        );
        assert_eq!(entry.cost, bill, "{entry:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_leaves_a_host_that_never_tells_is_counted() {
    let silent = Script {
        usage: UsageStyle::Never,
        ..paced()
    };
    let host = Upstream::start_with(silent).await;
    let gateway = Setup::default()
        .host(MockHost::new("mockhost", &host))
        .start()
        .await;
    gateway.caller().await.leave_after(&streamed(), 1_200).await;
    let booked = booked(&gateway, &host).await;
    let (_, entry) = &booked[0];
    assert_eq!(
        (entry.outcome.as_str(), entry.counted_by.as_str()),
        ("left", "counted"),
        "{entry:?}"
    );
    assert!(entry.cost.is_some_and(|cost| cost > 0), "{entry:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_stops_reading_is_cut_off_in_the_end_and_charged() {
    let host = Upstream::start_with(Script {
        framing: tollgate_tests::upstream::Framing::HugeLine(32 << 20),
        ..Script::default()
    })
    .await;
    let gateway = Setup::default()
        .limit("idle_timeout", "\"1s\"")
        .host(MockHost::new("mockhost", &host))
        .start()
        .await;
    let caller = gateway.caller().await;
    let mut socket = tokio::net::TcpStream::connect(gateway.address())
        .await
        .expect("a connection");
    tokio::io::AsyncWriteExt::write_all(&mut socket, &caller.bytes(&streamed()))
        .await
        .expect("sent");
    let entry = gateway.ledger().only().await;
    assert!(
        matches!(entry.outcome.as_str(), "left" | "timed_out" | "cut"),
        "{entry:?}"
    );
    assert!(entry.cost.is_some_and(|cost| cost > 0), "{entry:?}");
    drop(socket);
}
