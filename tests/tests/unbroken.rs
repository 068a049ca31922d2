//! Answers whose host dies in the middle: where another host can go on from the text so far, the
//! caller gets one whole answer; where none can, an error in its dialect, and never a part that looks
//! whole. Each attempt is booked.

use serde_json::{Value, json};
use tollgate_tests::upstream::{End, Script, text_of};
use tollgate_tests::{
    Answer, Caller, Gateway, MockHost, Rates, Row, Said, Setup, Surface, Upstream,
};

/// Every way in which hosts leave a stream after its seventh event: four of thinking, three of text.
const ENDS: [End; 5] = [
    End::CutAfter(7),
    End::CutInside(7),
    End::ErrorAfter(7),
    End::GaveUpAfter(7),
    End::HangAfter(7),
];

fn words(range: std::ops::Range<usize>) -> String {
    range.map(text_of).collect()
}

/// How much dearer the second host is, and the third in twice: whatever is learnt of them, the order
/// in which they are asked stands.
const DEARER: u64 = 20;

/// A cheap host that breaks off so, and others after it, each dearer than the one before.
struct World {
    hosts: Vec<Upstream>,
    gateway: Gateway,
    caller: Caller,
}

impl World {
    async fn new(end: End, others: Vec<MockHost>, hosts: Vec<Upstream>) -> Self {
        Self::with(Setup::default(), Script::ending(end), others, hosts).await
    }

    async fn with(
        setup: Setup,
        script: Script,
        others: Vec<MockHost>,
        mut hosts: Vec<Upstream>,
    ) -> Self {
        hosts.insert(0, Upstream::start_with(script).await);
        let first = MockHost::new("first", &hosts[0]).certified("eu");
        let mut setup = setup.limit("idle_timeout", "\"500ms\"").host(first);
        for (other, times) in others.into_iter().zip(1..) {
            setup = setup.host(other.dearer(times * DEARER));
        }
        let gateway = setup.start().await;
        let caller = gateway.caller().await;
        World {
            hosts,
            gateway,
            caller,
        }
    }

    /// The second host goes on as DeepSeek does.
    async fn continued(end: End) -> Self {
        let second = Upstream::start().await;
        let host = MockHost::new("second", &second).going_on();
        Self::new(end, vec![host], vec![second]).await
    }

    async fn ask(&self, surface: Surface) -> Answer {
        self.caller
            .ask_at(surface.path(), &surface.streamed())
            .await
    }

    /// The only request of a host.
    fn asked(&self, host: usize) -> Value {
        self.hosts[host].only().json()
    }

    async fn rows(&self, count: usize) -> Vec<Row> {
        let rows = self.gateway.ledger().at_least(count).await;
        assert_eq!(rows.len(), count, "{rows:#?}");
        rows
    }
}

