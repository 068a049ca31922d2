//! Which names callers may use, and what those are told whose name means nothing.

use super::*;
use crate::catalog::{Asked, UnknownModel};
use crate::id::{HostName, ModelName};

const NOW: &str = "2026-11-24T00:00:00Z";

fn resolve(name: &str, now: &str) -> Result<Asked, UnknownModel> {
    load(world())
        .expect("the small world")
        .resolve(name, at(now))
}

fn asked(model: &str, snapshot: Option<&str>, host: Option<&str>) -> Asked {
    Asked {
        model: ModelName::from(model),
        snapshot: snapshot.map(Into::into),
        host: host.map(HostName::from),
    }
}

#[test]
fn a_model_is_known_by_its_name_with_or_without_a_snapshot() {
    assert_eq!(
        resolve("deepseek-v4-pro", NOW),
        Ok(asked("deepseek-v4-pro", None, None))
    );
    assert_eq!(
        resolve("deepseek-v4-pro-0813", NOW),
        Ok(asked("deepseek-v4-pro", Some("0813"), None))
    );
}

#[test]
fn a_host_before_the_name_pins_it() {
    assert_eq!(
        resolve("acme/deepseek-v4-pro", NOW),
        Ok(asked("deepseek-v4-pro", None, Some("acme")))
    );
    assert_eq!(
        resolve("acme/pro", NOW),
        Ok(asked("deepseek-v4-pro", None, Some("acme")))
    );
    assert_eq!(
        resolve("acme/deepseek-v4-pro-0813", NOW),
        Ok(asked("deepseek-v4-pro", Some("0813"), Some("acme")))
    );
}

#[test]
fn an_alias_serves_until_the_instant_it_ends() {
    assert_eq!(
        resolve("deepseek-chat", "2026-07-24T15:58:59Z"),
        Ok(asked("deepseek-v4-flash", None, None))
    );
    let error = resolve("deepseek-chat", "2026-07-24T15:59:00Z").expect_err("ended");
    assert_eq!(
        error.to_string(),
        "the name `deepseek-chat` ended at 2026-07-24T15:59:00Z; ask for `deepseek-v4-flash`"
    );
    let error = resolve("acme/deepseek-chat", NOW).expect_err("ended");
    assert_eq!(error.instead, ["acme/deepseek-v4-flash"]);
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    let error = resolve("DeepSeek-V4-Por", NOW).expect_err("misspelt");
    assert_eq!(error.instead[0], "deepseek-v4-pro");
    let error = resolve("acne/deepseek-v4-pro", NOW).expect_err("misspelt host");
    assert_eq!(
        error.to_string(),
        "there is no host `acne`; ask for `acme/deepseek-v4-pro`"
    );
    let error = resolve("deepseek-v4-pro-0814", NOW).expect_err("no such snapshot");
    assert_eq!(error.instead[0], "deepseek-v4-pro");
}

#[test]
fn a_host_that_does_not_sell_the_model_is_named() {
    let error = resolve("acme/deepseek-v4-flash", NOW).expect_err("not sold");
    assert!(
        error
            .to_string()
            .starts_with("`acme` does not sell `deepseek-v4-flash`"),
        "{error}"
    );
    let error = resolve("acme/deepseek-v4-pro-preview", NOW).expect_err("not sold");
    assert!(error.to_string().contains("does not sell"), "{error}");
}

#[test]
fn a_hosts_own_id_is_explained() {
    let error = resolve("acme/v4-pro", NOW).expect_err("an id");
    assert_eq!(
        error.to_string(),
        "`acme/v4-pro` is acme's own id; ask for `deepseek-v4-pro-0813` or `acme/deepseek-v4-pro-0813`"
    );
}

#[test]
fn a_very_long_name_is_cut_in_the_answer() {
    let error = resolve(&"x".repeat(100_000), NOW).expect_err("nothing");
    assert!(error.to_string().len() < 400);
}
