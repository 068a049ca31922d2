//! Answers that are kept, and what their endpoints say.

use serde_json::json;

use super::adding::added_up;
use super::*;
use crate::chat::{Event, Finish, Part, Reply, Turn};

#[test]
fn a_plain_answer_is_what_the_stream_ends_with_and_is_kept_with_its_turns() {
    let events = [
        Event::Begin { id: Some("host-1") },
        Event::Reasoning {
            choice: 0,
            text: "hm",
        },
        Event::Text {
            choice: 0,
            text: "yes",
        },
        Event::Finish {
            choice: 0,
            reason: Finish::Stop,
        },
        usage(),
    ];
    let body = plain();
    let (request, conversation) = understood(&body);
    let reply = spoken(&events);
    let whole = whole(&request, &conversation, id(), &reply);
    let (_, last) = added_up(&told(&body, &events));
    let object: Value = serde_json::from_slice(&whole).expect("JSON");
    assert_eq!(object, last);
    golden(
        "whole.json",
        &format!("{}\n", String::from_utf8_lossy(&whole)),
    );

    let kept = stored(&request, &conversation, id(), &reply);
    assert_eq!(kept.id, "resp_01a20dbd00007000800000000000002a");
    assert_eq!(kept.body, whole);
    assert_eq!(kept.turns.len(), 2, "instructions are not kept");
    assert_eq!(kept.turns[0], Turn::user("hi"));
    assert!(matches!(&kept.turns[1], Turn::Assistant(said) if said.text == "yes"));
    let text = serde_json::to_string(&kept.turns).expect("turns are JSON");
    assert_eq!(
        serde_json::from_str::<Vec<Turn>>(&text).expect("turns"),
        kept.turns
    );

    assert_eq!(retrieved(&kept, false).expect("the answer"), kept.body);
    assert_eq!(
        retrieved(&kept, true).expect_err("events").field.as_deref(),
        Some("stream")
    );
    assert_eq!(unknown("resp_x").code, Code::NotFound);
    assert_eq!(cancelled("resp_x").code, Code::InvalidRequest);
    let gone: Value = serde_json::from_slice(&deleted(&kept.id)).expect("JSON");
    assert_eq!(
        gone,
        json!({"id": kept.id, "object": "response", "deleted": true})
    );
}

#[test]
fn the_input_of_a_kept_answer_is_listed_in_pages() {
    let mut body: Value =
        serde_json::from_str(include_str!("golden/codex.request.json")).expect("JSON");
    let more = json!([
        {"type": "custom_tool_call", "call_id": "c9", "name": "apply_patch", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c9", "output": "ok"},
        {"role": "assistant", "content": "there"},
        {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,aGk="}]},
    ]);
    let input = body["input"].as_array_mut().expect("items");
    input.extend(more.as_array().expect("items").iter().cloned());
    let (request, conversation) = understood(&body);
    let kept = stored(&request, &conversation, id(), &Reply::default());
    let list = |listing: Listing| -> Value {
        serde_json::from_slice(&input_items(&kept, &listing).expect("a list")).expect("JSON")
    };
    let up = |after: Option<String>, limit| Listing {
        after,
        limit: Some(limit),
        order: Some("asc".into()),
    };
    let all = list(up(None, 100));
    let kinds: Vec<&str> = all["data"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| item["type"].as_str().expect("a type"))
        .collect();
    assert_eq!(
        kinds,
        [
            "message",
            "message",
            "reasoning",
            "function_call",
            "function_call",
            "function_call_output",
            "function_call_output",
            "custom_tool_call",
            "custom_tool_call_output",
            "message",
            "message"
        ]
    );
    assert_eq!(all["data"][4]["namespace"], "multi_agent_v1");
    golden("input_items.json", &format!("{all}\n"));

    let mut paged = Vec::new();
    let mut after = None;
    loop {
        let page = list(up(after, 3));
        paged.extend(page["data"].as_array().expect("items").iter().cloned());
        if page["has_more"] == false {
            break;
        }
        after = Some(page["last_id"].as_str().expect("an id").to_owned());
    }
    assert_eq!(json!(paged), all["data"]);
    let down = list(Listing::default());
    assert_eq!(down["first_id"], all["last_id"]);
    for (listing, field) in [
        (
            Listing {
                limit: Some(0),
                ..Listing::default()
            },
            "limit",
        ),
        (
            Listing {
                order: Some("up".into()),
                ..Listing::default()
            },
            "order",
        ),
        (
            Listing {
                after: Some("msg_x".into()),
                ..Listing::default()
            },
            "after",
        ),
    ] {
        let refusal = input_items(&kept, &listing).expect_err("a mistake");
        assert_eq!(refusal.field.as_deref(), Some(field));
    }
}

#[test]
fn parts_of_a_result_come_back_as_they_were() {
    let parts = vec![Part::Text("a".into()), Part::Text("b".into())];
    let kept = Stored {
        id: "resp_1".into(),
        turns: vec![
            Turn::Result {
                call: "c".into(),
                parts,
                failed: false,
            },
            Turn::Assistant(crate::chat::Said::default()),
        ],
        body: Bytes::from_static(b"{}"),
    };
    let list = input_items(&kept, &Listing::default()).expect("a list");
    let list: Value = serde_json::from_slice(&list).expect("JSON");
    assert_eq!(
        list["data"][0]["output"],
        json!([{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}])
    );
}