/// The stream broke off in an error after three words of text.
fn broke_off(said: &Said, answer: &Answer) {
    assert_eq!(said.text, words(4..7), "{}", answer.text);
    assert_eq!(said.finish, "", "{}", answer.text);
    let error = said.error.as_ref().expect("an error");
    assert!(error.message.len() > 20, "{error:?}");
    for looks_whole in ["[DONE]", "message_stop", "response.completed"] {
        assert!(!answer.text.contains(looks_whole), "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_goes_on_and_the_caller_gets_one_whole_answer() {
    for end in ENDS {
        for surface in Surface::CONVERSATIONS {
            let world = World::continued(end).await;
            let answer = world.ask(surface).await;
            let said = surface.read(&answer);
            let shown = format!("{end:?} {surface:?}: {}", answer.text);
            assert_eq!(said.text, words(4..12), "{shown}");
            // The second host thought anew; its caller was past that.
            assert_eq!(said.thinking, words(0..4), "{shown}");
            assert_eq!(
                (said.finish.as_str(), said.error),
                (surface.done(), None),
                "{shown}"
            );
            assert!(
                answer
                    .header("x-tollgate-backend")
                    .is_some_and(|name| name.starts_with("first")),
                "{shown}"
            );

            let asked = world.hosts[1].only();
            assert_eq!(asked.path, "/beta/chat/completions", "{shown}");
            let turns = asked.json()["messages"].clone();
            assert_eq!(turns.as_array().map(Vec::len), Some(2), "{turns}");
            let begun = json!({
                "role": "assistant",
                "reasoning_content": words(0..4),
                "content": words(4..7),
                "prefix": true,
            });
            assert_eq!(turns[1], begun, "{shown}");
            // Of the 64 tokens that the caller allows some are used up; nobody counted them.
            let rest = asked.json()["max_tokens"].as_u64().expect("a bound");
            assert!((40..64).contains(&rest), "{rest}: {shown}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_stream_keeps_the_id_under_which_it_began() {
    let world = World::continued(End::CutAfter(7)).await;
    // The first host's second answer has another id than the second host's first.
    world.hosts[0].behave_once(Script::default());
    world.ask(Surface::Chat).await;
    let answer = world.ask(Surface::Chat).await;
    let said = Surface::Chat.read(&answer);
    assert_eq!((said.id.as_str(), said.text), ("chatcmpl-1", words(4..12)));
    assert_eq!(answer.text.matches("[DONE]").count(), 1, "{}", answer.text);
    assert_eq!(
        answer.text.matches("\"role\"").count(),
        1,
        "{}",
        answer.text
    );
    assert!(!answer.text.contains("\"usage\":{"), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_is_booked_and_the_caller_is_told_what_both_cost() {
    for (end, outcome, counted) in [
        (End::CutAfter(7), "cut", "counted"),
        (End::CutInside(7), "cut", "counted"),
        (End::ErrorAfter(7), "cut", "counted"),
        (End::GaveUpAfter(7), "cut", "reported"),
        (End::HangAfter(7), "timed_out", "counted"),
    ] {
        for surface in Surface::CONVERSATIONS {
            let world = World::continued(end).await;
            let answer = world.ask(surface).await;
            let rows = world.rows(2).await;
            let booked = |row: &Row| {
                let Row {
                    host,
                    outcome,
                    counted_by,
                    ..
                } = row.clone();
                (row.attempt, host, outcome, counted_by)
            };
            let shown = format!("{end:?} {surface:?}: {rows:#?}");
            let of = |attempt: i64, host: &str, outcome: &str, counted: &str| {
                (
                    attempt,
                    host.to_owned(),
                    outcome.to_owned(),
                    counted.to_owned(),
                )
            };
            assert_eq!(
                booked(&rows[0]),
                of(1, "first", outcome, counted),
                "{shown}"
            );
            assert_eq!(
                booked(&rows[1]),
                of(2, "second", "answered", "reported"),
                "{shown}"
            );
            assert_eq!(rows[0].request, rows[1].request, "{shown}");
            let rates = Rates::default();
            let dear = Rates {
                cache_hit: DEARER * rates.cache_hit,
                cache_miss: DEARER * rates.cache_miss,
                output: DEARER * rates.output,
            };
            let bill = world.hosts[1].only().bill.expect("it answered");
            assert_eq!(
                (bill.reasoning, bill.visible),
                (4, 5),
                "only what was missing"
            );
            assert_eq!(rows[1].cost, Some(bill.cost(dear)), "{shown}");
            let costs: Vec<i128> = rows.iter().map(|row| row.cost.expect("a price")).collect();
            assert!(costs[0] > 0, "{shown}");
            assert_eq!(answer.cost(), Some(costs.iter().sum()), "{shown}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_ones_own_is_asked_to_continue_the_last_message() {
    for surface in Surface::CONVERSATIONS {
        let second = Upstream::start().await;
        let host =
            MockHost::new("second", &second).quirk("continues", "\"continue_final_message\"");
        let world = World::new(End::CutAfter(7), vec![host], vec![second]).await;
        let said = surface.read(&world.ask(surface).await);
        assert_eq!((said.text, said.error), (words(4..12), None));
        let asked = world.asked(1);
        assert_eq!(asked["continue_final_message"], true, "{asked}");
        assert_eq!(asked["add_generation_prompt"], false, "{asked}");
        let begun = &asked["messages"][1];
        assert_eq!(begun["content"], words(4..7), "{asked}");
        assert_eq!(begun.get("prefix"), None, "{asked}");
        assert_eq!(world.hosts[1].only().path, "/v1/chat/completions");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_host_goes_on_where_the_second_breaks_off_as_well() {
    for surface in Surface::CONVERSATIONS {
        let second = Upstream::start_with(Script::ending(End::CutAfter(9))).await;
        let third = Upstream::start().await;
        let others = vec![
            MockHost::new("second", &second).going_on(),
            MockHost::new("third", &third).going_on(),
        ];
        let world = World::new(End::CutAfter(7), others, vec![second, third]).await;
        let answer = world.ask(surface).await;
        let said = surface.read(&answer);
        assert_eq!(
            (&said.text, &said.error),
            (&words(4..12), &None),
            "{}",
            answer.text
        );
        assert_eq!(world.asked(2)["messages"][1]["content"], words(4..9));
        let rows = world.rows(3).await;
        let outcomes: Vec<&str> = rows.iter().map(|row| row.outcome.as_str()).collect();
        assert_eq!(outcomes, ["cut", "cut", "answered"]);
        let cost = rows.iter().map(|row| row.cost.expect("a price")).sum();
        assert_eq!(answer.cost(), Some(cost));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_cannot_go_on_is_passed_over() {
    for surface in Surface::CONVERSATIONS {
        let (second, third) = (Upstream::start().await, Upstream::start().await);
        let others = vec![
            MockHost::new("second", &second),
            MockHost::new("third", &third).going_on(),
        ];
        let world = World::new(End::CutAfter(7), others, vec![second, third]).await;
        let said = surface.read(&world.ask(surface).await);
        assert_eq!((said.text, said.error), (words(4..12), None));
        assert_eq!((world.hosts[1].count(), world.hosts[2].count()), (0, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_refuses_to_go_on_makes_way_for_the_next() {
    for surface in Surface::CONVERSATIONS {
        let second = Upstream::start_with(Script::status(503, "overloaded")).await;
        let third = Upstream::start().await;
        let others = vec![
            MockHost::new("second", &second).going_on(),
            MockHost::new("third", &third).going_on(),
        ];
        let world = World::new(End::CutAfter(7), others, vec![second, third]).await;
        let answer = world.ask(surface).await;
        let said = surface.read(&answer);
        assert_eq!((said.text, said.error), (words(4..12), None));
        let rows = world.rows(3).await;
        let outcomes: Vec<&str> = rows.iter().map(|row| row.outcome.as_str()).collect();
        assert_eq!(outcomes, ["cut", "refused", "answered"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_only_thinking_was_told_any_host_may_answer_anew() {
    for surface in Surface::CONVERSATIONS {
        let second = Upstream::start().await;
        let host = MockHost::new("second", &second);
        let world = World::new(End::CutAfter(2), vec![host], vec![second]).await;
        let answer = world.ask(surface).await;
        let said = surface.read(&answer);
        assert_eq!(
            (&said.text, &said.error),
            (&words(4..12), &None),
            "{}",
            answer.text
        );
        assert!(said.thinking.ends_with(&words(0..4)), "{}", answer.text);
        let asked = world.asked(1);
        assert_eq!(
            asked["messages"].as_array().map(Vec::len),
            Some(1),
            "{asked}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_host_goes_on_the_stream_ends_in_an_error() {
    for end in ENDS {
        for surface in Surface::CONVERSATIONS {
            let second = Upstream::start().await;
            let host = MockHost::new("second", &second);
            let world = World::new(end, vec![host], vec![second]).await;
            let answer = world.ask(surface).await;
            broke_off(&surface.read(&answer), &answer);
            assert_eq!(world.hosts[1].count(), 0);
            let row = &world.rows(1).await[0];
            assert!(
                matches!(row.outcome.as_str(), "cut" | "timed_out"),
                "{row:?}"
            );
            assert!(row.cost.is_some_and(|cost| cost > 0), "{row:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_prompt_that_breaks_off_ends_in_an_error() {
    for end in ENDS {
        let first = Upstream::start_with(Script::ending(end)).await;
        let second = Upstream::start().await;
        let gateway = Setup::default()
            .limit("idle_timeout", "\"500ms\"")
            .host(MockHost::new("first", &first).completing())
            .host(
                MockHost::new("second", &second)
                    .completing()
                    .going_on()
                    .dearer(3),
            )
            .start()
            .await;
        let surface = Surface::Completions;
        let answer = gateway.caller().await;
        let answer = answer.ask_at(surface.path(), &surface.streamed()).await;
        let said = surface.read(&answer);
        assert_eq!(said.text, words(0..7), "{end:?}: {}", answer.text);
        assert!(said.error.is_some(), "{end:?}: {}", answer.text);
        assert_eq!(second.count(), 0, "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_breaks_off_is_never_gone_on_with() {
    for surface in Surface::CONVERSATIONS {
        let script = Script {
            end: End::InsideACall,
            ..Script::calling("call_1", "look_up", r#"{"name":"tollgate"}"#)
        };
        let second = Upstream::start().await;
        let host = MockHost::new("second", &second).going_on();
        let world = World::with(Setup::default(), script, vec![host], vec![second]).await;
        let question = surface.with_tools(surface.streamed());
        let answer = world.caller.ask_at(surface.path(), &question).await;
        let said = surface.read(&answer);
        assert!(
            said.error.is_some() && said.finish.is_empty(),
            "{}",
            answer.text
        );
        let arguments = said.calls.first().map(|call| call.arguments.as_str());
        assert!(
            arguments.is_none_or(|text| serde_json::from_str::<Value>(text).is_err()),
            "half a call looks whole: {}",
            answer.text
        );
        assert_eq!(world.hosts[1].count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_answers_at_once_are_never_gone_on_with() {
    let world = World::continued(End::CutAfter(7)).await;
    for tools in [false, true] {
        let mut question = Surface::Chat.streamed();
        question["n"] = json!(2);
        if tools {
            question = Surface::Chat.with_tools(question);
        }
        let answer = world.caller.ask(&question).await;
        let events = answer.events();
        assert!(!events.done, "{}", answer.text);
        let last = events.data.last().expect("an event");
        assert!(last["error"]["message"].is_string(), "{}", answer.text);
    }
    assert_eq!(world.hosts[1].count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_long_to_be_remembered_is_not_gone_on_with() {
    let second = Upstream::start().await;
    let host = MockHost::new("second", &second).going_on();
    let setup = Setup::default().limit("resume_bytes", "600");
    let script = Script::ending(End::CutAfter(7));
    let world = World::with(setup, script, vec![host], vec![second]).await;
    let answer = world.ask(Surface::Chat).await;
    broke_off(&Surface::Chat.read(&answer), &answer);
    assert_eq!(world.hosts[1].count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_its_attempts_are_used_up_a_stream_ends_in_an_error() {
    for attempts in ["1", "2"] {
        for surface in Surface::CONVERSATIONS {
            // It adds nothing of its own: four events of thinking, then the end.
            let second = Upstream::start_with(Script::ending(End::CutAfter(7))).await;
            let third = Upstream::start().await;
            let others = vec![
                MockHost::new("second", &second).going_on(),
                MockHost::new("third", &third).going_on(),
            ];
            let setup = Setup::default().limit("attempts", attempts);
            let script = Script::ending(End::CutAfter(7));
            let world = World::with(setup, script, others, vec![second, third]).await;
            let answer = world.ask(surface).await;
            broke_off(&surface.read(&answer), &answer);
            let asked: usize = world.hosts.iter().map(Upstream::count).sum();
            assert_eq!(asked.to_string(), attempts, "{surface:?}");
            world.rows(asked).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tagged_answer_is_gone_on_with_only_where_the_tag_holds() {
    for surface in Surface::CONVERSATIONS {
        for certified in [false, true] {
            let (second, third) = (Upstream::start().await, Upstream::start().await);
            let last = MockHost::new("third", &third).going_on();
            let last = if certified {
                last.certified("eu")
            } else {
                last
            };
            let others = vec![MockHost::new("second", &second).going_on(), last];
            let world = World::new(End::CutAfter(7), others, vec![second, third]).await;
            let caller = world.caller.clone().with("x-tollgate-tags", "eu");
            let answer = caller.ask_at(surface.path(), &surface.streamed()).await;
            let said = surface.read(&answer);
            assert_eq!(world.hosts[1].count(), 0, "an uncertified host was asked");
            if certified {
                assert_eq!((said.text, said.error), (words(4..12), None));
            } else {
                broke_off(&said, &answer);
                assert_eq!(world.hosts[2].count(), 0, "an uncertified host was asked");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_response_holds_the_whole_of_an_answer_in_two_parts() {
    let world = World::continued(End::CutAfter(7)).await;
    let answer = world.ask(Surface::Responses).await;
    let told = Surface::Responses.read(&answer);
    let kept = world
        .caller
        .get(&format!("/v1/responses/{}", told.id))
        .await;
    let kept = Surface::Responses.read(&kept);
    assert_eq!((kept.text, kept.thinking), (words(4..12), words(0..4)));
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_shipped_catalog_deepseek_goes_on_for_a_host_that_cannot() {
    for surface in Surface::CONVERSATIONS {
        let (together, deepseek) = (
            Upstream::start_with(Script {
                thinking_as: "reasoning",
                ..Script::ending(End::CutAfter(7))
            })
            .await,
            Upstream::start().await,
        );
        // Peak hours in Beijing: of this model DeepSeek is the dearer seller.
        let gateway = Setup::default()
            .clock("2026-11-24T02:00:00Z")
            .shipped("together", &together.base_url())
            .shipped("deepseek", &deepseek.base_url())
            .start()
            .await;
        let mut question = surface.question_to("deepseek-v4-flash");
        question["stream"] = json!(true);
        let caller = gateway.caller().await;
        let answer = caller.ask_at(surface.path(), &question).await;
        let said = surface.read(&answer);
        assert_eq!(
            (said.text, said.thinking, said.error),
            (words(4..12), words(0..4), None)
        );
        let asked = deepseek.only();
        assert_eq!(
            (together.count(), asked.path.as_str()),
            (1, "/beta/chat/completions")
        );
        // Without tools thinking does not go back.
        let begun = json!({"role": "assistant", "content": words(4..7), "prefix": true});
        assert_eq!(asked.json()["messages"][1], begun);
    }
}
