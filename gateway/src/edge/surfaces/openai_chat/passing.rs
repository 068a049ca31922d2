//! A body that passes from this surface to a wire of the same dialect: what is edited on the way.

use serde_json::{Value, json};

use super::*;
use crate::backend::wires::{Asked, openai};
use crate::catalog::Quirks;

fn request(body: &Value) -> Request {
    read(Frames::from(Bytes::from(body.to_string()))).expect("a request")
}

fn sent(body: &Value, quirks: &Quirks, bound: Option<u64>) -> Value {
    let request = request(body);
    let asked = Asked {
        model: "host/model",
        quirks,
        stream: request.stream,
        bound: bound.map(Tokens::new),
        tenant: "t-1",
    };
    let outgoing = openai::passed(&request, asked).expect("the host can be asked");
    serde_json::from_slice(&outgoing.body.joined()).expect("still JSON")
}

#[test]
fn only_what_routing_needs_is_edited() {
    let body =
        json!({"messages":[{"role":"user","content":"hi \" there"}],"model":"m","x":{"y":[1]}});
    let mut expected = body.clone();
    expected["model"] = json!("host/model");
    assert_eq!(sent(&body, &Quirks::default(), None), expected);
}

#[test]
fn a_stream_is_always_asked_for_its_usage() {
    let body = json!({"model":"m","messages":[{}],"stream":true});
    let asked = sent(&body, &Quirks::default(), None);
    assert_eq!(asked["stream_options"], json!({"include_usage":true}));
    let body =
        json!({"model":"m","messages":[{}],"stream":true,"stream_options":{"include_usage":false}});
    let asked = sent(&body, &Quirks::default(), None);
    assert_eq!(asked["stream_options"], json!({"include_usage":true}));
    let quirks = Quirks {
        no_stream_options: true,
        ..Quirks::default()
    };
    let asked = sent(
        &json!({"model":"m","messages":[{}],"stream":true}),
        &quirks,
        None,
    );
    assert_eq!(asked.get("stream_options"), None);
}

#[test]
fn a_bound_is_set_where_the_caller_gave_none_and_renamed_where_the_host_wants() {
    let body = json!({"model":"m","messages":[{}]});
    assert_eq!(sent(&body, &Quirks::default(), Some(9))["max_tokens"], 9);
    let quirks = Quirks {
        max_tokens_field: Some("max_completion_tokens".into()),
        ..Quirks::default()
    };
    let body = json!({"model":"m","messages":[{}],"max_tokens":7});
    let asked = sent(&body, &quirks, Some(9));
    assert_eq!(asked["max_completion_tokens"], 7);
    assert_eq!(asked["max_tokens"], Value::Null);
    assert_eq!(sent(&body, &Quirks::default(), Some(9))["max_tokens"], 7);
}
