//! Streams, and the events that they become.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::super::eventstream::encode;
use super::*;
use crate::backend::wires::{Decoder, Report};
use crate::chat::{Conversation, Event, Tokens, Tool, Usage};

fn event(kind: &str, payload: &Value) -> Bytes {
    encode(
        &[
            (":event-type", kind),
            (":content-type", "application/json"),
            (":message-type", "event"),
        ],
        payload.to_string().as_bytes(),
    )
}

/// An answer that thinks, speaks and calls twice.
fn stream() -> Vec<Bytes> {
    [
        ("messageStart", json!({"role": "assistant", "p": "abcd"})),
        ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "Hm \"so\"."}}})),
        ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "c2ln"}}})),
        ("contentBlockStop", json!({"contentBlockIndex": 0})),
        ("contentBlockDelta", json!({"contentBlockIndex": 1, "delta": {"text": "Kaksi "}})),
        ("contentBlockDelta", json!({"contentBlockIndex": 1, "delta": {"text": "hä?"}})),
        ("contentBlockStop", json!({"contentBlockIndex": 1})),
        ("contentBlockStart", json!({"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "tooluse_a", "name": "get"}}})),
        ("contentBlockDelta", json!({"contentBlockIndex": 2, "delta": {"toolUse": {"input": "{\"a\":"}}})),
        ("contentBlockStart", json!({"contentBlockIndex": 3, "start": {"toolUse": {"toolUseId": "tooluse_a", "name": "get"}}})),
        ("contentBlockDelta", json!({"contentBlockIndex": 3, "delta": {"toolUse": {"input": "{}"}}})),
        ("contentBlockDelta", json!({"contentBlockIndex": 2, "delta": {"toolUse": {"input": "1}"}}})),
        ("contentBlockStop", json!({"contentBlockIndex": 2})),
        ("messageStop", json!({"stopReason": "tool_use"})),
        ("metadata", json!({
            "usage": {"inputTokens": 4, "outputTokens": 6, "totalTokens": 15, "cacheReadInputTokens": 3, "cacheWriteInputTokens": 2},
            "metrics": {"latencyMs": 12},
        })),
    ]
    .map(|(kind, payload)| event(kind, &payload))
    .into()
}

fn told(event: Event<'_>) -> String {
    format!("{event:?}")
}

fn hear_with(names: Names, chunks: &[Bytes]) -> (Vec<String>, Reply, Report) {
    let mut hearing = Hearing::new(names, Some("r-1".into()));
    let mut events = Vec::new();
    let mut reply = Reply::default();
    let mut heard = |event: Event<'_>| {
        events.push(told(event));
        reply.hear(event);
    };
    for chunk in chunks {
        hearing.take(chunk.clone(), &mut heard);
    }
    hearing.end(&mut heard);
    let report = hearing.report().clone();
    (events, reply, report)
}

fn hear(chunks: &[Bytes]) -> (Vec<String>, Reply, Report) {
    hear_with(Names::default(), chunks)
}

#[test]
fn a_stream_becomes_these_events() {
    let (events, reply, report) = hear(&stream());
    let usage = Usage {
        cache_miss: Tokens::new(4),
        cache_hit: Tokens::new(3),
        cache_write: Tokens::new(2),
        reasoning: Tokens::ZERO,
        visible: Tokens::new(6),
    };
    let call = |index, id: &'static str| Event::Call {
        choice: 0,
        index,
        id,
        name: "get",
    };
    let arguments = |index, piece: &'static str| Event::Arguments {
        choice: 0,
        index,
        piece,
    };
    let expected = [
        Event::Begin { id: Some("r-1") },
        Event::Alive,
        Event::Reasoning {
            choice: 0,
            text: "Hm \"so\".",
        },
        Event::Alive,
        Event::Text {
            choice: 0,
            text: "Kaksi ",
        },
        Event::Text {
            choice: 0,
            text: "hä?",
        },
        Event::Alive,
        call(0, "tooluse_a"),
        arguments(0, "{\"a\":"),
        // The host gave one id twice.
        call(1, "call_r-1_1"),
        arguments(1, "{}"),
        arguments(0, "1}"),
        Event::Alive,
        Event::Finish {
            choice: 0,
            reason: Finish::ToolCalls,
        },
        Event::Usage(usage),
    ];
    assert_eq!(events, expected.map(told));
    assert_eq!(reply.choices[0].said.text, "Kaksi hä?");
    assert_eq!(reply.choices[0].said.calls[0].arguments, "{\"a\":1}");
    assert_eq!(
        report,
        Report {
            usage: Some(usage),
            finish: Some(Finish::ToolCalls),
            done: true,
            events: 15,
            reasoning_bytes: 8,
            visible_bytes: 10 + 6 + 9,
            host_request: Some("r-1".into()),
            ..Report::default()
        }
    );
    assert!(report.complete());
}

/// `tests/python/test_bedrock_oracle.py` reads the same bytes with botocore.
#[test]
fn the_stream_is_the_one_that_botocore_reads() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/backend/wires/bedrock/goldens/stream.bin");
    assert_eq!(
        std::fs::read(path).expect("the golden stream"),
        stream().concat(),
        "goldens/stream.bin is not the stream above"
    );
}

