//! A request that names itself (`Idempotency-Key`) is answered once: the same again gets the same
//! answer, byte for byte, without asking a host or costing anything.

use serde_json::{Value, json};
use tollgate_tests::upstream::{Delivery, End, Gate, Script};
use tollgate_tests::{Answer, Caller, Gateway, MockHost, Setup, Surface, Upstream, until};

struct World {
    host: Upstream,
    gateway: Gateway,
    caller: Caller,
}

impl World {
    async fn new() -> Self {
        let host = Upstream::start().await;
        let gateway = Setup::default()
            .limit("attempts", "1")
            .host(MockHost::new("mockhost", &host).completing())
            .start()
            .await;
        let caller = gateway.caller().await;
        World {
            host,
            gateway,
            caller,
        }
    }

    async fn ask(&self, name: &str, surface: Surface, question: &Value) -> Answer {
        ask(&self.caller, name, surface, question).await
    }

    /// A caller of another organisation, team or project.
    async fn other(&self, who: &[&str]) -> Caller {
        let key = self.gateway.key(who).await;
        Caller::new(self.gateway.address(), &key.secret)
    }
}

async fn ask(caller: &Caller, name: &str, surface: Surface, question: &Value) -> Answer {
    let caller = caller.clone().with("idempotency-key", name);
    caller.ask_at(surface.path(), question).await
}

