//! What the catalog says of Bedrock.

use std::path::PathBuf;

use crate::catalog::{Catalog, Wire};
use crate::id::HostName;

fn config(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../config")
        .join(file)
}

#[test]
fn both_ways_to_bedrock_are_offered_by_the_examples() {
    let deployments = tempfile::tempdir().expect("a folder");
    for name in ["bedrock", "bedrock-openai"] {
        let example = config(&format!("deployments/{name}.toml.example"));
        std::fs::copy(example, deployments.path().join(format!("{name}.toml"))).expect("a copy");
    }
    let folders = [config("catalog"), deployments.path().to_owned()];
    let catalog = Catalog::load(&folders).expect("the catalog with both examples");
    let host = |name: &str| &catalog.hosts[&HostName::from(name)];
    assert_eq!(host("bedrock").wire, Wire::BedrockConverse);
    assert_eq!(host("bedrock-openai").wire, Wire::Openai);
    for name in ["bedrock", "bedrock-openai"] {
        assert_eq!(host(name).offers.len(), 1, "{name}");
    }
    for endpoint in &host("bedrock").endpoints {
        let url = endpoint.base_url.as_ref().expect("an address");
        assert_eq!(
            url.as_str(),
            format!("https://bedrock-runtime.{}.amazonaws.com", endpoint.region)
        );
    }
}

#[test]
fn the_settings_that_nobody_documents_are_read_as_the_file_shows_them() {
    let text = std::fs::read_to_string(config("catalog/bedrock.toml")).expect("the file");
    let (before, rest) = text.split_once("# [quirks]").expect("the settings");
    let (settings, after) = rest.split_once("\n\n").expect("their end");
    let settings = settings.replace("\n# ", "\n");
    let folder = tempfile::tempdir().expect("a folder");
    let file = format!("{before}[quirks]{settings}\n\n{after}");
    std::fs::write(folder.path().join("bedrock.toml"), file).expect("written");
    let catalog = Catalog::load(&[folder.path().to_owned()]).expect("the settings are read");
    let quirks = &catalog.hosts[&HostName::from("bedrock")].quirks;
    let off = quirks.converse_thinking.off.clone().expect("a switch");
    assert_eq!(off["thinking"]["type"], "disabled");
    assert!(quirks.converse_thinking.high.is_some() && quirks.converse_thinking.max.is_none());
    assert!(quirks.converse_history_reasoning);
}
