//! Completions of a bare prompt at hosts of the OpenAI-compatible wire that have them, below the
//! address that their catalog endpoint names. The caller's body passes with the few edits that routing
//! needs; of the answer, [`plain`](super::plain) and [`Sight::of_completions`](super::Sight) read
//! what the books need. Thinking, tools and messages do not exist here.
//! Source: DeepSeek's reference "Create FIM Completion", vLLM's completions API.

use bytes::Bytes;

use super::passing::Change;
use super::writing::headers;
use crate::backend::wires::{Asked, Outgoing};
use crate::chat::{Edit, Request};

/// The caller's body with the host's model id, usage asked for, the output bound where it is ours to
/// set, and our tenant in place of the caller's.
pub fn passed(request: &Request, asked: Asked<'_>) -> Outgoing {
    let mut change = Change::of(request, asked);
    change.ask_for_usage(asked.quirks);
    // The one name that the bound has in this dialect, whatever the host calls it in chat.
    if let Some(bound) = asked.bound {
        match &request.original.spans.max_output {
            None => change
                .inserted
                .push_str(&format!("\"max_tokens\":{bound},")),
            Some((_, range)) if request.max_output.is_none() => change.edits.push(Edit {
                range: range.clone(),
                with: Bytes::from(bound.to_string()),
            }),
            Some(_) => {}
        }
    }
    change.isolate(asked);
    Outgoing {
        body: change.apply(),
        headers: headers(asked.quirks),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Plain, Sight, plain};
    use super::*;
    use crate::chat::{Finish, Tokens};

    const STREAM: &str = concat!(
        "data: {\"id\":\"c1\",\"object\":\"text_completion\",\"choices\":[{\"text\":\"a \\\"text\\\": \",\"index\":0,\"finish_reason\":null}],\"usage\":null}\n\n",
        "data: {\"id\":\"c1\",\"object\":\"text_completion\",\"choices\":[{\"text\":\"b\",\"index\":0,\"finish_reason\":\"length\"}],\"usage\":null}\n\n",
        "data: {\"id\":\"c1\",\"object\":\"text_completion\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5,\"prompt_cache_hit_tokens\":4,\"prompt_cache_miss_tokens\":5}}\n\n",
        "data: [DONE]\n\n",
    );

    #[test]
    fn a_stream_of_text_is_seen_wherever_it_is_cut() {
        for every in [1, 7, 64, STREAM.len()] {
            let mut sight = Sight::of_completions(true);
            let mut out = Vec::new();
            for chunk in STREAM.as_bytes().chunks(every) {
                for piece in sight.take(Bytes::copy_from_slice(chunk)) {
                    out.extend_from_slice(&piece);
                }
            }
            let report = sight.report();
            assert_eq!(report.visible_bytes, 12 + 1);
            assert_eq!(report.reasoning_bytes, 0);
            assert_eq!(report.finish, Some(Finish::Length));
            assert!(report.complete());
            let usage = report.usage.expect("usage");
            assert_eq!(
                (usage.cache_hit, usage.cache_miss, usage.visible),
                (Tokens::new(4), Tokens::new(5), Tokens::new(5))
            );
            // Ours alone to know: the caller did not ask.
            let told = String::from_utf8(out).expect("text");
            assert!(!told.contains("prompt_tokens") && told.ends_with("[DONE]\n\n"));
        }
    }

    #[test]
    fn a_plain_answer_of_text_is_an_answer() {
        let body = br#"{"id":"c1","object":"text_completion","created":1,"model":"m","choices":[{"text":" x","index":0,"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":5}}"#;
        let Plain::Answer {
            usage: Some(usage),
            finish: Some(Finish::Stop),
            host_request: Some(id),
            ..
        } = plain(body)
        else {
            panic!("an answer");
        };
        assert_eq!((usage.output(), id.as_str()), (Tokens::new(5), "c1"));
    }

    #[test]
    fn completions_go_below_the_address_of_the_account_where_the_host_has_them() {
        use crate::backend::{Access, Account, backends};
        use crate::catalog::{Catalog, SHIPPED};
        let files = SHIPPED
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let catalog = Catalog::from_files(files.collect()).expect("the shipped catalog");
        let account = |host: &str, base_url: Option<&str>| Account {
            host: host.into(),
            name: "default".into(),
            access: Ok(Access::Open),
            names: Default::default(),
            base_url: base_url.map(|url| url.parse().expect("an address")),
            regions: Vec::new(),
            confirm: Vec::new(),
        };
        let accounts = [account("deepseek", None), account("together", None)];
        let (opened, _) = backends(&catalog.into(), &accounts, |_| Default::default());
        assert!(!opened.is_empty());
        for backend in opened {
            let expected = (backend.host().name.as_str() == "deepseek")
                .then_some("https://api.deepseek.com/beta/completions");
            let address = backend
                .addresses
                .completions
                .as_ref()
                .map(ToString::to_string);
            assert_eq!(address.as_deref(), expected);
        }
    }
}