#[test]
fn the_callers_name_comes_back() {
    let names = Names::of(&Conversation {
        tools: vec![Tool {
            name: "mcp.files/read".into(),
            description: None,
            parameters: None,
            strict: None,
        }],
        ..Conversation::default()
    });
    let sent = names::fitting("mcp.files/read").into_owned();
    let start =
        json!({"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "t", "name": sent}}});
    let (_, reply, _) = hear_with(names, &[event("contentBlockStart", &start)]);
    assert_eq!(reply.choices[0].said.calls[0].name, "mcp.files/read");
}

#[test]
fn a_failure_inside_the_stream_is_seen_and_nothing_is_heard_behind_it() {
    let mut chunks = stream();
    let exception = encode(
        &[
            (":exception-type", "throttlingException"),
            (":content-type", "application/json"),
            (":message-type", "exception"),
        ],
        br#"{"message":"Too many tokens"}"#,
    );
    chunks[5] = exception;
    let (events, _, report) = hear(&chunks);
    assert_eq!(events.len(), 5);
    assert_eq!(
        report.error.as_deref(),
        Some("throttlingException: Too many tokens")
    );
    assert!(!report.complete());
    let error = encode(
        &[
            (":error-code", "InternalError"),
            (":error-message", "boom"),
            (":message-type", "error"),
        ],
        b"",
    );
    let (_, _, report) = hear(&[error]);
    assert_eq!(report.error.as_deref(), Some("InternalError: boom"));
}

#[test]
fn a_stream_that_breaks_off_is_not_complete_and_a_damaged_one_is_an_error() {
    let (_, _, report) = hear(&stream()[..8]);
    assert!(!report.complete() && report.error.is_none());
    // Cut in the middle of its last message: the finish was heard, the usage was not.
    let mut whole = stream().concat();
    whole.truncate(whole.len() - 5);
    let (_, _, report) = hear(&[Bytes::from(whole.clone())]);
    assert!(report.complete() && !report.done && report.usage.is_none());
    whole[40] ^= 4;
    let (_, _, report) = hear(&[Bytes::from(whole)]);
    assert!(report.error.is_some_and(|error| error.contains("checksum")));
    let (_, _, report) = hear(&[event("messageStop", &json!([1]))]);
    assert!(report.error.is_some());
}

#[test]
fn nonsense_in_place_of_usage_is_kept_out_of_the_books() {
    let stop = event("messageStop", &json!({"stopReason": "end_turn"}));
    let usage = event(
        "metadata",
        &json!({"usage": {"inputTokens": -1, "outputTokens": 1}}),
    );
    let (_, _, report) = hear(&[stop.clone(), usage]);
    assert!(report.nonsense && report.usage.is_none() && report.done);
    let (_, _, report) = hear(&[stop, event("metadata", &json!({}))]);
    assert!(!report.nonsense && report.usage.is_none() && report.done);
}

#[test]
fn nothing_of_an_answer_is_heard_behind_its_end() {
    let stop = event("messageStop", &json!({"stopReason": "end_turn"}));
    let late = [
        event("contentBlockDelta", &json!({"delta": {"text": "more"}})),
        event(
            "contentBlockStart",
            &json!({"start": {"toolUse": {"toolUseId": "t", "name": "f"}}}),
        ),
        event("messageStop", &json!({"stopReason": "max_tokens"})),
    ];
    let once = hear(std::slice::from_ref(&stop));
    let again = hear(&[&[stop][..], &late].concat());
    assert_eq!(again.0, once.0);
    assert_eq!(again.2.finish, Some(Finish::Stop));
}

#[test]
fn a_call_of_no_name_is_a_failure() {
    let start = json!({"start": {"toolUse": {"toolUseId": "t"}}});
    let (_, reply, report) = hear(&[event("contentBlockStart", &start)]);
    assert!(report.error.is_some_and(|error| error.contains("naming")));
    assert!(reply.choices.is_empty());
}

proptest! {
    #[test]
    fn any_split_gives_the_same_events_and_the_same_report(
        mut cuts in proptest::collection::vec(0..2_500_usize, 0..20),
    ) {
        let whole = Bytes::from(stream().concat());
        cuts.retain(|cut| *cut <= whole.len());
        cuts.sort_unstable();
        let mut chunks = Vec::new();
        let mut start = 0;
        for cut in cuts.into_iter().chain([whole.len()]) {
            chunks.push(whole.slice(start..cut));
            start = cut;
        }
        prop_assert_eq!(hear(&chunks), hear(&[whole]));
    }

    #[test]
    fn events_of_any_json_are_heard_without_a_panic(
        kind in prop_oneof![Just("contentBlockStart"), Just("contentBlockDelta"), Just("messageStop"), Just("metadata"), Just("new")],
        payload in "[{}\\[\\]\":,a-z0-9-]{0,40}",
    ) {
        let message = encode(&[(":event-type", kind), (":message-type", "event")], payload.as_bytes());
        hear(&[message]);
    }
}
