use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::chat::{Call, Tokens};

/// A stream with everything that hosts do: keep-alives, filter frames, reasoning under both names,
/// calls that interleave, ids that are missing, usage after the finish.
const STREAM: &str = concat!(
    ": alive\n\n",
    "data: {\"choices\":[],\"prompt_filter_results\":[{}]}\n\n",
    "data: {\"id\":\"c-1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"reasoning_content\":\"\"},\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"id\":\"c-1\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"h\\u00e9 \"}}]}\n\n",
    "data: {\"id\":\"c-1\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning\":\"\\ud83d\\ude00\"}}]}\r\n\r\n",
    "data: {\"id\":\"c-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"say \\\"x\\\"\"}}]}\n\n",
    "data: {\"id\":\"c-1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_a\",\"type\":\"function\",\"function\":{\"name\":\"look\",\"arguments\":\"\"}}]}}]}\n\n",
    "data: {\"id\":\"c-1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"id\":\"call_a\",\"function\":{\"name\":\"wait\",\"arguments\":\"{\"}}]}}]}\n\n",
    "data: {\"id\":\"c-1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\\":\"}},{\"index\":1,\"function\":{\"arguments\":\"}\"}}]}}]}\n\n",
    "data: {\"id\":\"c-1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"1}\"}}]}}]}\n\n",
    "data: {\"id\":\"c-1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"id\":\"c-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5,\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n",
    "data: [DONE]\n\n",
);

fn hear(stream: &[u8], cuts: &[usize]) -> (Reply, Report) {
    let mut hearing = Hearing::new();
    let mut reply = Reply::default();
    let mut start = 0;
    for &cut in cuts.iter().chain([&stream.len()]) {
        let cut = cut.clamp(start, stream.len());
        hearing.take(Bytes::copy_from_slice(&stream[start..cut]), &mut |event| {
            reply.hear(event)
        });
        start = cut;
    }
    hearing.end(&mut |event| reply.hear(event));
    (reply, hearing.report().clone())
}

#[test]
fn a_stream_of_every_oddity_is_one_answer() {
    let (reply, report) = hear(STREAM.as_bytes(), &[]);
    assert_eq!(reply.id.as_deref(), None, "the first chunk has none");
    let choice = &reply.choices[0];
    assert_eq!(choice.said.reasoning.as_deref(), Some("h\u{e9} \u{1f600}"));
    assert_eq!(choice.said.text, "say \"x\"");
    assert_eq!(
        choice.said.calls[0],
        Call {
            id: "call_a".into(),
            name: "look".into(),
            arguments: "{\"a\":1}".into()
        }
    );
    let second = &choice.said.calls[1];
    assert_eq!(
        (second.name.as_str(), second.arguments.as_str()),
        ("wait", "{}")
    );
    assert!(
        second.id.starts_with("call_") && second.id != "call_a",
        "{}",
        second.id
    );
    assert_eq!(
        choice.finish,
        Some(Finish::ToolCalls),
        "calls decide, not the word stop"
    );
    assert_eq!(
        reply.usage.map(|usage| usage.cache_hit),
        Some(Tokens::new(4))
    );
    assert!(report.done && report.complete());
}

#[test]
fn a_plain_answer_is_heard_as_its_stream_would_be() {
    let body = json!({"id":"c-1","choices":[{"index":0,"message":{"role":"assistant","reasoning":"hm","content":null,
        "tool_calls":[{"id":"t1","type":"function","function":{"name":"look","arguments":"{\"a\":1}"}},
                      {"type":"function","function":{"name":"look","arguments":{"a":2}}}]},
        "finish_reason":"tool_calls"}],"usage":{"prompt_tokens":3,"completion_tokens":2}});
    let reply = heard(body.to_string().as_bytes()).expect("an answer");
    let said = &reply.choices[0].said;
    assert_eq!(
        (said.reasoning.as_deref(), said.text.as_str()),
        (Some("hm"), "")
    );
    assert_eq!(said.calls.len(), 2);
    assert_eq!(said.calls[0].id, "t1");
    assert_eq!(said.calls[1].arguments, "{\"a\":2}");
    assert!(said.calls[1].id.starts_with("call_"));
    assert!(heard(b"{\"object\":\"list\"}").is_none());
}

#[test]
fn arguments_that_come_before_the_name_are_not_lost() {
    let stream = concat!(
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\\"\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"look\",\"arguments\":\":1}\"}}]}}]}\n\n",
    );
    let (reply, _) = hear(stream.as_bytes(), &[]);
    let call = &reply.choices[0].said.calls[0];
    assert_eq!(
        (call.name.as_str(), call.arguments.as_str()),
        ("look", "{\"a\":1}")
    );
}

#[test]
fn an_error_in_the_stream_ends_it_and_is_no_finish() {
    let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"error\":{\"message\":\"boom\"}}\n\ndata: [DONE]\n\n";
    let (reply, report) = hear(stream.as_bytes(), &[]);
    assert_eq!(report.error.as_deref(), Some("boom"));
    assert!(!report.complete());
    assert_eq!(reply.choices[0].finish, None);
    let gave_up = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"insufficient_system_resource\"}]}\n\n";
    let (reply, report) = hear(gave_up.as_bytes(), &[]);
    assert!(!report.complete());
    assert!(reply.choices.is_empty(), "nothing was told");
}

proptest! {
    #[test]
    fn any_split_is_heard_the_same(
        cuts in proptest::collection::vec(0..STREAM.len(), 0..20),
        ends in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
    ) {
        let stream = STREAM.replace("\r\n", "\n").replace('\n', ends);
        let mut cuts = cuts;
        cuts.sort_unstable();
        let (mut cut, cut_report) = hear(stream.as_bytes(), &cuts);
        let (mut whole, report) = hear(stream.as_bytes(), &[]);
        // The second call's id is minted each time.
        cut.choices[0].said.calls[1].id.clear();
        whole.choices[0].said.calls[1].id.clear();
        prop_assert_eq!(cut, whole);
        prop_assert_eq!(cut_report, report);
    }

    #[test]
    fn whatever_a_host_sends_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = hear(&bytes, &[3, 50]);
        let _ = heard(&bytes);
    }
}