fn is_replayed(answer: &Answer) -> bool {
    answer.header("x-tollgate-replayed").is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_again_gets_the_same_answer_and_asks_and_books_nothing() {
    let world = World::new().await;
    let mut asked = 0;
    for surface in Surface::ALL {
        for question in [surface.question(), surface.streamed()] {
            let name = format!("request-{asked}");
            let first = world.ask(&name, surface, &question).await;
            surface.read(&first);
            assert!(!is_replayed(&first));
            asked += 1;
            for _ in 0..3 {
                let again = world.ask(&name, surface, &question).await;
                assert_eq!(
                    (again.status, &again.text),
                    (200, &first.text),
                    "{surface:?}"
                );
                assert!(is_replayed(&again), "{again:?}");
                for header in [
                    "content-type",
                    "x-tollgate-backend",
                    "x-tollgate-attempts",
                    "x-tollgate-cost",
                ] {
                    assert_eq!(again.header(header), first.header(header), "{header}");
                }
            }
            assert_eq!(world.host.count(), asked, "{surface:?} {question}");
        }
    }
    assert_eq!(world.gateway.ledger().at_least(asked).await.len(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_given_again_though_its_host_is_gone() {
    let World {
        host,
        gateway: _gateway,
        caller,
    } = World::new().await;
    let question = Surface::Messages.streamed();
    let first = ask(&caller, "mine", Surface::Messages, &question).await;
    drop(host);
    let again = ask(&caller, "mine", Surface::Messages, &question).await;
    assert_eq!((again.status, again.text), (200, first.text));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_request_under_a_name_that_is_taken_is_refused() {
    let world = World::new().await;
    for surface in Surface::ALL {
        let name = format!("{surface:?}");
        let question = surface.question();
        assert_eq!(world.ask(&name, surface, &question).await.status, 200);
        let mut other = question.clone();
        other["temperature"] = json!(0.5);
        let refused = world.ask(&name, surface, &other).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        assert_eq!(surface.refused(&refused).code, "invalid_request");
        assert_eq!(refused.json()["error"]["param"], "idempotency-key");
    }
    // The same body elsewhere is another request as well: both dialects take it.
    let question = Surface::Chat.question();
    assert_eq!(
        world.ask("both", Surface::Chat, &question).await.status,
        200
    );
    let elsewhere = world.ask("both", Surface::Messages, &question).await;
    assert_eq!(elsewhere.status, 400, "{}", elsewhere.text);
    assert_eq!(world.host.count(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_made_without_a_demand_is_never_given_to_one_with_it() {
    let host = Upstream::start().await;
    let gateway = Setup::default()
        .host(MockHost::new("mockhost", &host).certified("eu"))
        .start()
        .await;
    let caller = gateway.caller().await;
    let question = Surface::Chat.question();
    let free = ask(&caller, "one", Surface::Chat, &question).await;
    assert_eq!(free.status, 200, "{}", free.text);
    let demanding = caller.with("x-tollgate-tags", "eu");
    let refused = ask(&demanding, "one", Surface::Chat, &question).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    let answered = ask(&demanding, "another", Surface::Chat, &question).await;
    assert!(answered.status == 200 && !is_replayed(&answered));
    assert_eq!(host.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_first_is_under_way_the_second_is_told_to_wait() {
    let world = World::new().await;
    for surface in Surface::ALL {
        for question in [surface.question(), surface.streamed()] {
            let gate = Gate::closed();
            world.host.behave_once(Script::default().gated(6, &gate));
            let name = format!("{surface:?} {question}");
            let name = &name[..name.len().min(200)];
            let before = world.host.count();
            let caller = world.caller.clone();
            let first = tokio::spawn({
                let (name, question) = (name.to_owned(), question.clone());
                async move { ask(&caller, &name, surface, &question).await }
            });
            until("the host is asked", || async {
                (world.host.count() > before).then_some(())
            })
            .await;
            let second = world.ask(name, surface, &question).await;
            let refused = surface.refused(&second);
            assert_eq!(second.status, 409, "{}", second.text);
            assert!(refused.message.contains("under way"), "{}", second.text);
            assert!(second.header("retry-after").is_some(), "{second:?}");
            gate.open();
            let first = first.await.expect("an answer");
            surface.read(&first);
            let again = world.ask(name, surface, &question).await;
            assert_eq!((again.status, again.text), (200, first.text));
            assert_eq!(world.host.count(), before + 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_name_elsewhere_is_another_request() {
    let world = World::new().await;
    let question = Surface::Chat.question();
    let mut callers = vec![world.caller.clone()];
    for who in [
        &["--team", "search", "--project", "other"][..],
        &["--team", "research"],
        &["--team", "search", "--organisation", "elsewhere"],
    ] {
        callers.push(world.other(who).await);
    }
    for (index, caller) in callers.iter().enumerate() {
        let answer = ask(caller, "mine", Surface::Chat, &question).await;
        assert_eq!((answer.status, is_replayed(&answer)), (200, false));
        assert_eq!(world.host.count(), index + 1);
    }
    // Another key of the same project is the same caller.
    let colleague = world.other(&["--team", "search"]).await;
    let answer = ask(&colleague, "mine", Surface::Chat, &question).await;
    assert!(is_replayed(&answer));
    assert_eq!(world.host.count(), callers.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_or_broke_off_may_be_tried_again() {
    for script in [
        Script::status(500, "oops"),
        Script::status(400, r#"{"error":{"message":"not like this"}}"#),
        Script::come_back(429, "1"),
        Script::ending(End::CutAfter(6)),
        Script::ending(End::ErrorAfter(6)),
        Script::ending(End::GaveUp),
    ] {
        for surface in Surface::ALL {
            let world = World::new().await;
            let question = surface.streamed();
            world.host.behave_once(script.clone());
            let first = world.ask("mine", surface, &question).await;
            let broken = first.status != 200 || surface.read(&first).error.is_some();
            assert!(broken, "{script:?}: {}", first.text);
            let second = until("the host is asked again", || async {
                let answer = world.ask("mine", surface, &question).await;
                // A host that failed is let alone for a while.
                (answer.status != 503).then_some(answer)
            })
            .await;
            let said = surface.read(&second);
            assert_eq!(said.error, None, "{script:?}: {}", second.text);
            assert!(!is_replayed(&second));
            let third = world.ask("mine", surface, &question).await;
            assert_eq!((is_replayed(&third), third.text), (true, second.text));
            assert_eq!(world.host.count(), 2, "{script:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_free_again_when_its_caller_leaves_in_the_middle() {
    let world = World::new().await;
    let gate = Gate::closed();
    world.host.behave_once(Script::default().gated(8, &gate));
    let question = Surface::Chat.streamed();
    let leaving = world.caller.clone().with("idempotency-key", "mine");
    assert_eq!(leaving.leave_after(&question, 600).await, 600);
    gate.open();
    let answer = until("the name is free", || async {
        let answer = world.ask("mine", Surface::Chat, &question).await;
        (answer.status != 409).then_some(answer)
    })
    .await;
    let said = Surface::Chat.read(&answer);
    assert_eq!((said.error, is_replayed(&answer)), (None, false));
    assert_eq!(world.host.count(), 2);
    // Both answers cost something, and both are booked.
    until("both answers are whole", || async {
        let received = world.host.received();
        let ended = received.iter().all(|one| one.state != Delivery::Open);
        ended.then_some(())
    })
    .await;
    let rows = world.gateway.ledger().at_least(2).await;
    assert!(
        rows.iter().all(|row| row.cost.is_some_and(|cost| cost > 0)),
        "{rows:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_taken_only_by_a_request_that_could_be_made() {
    let world = World::new().await;
    for surface in Surface::ALL {
        let name = format!("{surface:?}");
        let mut wrong = surface.question();
        wrong["model"] = json!("no-such-model");
        assert_eq!(world.ask(&name, surface, &wrong).await.status, 400);
        let right = surface.question();
        assert_eq!(world.ask(&name, surface, &right).await.status, 200);
    }
    for name in ["", &"x".repeat(256)] {
        let answer = world
            .ask(name, Surface::Chat, &Surface::Chat.question())
            .await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "invalid_request")
        );
        assert_eq!(answer.json()["error"]["param"], "idempotency-key");
    }
}
