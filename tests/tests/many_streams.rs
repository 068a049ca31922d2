//! Five hundred streams at once, half of them passed through and half translated: no event is lost,
//! and each is booked as its host bills it.

use tokio::task::JoinSet;
use tollgate_tests::upstream::{Gate, Script, text_of};
use tollgate_tests::{MockHost, Rates, Setup, Surface, Upstream, until};

const STREAMS: usize = 500;
const EVENTS: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_streams_at_once_lose_no_event() {
    let gate = Gate::closed();
    let script = Script::default().events(EVENTS).gated(EVENTS / 2, &gate);
    let host = Upstream::start_with(script).await;
    let gateway = Setup::default()
        .host(MockHost::new("mockhost", &host))
        .start()
        .await;
    let caller = gateway.caller().await;
    let mut streams = JoinSet::new();
    for number in 0..STREAMS {
        let caller = caller.clone();
        streams.spawn(async move {
            let surface = if number.is_multiple_of(2) {
                Surface::Chat
            } else {
                Surface::Messages
            };
            let answer = caller.ask_at(surface.path(), &surface.streamed()).await;
            surface.read(&answer)
        });
    }
    // Each stands open in its middle before any may end.
    until("all streams are open at once", || async {
        (host.count() == STREAMS).then_some(())
    })
    .await;
    assert!(streams.try_join_next().is_none(), "one ended early");
    gate.open();

    let whole: String = (4..EVENTS).map(text_of).collect();
    let thinking: String = (0..4).map(text_of).collect();
    for said in streams.join_all().await {
        assert_eq!(
            (&said.text, &said.thinking, &said.error),
            (&whole, &thinking, &None)
        );
    }
    let received = host.received();
    assert_eq!(received.len(), STREAMS, "each was asked once");
    let attempts: Vec<String> = received.iter().map(|one| one.attempt.clone()).collect();
    let entries = gateway.ledger().of(&attempts).await;
    for one in received {
        let (entry, bill) = (&entries[&one.attempt], one.bill.expect("it answered"));
        assert_eq!(entry.outcome, "answered", "{entry:?}");
        assert_eq!(entry.cost, Some(bill.cost(Rates::default())), "{entry:?}");
    }
}
