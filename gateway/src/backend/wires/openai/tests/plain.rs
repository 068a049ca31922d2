//! What a plain answer is taken for.

use serde_json::json;

use super::super::*;
use crate::chat::Tokens;

#[test]
fn a_plain_answer_is_told_from_what_is_none() {
    let answer = json!({"id":"c-1","choices":[{"finish_reason":"stop","message":{"content":"x"}}],
        "usage":{"prompt_tokens":10,"completion_tokens":4,"prompt_cache_hit_tokens":6,"prompt_cache_miss_tokens":4}});
    let body = format!("\n\n\n{answer}");
    let Plain::Answer {
        usage: Some(usage),
        finish: Some(Finish::Stop),
        ..
    } = plain(body.as_bytes())
    else {
        panic!("an answer");
    };
    assert_eq!(
        (usage.cache_hit, usage.cache_miss),
        (Tokens::new(6), Tokens::new(4))
    );
    assert_eq!(plain(b"<html>"), Plain::NotAnAnswer);
    assert_eq!(plain(b""), Plain::NotAnAnswer);
    assert_eq!(plain(b"{\"choices\":[{\"fin"), Plain::Truncated);
    assert_eq!(
        plain(br#"{"error":{"message":"no"}}"#),
        Plain::Error("no".into())
    );
    assert_eq!(plain(br#"{"object":"list"}"#), Plain::NotAnAnswer);
}

#[test]
fn a_host_error_is_told_in_its_own_words() {
    assert_eq!(error_message(br#"{"error":{"message":"bad n"}}"#), "bad n");
    assert_eq!(
        error_message(br#"[{"error":{"code":429,"message":"quota"}}]"#),
        "quota"
    );
    assert_eq!(error_message(b"Unauthorized"), "Unauthorized");
    assert_eq!(error_message(b"<html>502</html>"), "no explanation");
}
