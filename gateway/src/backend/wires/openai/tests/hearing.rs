//! What is heard of streams as hosts send them, wherever they are cut.

use bytes::Bytes;
use proptest::prelude::*;

use super::super::*;
use crate::backend::wires::Decoder as _;
use crate::chat::{Event, Reply, Tokens};

/// Events as text, one a line, so that they outlive what they borrow.
fn told(stream: &[u8], cuts: &[usize]) -> (Vec<String>, Report) {
    let mut hearing = Hearing::seeded(7);
    let mut lines = Vec::new();
    let mut note = |event: Event<'_>| lines.push(format!("{event:?}"));
    let mut start = 0;
    for &cut in cuts {
        let cut = cut.clamp(start, stream.len());
        hearing.take(Bytes::copy_from_slice(&stream[start..cut]), &mut note);
        start = cut;
    }
    hearing.take(Bytes::copy_from_slice(&stream[start..]), &mut note);
    hearing.end(&mut note);
    let report = hearing.report().clone();
    (lines, report)
}

fn replied(stream: &str) -> (Reply, Report) {
    let mut hearing = Hearing::seeded(7);
    let mut reply = Reply::default();
    hearing.take(Bytes::from(stream.to_owned()), &mut |event| {
        reply.hear(event);
    });
    hearing.end(&mut |event| reply.hear(event));
    (reply, hearing.report().clone())
}

/// `chunks` as a stream.
fn stream(chunks: &[&str]) -> String {
    chunks
        .iter()
        .map(|chunk| format!("data: {chunk}\n\n"))
        .collect()
}

/// As DeepSeek streams: keep-alives, thinking first, usage on the chunk that finishes.
const DEEPSEEK: &str = concat!(
    ": keep-alive\n\n",
    "data: {\"id\":\"d-1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"d-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":null,\"reasoning_content\":\"Caf\\u00e9 \\ud83d\\ude00?\"}}]}\n\n",
    "data: {\"id\":\"d-1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_0\",\"type\":\"function\",\"function\":{\"name\":\"weather\",\"arguments\":\"\"}}]}}]}\n\n",
    "data: {\"id\":\"d-1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"city\\\": \\\"\"}}]}}]}\n\n",
    ": keep-alive\n\n",
    "data: {\"id\":\"d-1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"tides\",\"arguments\":\"{\"}},{\"index\":0,\"function\":{\"arguments\":\"\u{d6}slo\\\"}\"}}]}}]}\n\n",
    "data: {\"id\":\"d-1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"}\"}}]}}]}\n\n",
    "data: {\"id\":\"d-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5,\"prompt_cache_hit_tokens\":4,\"prompt_cache_miss_tokens\":5}}\n\n",
    "data: [DONE]\n\n",
);

/// As Azure streams: a frame of filter results first, annotations in the middle, usage at the end.
const AZURE: &str = concat!(
    "data: {\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"object\":\"\",\"prompt_filter_results\":[{\"prompt_index\":0,\"content_filter_results\":{\"hate\":{\"filtered\":false}}}]}\r\n\r\n",
    "data: {\"choices\":[{\"content_filter_results\":{},\"delta\":{\"content\":\"\",\"refusal\":null,\"role\":\"assistant\"},\"finish_reason\":null,\"index\":0,\"logprobs\":null}],\"id\":\"a-1\",\"usage\":null}\r\n\r\n",
    "data: {\"choices\":[{\"content_filter_results\":{},\"delta\":{\"content\":\"A block of text.\"},\"finish_reason\":null,\"index\":0}],\"id\":\"a-1\",\"usage\":null}\r\n\r\n",
    "data: {\"choices\":[{\"content_filter_offsets\":{\"check_offset\":1},\"content_filter_results\":{\"hate\":{\"filtered\":false}},\"finish_reason\":null,\"index\":0}],\"id\":\"\",\"usage\":null}\r\n\r\n",
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"content_filter\",\"index\":0}],\"id\":\"a-1\",\"usage\":null}\r\n\r\n",
    "data: {\"choices\":[],\"id\":\"a-1\",\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":7,\"completion_tokens_details\":{\"reasoning_tokens\":2}}}\r\n\r\n",
    "data: [DONE]\r\n\r\n",
);

