//! How much to think, said in four dialects and switched in each host's own words.

use serde_json::{Value, json};
use tollgate_tests::{Setup, Surface, Upstream};

const PRO: &str = "deepseek-v4-pro";

/// An effort as each dialect says it.
fn with_effort(surface: Surface, effort: &str) -> Value {
    let mut question = surface.question_to(PRO);
    match (surface, effort) {
        (Surface::Chat, "off") => question["reasoning_effort"] = json!("none"),
        (Surface::Chat, word) => question["reasoning_effort"] = json!(word),
        (Surface::Messages, "off") => question["thinking"] = json!({"type": "disabled"}),
        (Surface::Messages, "high") => {
            question["thinking"] = json!({"type": "enabled", "budget_tokens": 10_000});
        }
        (Surface::Messages, word) => {
            question["thinking"] = json!({"type": "adaptive"});
            question["output_config"] = json!({"effort": word});
        }
        (Surface::Responses, "off") => question["reasoning"] = json!({"effort": "none"}),
        (_, word) => question["reasoning"] = json!({"effort": word}),
    }
    question
}

/// What a host makes of a request's switches, by its documentation; a field that it does not know
/// is a mistake.
fn understood(host: &str, body: &Value) -> String {
    let known: &[&str] = match host {
        "deepseek" => &["thinking", "reasoning_effort"],
        "fireworks" | "deepinfra" => &["reasoning_effort"],
        "together" => &["reasoning", "reasoning_effort"],
        "siliconflow" => &["enable_thinking", "reasoning_effort"],
        "novita" => &["enable_thinking"],
        "selfhosted" => &["chat_template_kwargs"],
        _ => &[],
    };
    for switch in [
        "thinking",
        "reasoning_effort",
        "reasoning",
        "enable_thinking",
        "chat_template_kwargs",
        "output_config",
    ] {
        assert!(
            body[switch].is_null() || known.contains(&switch),
            "{host} does not know {switch}: {body}"
        );
    }
    let arguments = &body["chat_template_kwargs"];
    let off = body["thinking"]["type"] == "disabled"
        || body["reasoning_effort"] == "none"
        || body["reasoning"]["enabled"] == false
        || body["enable_thinking"] == false
        || arguments["thinking"] == false;
    let words = [&body["reasoning_effort"], &arguments["reasoning_effort"]];
    let most = words.iter().any(|word| **word == "max");
    match (off, most) {
        (true, false) => "off".to_owned(),
        (false, true) => "max".to_owned(),
        (false, false) => "high".to_owned(),
        (true, true) => panic!("both off and max: {body}"),
    }
}

/// A page of the operator's own that sells the model at this host of the catalog, for a price.
fn priced(host: &str) -> String {
    format!(
        "extends = \"{host}\"\n\
         [[offer]]\nmodel = \"{PRO}\"\nid = \"own\"\nsnapshot = \"0813\"\nquantisation = \"fp8\"\n\
         context = 1_048_576\nmax_output = 131_072\ncapabilities = [\"tools\", \"thinking\"]\n\
         source = \"the test suite\"\nread = 2026-11-24\n\
         [[offer.tariff]]\nname = \"own\"\nkind = \"list\"\nfrom = 2026-01-01T00:00:00Z\n\
         known = 2026-01-01T00:00:00Z\nflat = {{ hit = \"0.01\", miss = \"0.10\", output = \"0.30\" }}\n\
         source = \"the test suite\"\nread = 2026-11-24\n"
    )
}

/// A server of one's own at this address.
fn own(address: &str) -> String {
    priced("selfhosted")
        + &format!(
            "[[endpoint]]\nregion = \"own\"\nbase_url = \"{address}\"\njurisdiction = \"SE\"\n\
             source = \"the test suite\"\nread = 2026-11-24\n"
        )
}

#[tokio::test(flavor = "multi_thread")]
async fn off_high_and_max_reach_each_host_in_its_own_words_from_each_dialect() {
    for (name, efforts) in [
        ("deepseek", &["off", "high", "max"][..]),
        ("fireworks", &["off", "high", "max"]),
        ("together", &["off", "high", "max"]),
        ("siliconflow", &["off", "high", "max"]),
        ("selfhosted", &["off", "high", "max"]),
        // No word for the most is documented.
        ("novita", &["off", "high"]),
        ("deepinfra", &["off", "high"]),
    ] {
        let host = Upstream::start().await;
        let setup = Setup::default().clock("2026-11-24T02:00:00Z");
        let setup = match name {
            "selfhosted" => setup.deployment("own.toml", &own(&host.base_url())),
            // Its prices are the operator's to find out.
            "siliconflow" => setup.deployment("price.toml", &priced("siliconflow")),
            _ => setup,
        };
        let gateway = setup.shipped(name, &host.base_url()).start().await;
        let caller = gateway.caller().await;
        for surface in Surface::CONVERSATIONS {
            for effort in ["off", "high", "max"] {
                let before = host.count();
                let question = with_effort(surface, effort);
                let answer = caller.ask_at(surface.path(), &question).await;
                let shown = format!("{name} {surface:?} {effort}: {}", answer.text);
                if efforts.contains(&effort) {
                    assert_eq!(answer.status, 200, "{shown}");
                    let body = host.received().pop().expect("a request").json();
                    assert_eq!(understood(name, &body), effort, "{shown} {body}");
                } else {
                    assert_eq!(answer.status, 400, "{shown}");
                    assert_eq!(surface.refused(&answer).code, "invalid_request", "{shown}");
                    assert!(answer.text.contains("highest effort"), "{shown}");
                    assert_eq!(host.count(), before, "{shown}");
                }
            }
        }
    }
}