/// As newer vLLM streams: `reasoning`, usage that grows on every chunk, two choices, `stop` after
/// calls.
const VLLM: &str = concat!(
    "data: {\"id\":\"v-1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}},{\"index\":1,\"delta\":{\"role\":\"assistant\"}}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":0}}\n\n",
    "data: {\"id\":\"v-1\",\"choices\":[{\"index\":1,\"delta\":{\"reasoning\":\"other\",\"reasoning_content\":\"other\"}}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n",
    "data: {\"id\":\"v-1\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning\":\"one\"}}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n",
    "data: {\"id\":\"v-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Yes\"},\"logprobs\":{\"content\":[{\"token\":\"Yes\",\"logprob\":-0.1,\"bytes\":[89],\"top_logprobs\":[]}]}}]}\n\n",
    "data: {\"id\":\"v-1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"function\":{\"name\":\"weather\"}}]}}]}\n\n",
    "data: {\"id\":\"v-1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"function\":{\"arguments\":\"{}\"}}]}}]}\n\n",
    "data: {\"id\":\"v-1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\",\"stop_reason\":null},{\"index\":1,\"delta\":{},\"finish_reason\":\"length\"}]}\n\n",
    "data: {\"id\":\"v-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":8}}\n\n",
    "data: [DONE]\n\n",
);

proptest! {
    #[test]
    fn any_split_of_a_stream_gives_the_same_events(
        recorded in prop_oneof![Just(DEEPSEEK), Just(AZURE), Just(VLLM)],
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..16),
        ends in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
        closed in any::<bool>(),
    ) {
        let mut stream = recorded.replace("\r\n", "\n").replace('\n', ends);
        if !closed {
            stream.truncate(stream.len() - 2 * ends.len());
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        cuts.sort_unstable();
        let whole = told(recorded.as_bytes(), &[]);
        prop_assert_eq!(told(stream.as_bytes(), &cuts), whole);
    }

    #[test]
    fn no_bytes_upset_it(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        text in "(data: \\{\"(choices|id|error|usage)\":[\\[\\]{}:,\"0-9a-z\\\\]{0,20}\\}\n\n){0,3}",
    ) {
        told(&bytes, &[]);
        let (_, report) = told(text.as_bytes(), &[]);
        prop_assert!(!report.complete());
    }
}

#[test]
fn deepseek_is_heard() {
    let (events, report) = told(DEEPSEEK.as_bytes(), &[]);
    assert_eq!(
        events,
        [
            "Alive",
            "Begin { id: Some(\"d-1\") }",
            "Reasoning { choice: 0, text: \"Caf\u{e9} \u{1f600}?\" }",
            "Call { choice: 0, index: 0, id: \"call_0\", name: \"weather\" }",
            "Arguments { choice: 0, index: 0, piece: \"{\\\"city\\\": \\\"\" }",
            "Alive",
            "Call { choice: 0, index: 1, id: \"call_1\", name: \"tides\" }",
            "Arguments { choice: 0, index: 1, piece: \"{\" }",
            "Arguments { choice: 0, index: 0, piece: \"\u{d6}slo\\\"}\" }",
            "Arguments { choice: 0, index: 1, piece: \"}\" }",
            "Finish { choice: 0, reason: ToolCalls }",
            "Usage(Usage { cache_miss: Tokens(5), cache_hit: Tokens(4), cache_write: Tokens(0), reasoning: Tokens(0), visible: Tokens(5) })",
        ]
    );
    assert!(report.complete() && report.done);
    assert_eq!(report.host_request.as_deref(), Some("d-1"));
}

#[test]
fn azure_is_heard_without_its_filter_frames() {
    let (events, report) = told(AZURE.as_bytes(), &[]);
    assert_eq!(
        events,
        [
            "Begin { id: Some(\"a-1\") }",
            "Text { choice: 0, text: \"A block of text.\" }",
            "Finish { choice: 0, reason: ContentFilter }",
            "Usage(Usage { cache_miss: Tokens(10), cache_hit: Tokens(0), cache_write: Tokens(0), reasoning: Tokens(2), visible: Tokens(5) })",
        ]
    );
    assert_eq!(report.finish, Some(Finish::ContentFilter));
}

#[test]
fn vllm_is_heard_choice_by_choice_and_its_last_usage_stands() {
    let (reply, report) = replied(VLLM);
    let [first, second] = reply.choices.as_slice() else {
        panic!("two choices");
    };
    assert_eq!(first.said.reasoning.as_deref(), Some("one"));
    assert_eq!(first.said.text, "Yes");
    assert_eq!(first.said.calls[0].name, "weather");
    assert_eq!(first.said.calls[0].arguments, "{}");
    assert!(first.said.calls[0].id.starts_with("call_"), "minted");
    assert_eq!(first.logprobs.len(), 1);
    // `stop` after a call means the call.
    assert_eq!(first.finish, Some(Finish::ToolCalls));
    // Said under two names, heard once.
    assert_eq!(second.said.reasoning.as_deref(), Some("other"));
    assert_eq!(second.finish, Some(Finish::Length));
    assert_eq!(
        report.usage.map(|usage| usage.output()),
        Some(Tokens::new(8))
    );
    assert_eq!(reply.usage, report.usage);
}

fn calls(pieces: &[&str]) -> Vec<(String, String, String)> {
    let mut chunks: Vec<String> = pieces
        .iter()
        .map(|piece| format!("{{\"choices\":[{{\"delta\":{{\"tool_calls\":{piece}}}}}]}}"))
        .collect();
    chunks.push("{\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}".to_owned());
    let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
    let (reply, report) = replied(&stream(&chunks));
    assert_eq!(report.error, None);
    reply.choices[0]
        .said
        .calls
        .iter()
        .map(|call| (call.id.clone(), call.name.clone(), call.arguments.clone()))
        .collect()
}

fn call(id: &str, name: &str, arguments: &str) -> (String, String, String) {
    (id.to_owned(), name.to_owned(), arguments.to_owned())
}

#[test]
fn calls_are_told_apart_however_a_host_names_them() {
    // One number for all: another id with a name is another call.
    assert_eq!(
        calls(&[
            r#"[{"index":0,"id":"a","function":{"name":"f","arguments":"{1"}}]"#,
            r#"[{"index":0,"id":"b","function":{"name":"g","arguments":"{2"}}]"#,
            r#"[{"index":0,"function":{"arguments":"}"}}]"#,
        ]),
        [call("a", "f", "{1"), call("b", "g", "{2}")]
    );
    // No numbers: ids tell.
    assert_eq!(
        calls(&[
            r#"[{"id":"a","function":{"name":"f","arguments":"{"}}]"#,
            r#"[{"id":"b","function":{"name":"g","arguments":"{"}}]"#,
            r#"[{"id":"a","function":{"arguments":"}"}}]"#,
            r#"[{"id":"b","function":{"arguments":"}"}}]"#,
        ]),
        [call("a", "f", "{}"), call("b", "g", "{}")]
    );
    // The name again on each piece, the id too.
    assert_eq!(
        calls(&[
            r#"[{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}]"#,
            r#"[{"index":0,"id":"a","function":{"name":"f","arguments":"}"}}]"#,
        ]),
        [call("a", "f", "{}")]
    );
    // The name late: what came before it is not lost.
    assert_eq!(
        calls(&[
            r#"[{"index":3,"id":"a"}]"#,
            r#"[{"index":3,"function":{"arguments":"{\"x\""}}]"#,
            r#"[{"index":3,"function":{"name":"f","arguments":":1}"}}]"#,
        ]),
        [call("a", "f", "{\"x\":1}")]
    );
    // Arguments as JSON, not as text.
    assert_eq!(
        calls(&[r#"[{"index":0,"id":"a","function":{"name":"f","arguments":{"x": [1]}}}]"#]),
        [call("a", "f", r#"{"x": [1]}"#)]
    );
}

#[test]
fn ids_are_minted_only_where_they_are_missing_or_repeated() {
    let calls = calls(&[
        r#"[{"index":0,"id":"same","function":{"name":"f","arguments":"{}"}}]"#,
        r#"[{"index":1,"id":"same","function":{"name":"g","arguments":"{}"}}]"#,
        r#"[{"index":2,"function":{"name":"h","arguments":"{}"}}]"#,
    ]);
    assert_eq!(calls[0].0, "same");
    assert!(calls[1].0.starts_with("call_") && calls[2].0.starts_with("call_"));
    assert_ne!(calls[1].0, calls[2].0);
}

#[test]
fn nothing_of_a_choice_is_heard_behind_its_finish() {
    let (reply, report) = replied(&stream(&[
        r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"length"},{"index":1,"delta":{"content":"b"}}]}"#,
        r#"{"choices":[{"delta":{"content":"late"},"finish_reason":"stop"},{"index":1,"delta":{"content":"c"}}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":3}}"#,
    ]));
    assert_eq!(reply.choices[0].said.text, "a");
    assert_eq!(reply.choices[0].finish, Some(Finish::Length));
    assert_eq!(reply.choices[1].said.text, "bc");
    assert!(report.usage.is_some());
}

#[test]
fn an_error_ends_it_however_it_is_wrapped() {
    for (chunk, words) in [
        (r#"{"error":{"message":"boom","code":500}}"#, "boom"),
        (
            r#"[{"error":{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED"}}]"#,
            "quota",
        ),
        (
            r#"{"object":"error","message":"no memory","code":500}"#,
            "no memory",
        ),
        (r#"{"choices":[{"delta":{"content":"half"#, "no JSON"),
        ("<html>", "no JSON"),
    ] {
        let (_, report) = replied(&stream(&[
            r#"{"id":"x","choices":[{"delta":{"content":"so far"}}]}"#,
            chunk,
            "[DONE]",
        ]));
        let error = report.error.clone().expect("an error");
        assert!(error.contains(words), "{error}");
        assert!(!report.complete());
    }
}

#[test]
fn halves_of_a_character_do_not_lose_what_stands_beside_them() {
    let (reply, report) = replied(&stream(&[
        r#"{"choices":[{"delta":{"content":"ok \ud83d"}}]}"#,
        r#"{"choices":[{"delta":{"content":"\ude00 \\ud83d \ud83d\ude00"},"finish_reason":"stop"}]}"#,
    ]));
    assert_eq!(
        reply.choices[0].said.text,
        "ok \u{fffd}\u{fffd} \\ud83d \u{1f600}"
    );
    assert!(report.complete());
}

#[test]
fn a_plain_answer_is_heard_whole() {
    let body = br#"

    {"id":"p-1","object":"chat.completion","choices":[{"index":0,"finish_reason":"stop",
      "message":{"role":"assistant","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}],
        "reasoning_details":[{"type":"reasoning.text","text":"hm"}],
        "tool_calls":[{"id":"t","type":"function","function":{"name":"f","arguments":"{}"}}],
        "function_call":{"name":"old","arguments":"{}"}},
      "logprobs":{"tokens":["a"],"token_logprobs":[-0.5],"top_logprobs":[{"a":-0.5,"b":-2}]}}],
     "usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
    let reply = heard(body).expect("an answer");
    let choice = &reply.choices[0];
    assert_eq!(choice.said.text, "ab");
    assert_eq!(choice.said.reasoning.as_deref(), Some("hm"));
    assert_eq!(choice.said.calls.len(), 1);
    assert_eq!(choice.finish, Some(Finish::ToolCalls));
    assert_eq!(
        choice.logprobs,
        [
            r#"{"content":[{"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[{"token":"a","logprob":-0.5,"bytes":[97]},{"token":"b","logprob":-2,"bytes":[98]}]}]}"#
        ]
    );
    assert_eq!(
        reply.usage.map(|usage| usage.output()),
        Some(Tokens::new(2))
    );
    let listed = br#"{"choices":[{"message":{"content":"x"},"logprobs":[[{"token":"x"}]]}]}"#;
    let reply = heard(listed).expect("an answer");
    assert!(reply.choices[0].logprobs.is_empty());
    assert_eq!(heard(br#"{"error":{"message":"no"}}"#), None);
    assert_eq!(heard(b"<html>"), None);
    assert_eq!(heard(br#"{"object":"list"}"#), None);
}

#[test]
fn thinking_gets_the_name_that_callers_know() {
    let chunk = r#"{"choices":[{"delta":{"reasoning":"\"reasoning\": hm","content":"x"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
    let mut sight = Sight::new(true, true);
    let out: Vec<u8> = sight
        .take(Bytes::from(stream(&[chunk])))
        .iter()
        .flat_map(|piece| piece.to_vec())
        .collect();
    assert_eq!(
        String::from_utf8(out).expect("text"),
        stream(&[
            r#"{"choices":[{"delta":{"reasoning_content":"\"reasoning\": hm","content":"x"}}],"usage":null}"#
        ])
    );
    assert_eq!(sight.report().reasoning_bytes, 17);
    // Where both names stand there already, a second of the same name would do harm.
    let both = r#"{"choices":[{"message":{"reasoning":"a","reasoning_content":"a"}}]}"#;
    assert_eq!(renamed(Bytes::from_static(both.as_bytes())), both);
    let one = r#"{"choices":[{"message":{"reasoning": null}}],"reasoning":{"effort":"high"}}"#;
    assert_eq!(
        renamed(Bytes::from_static(one.as_bytes())),
        r#"{"choices":[{"message":{"reasoning_content": null}}],"reasoning":{"effort":"high"}}"#
    );
}
