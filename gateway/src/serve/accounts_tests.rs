//! Which hosts an operator's environment and configuration open, and what is said of the others.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::*;
use crate::backend::{Backend, State, Unused, backends};
use crate::catalog::SHIPPED;
use crate::id::BackendName;

fn catalog() -> Arc<Catalog> {
    let files = SHIPPED
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let mut files: BTreeMap<String, String> = files.collect();
    files.insert(
        "own.toml".to_owned(),
        include_str!("../../../config/deployments/bedrock.toml.example").to_owned(),
    );
    Arc::new(Catalog::from_files(files).expect("sound"))
}

type Remembered = HashMap<BackendName, Arc<State>>;

/// What opens with these `[[account]]`s and variables.
fn open_after(
    before: &Remembered,
    accounts: &str,
    variables: &[(&str, &str)],
) -> (Vec<Arc<Backend>>, Vec<Unused>) {
    let settings: Settings = toml::from_str(accounts).expect("settings");
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    let environment = |name: &str| variables.get(name).map(|&value| value.to_owned());
    let catalog = catalog();
    let accounts = accounts_of(&settings, &catalog, &environment).expect("accounts");
    backends(&catalog, &accounts, |name| {
        before.get(name).cloned().unwrap_or_default()
    })
}

fn open(accounts: &str, variables: &[(&str, &str)]) -> (Vec<Arc<Backend>>, Vec<Unused>) {
    open_after(&Remembered::new(), accounts, variables)
}

fn of<'a>(backends: &'a [Arc<Backend>], host: &str) -> Vec<&'a Arc<Backend>> {
    backends
        .iter()
        .filter(|backend| backend.host().name.as_str() == host)
        .collect()
}

fn reason(unused: &[Unused], host: &str) -> String {
    unused
        .iter()
        .find(|unused| unused.host.as_str() == host)
        .map(|unused| unused.reason.clone())
        .expect("not enabled")
}

/// How the one backend of a host is opened.
fn authority(accounts: &str, variables: &[(&str, &str)], host: &str) -> String {
    let (backends, unused) = open(accounts, variables);
    let found = of(&backends, host);
    assert!(!found.is_empty(), "{unused:?}");
    format!("{:?}", found[0].authority)
}

const KEYS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "AKIDTEST"),
    ("AWS_SECRET_ACCESS_KEY", "the-secret"),
];
const APPLICATION: [(&str, &str); 3] = [
    ("AZURE_TENANT_ID", "tenant"),
    ("AZURE_CLIENT_ID", "application"),
    ("AZURE_CLIENT_SECRET", "the-secret"),
];
const RESOURCE: &str = "[[account]]\nhost = \"azure\"\nresource = \"acme\"\n";

#[test]
fn nothing_in_the_environment_opens_nothing() {
    let (backends, unused) = open("", &[]);
    assert!(backends.is_empty());
    assert_eq!(
        reason(&unused, "deepseek"),
        "set DEEPSEEK_API_KEY to your key at DeepSeek API"
    );
    assert!(reason(&unused, "selfhosted").contains("base_url"));
}

#[test]
fn bedrock_takes_its_key_before_access_keys() {
    assert_eq!(
        authority("", &KEYS, "bedrock"),
        "Drawn(AWS_ACCESS_KEY_ID AKIDTEST)"
    );
    let both = [KEYS[0], KEYS[1], ("AWS_BEARER_TOKEN_BEDROCK", "a-key")];
    assert_eq!(authority("", &both, "bedrock"), "Fixed(..)");
}

#[test]
fn half_an_access_key_is_none() {
    let (_, unused) = open("", &KEYS[..1]);
    assert!(reason(&unused, "bedrock").contains("AWS_SECRET_ACCESS_KEY"));
}

#[test]
fn a_metadata_server_is_used_only_if_told_so() {
    for (host, variable) in [
        ("bedrock", "AWS_EC2_METADATA_SERVICE_ENDPOINT"),
        ("vertex", "GCE_METADATA_HOST"),
    ] {
        let set = [
            (variable, "http://127.0.0.1:1"),
            ("GOOGLE_CLOUD_PROJECT", "acme-1"),
        ];
        let (backends, _) = open("", &set);
        assert!(of(&backends, host).is_empty());
    }
    let told = "[[account]]\nhost = \"vertex\"\ncredentials = \"metadata\"\nproject = \"acme-1\"\n";
    let opened = authority(told, &[], "vertex");
    assert!(opened.contains("metadata.google.internal"), "{opened}");
    let told = "[[account]]\nhost = \"bedrock\"\ncredentials = \"metadata\"\n";
    assert!(authority(told, &KEYS, "bedrock").contains("169.254.169.254"));
}

#[test]
fn a_host_without_identities_has_no_metadata_server() {
    let (_, unused) = open(
        "[[account]]\nhost = \"deepseek\"\ncredentials = \"metadata\"\n",
        &[],
    );
    assert!(reason(&unused, "deepseek").contains("takes a key"));
}

#[test]
fn azure_takes_its_key_before_an_application_unless_the_account_names_one() {
    assert!(authority(RESOURCE, &APPLICATION, "azure").contains("application with its secret"));
    let both = [
        APPLICATION[0],
        APPLICATION[1],
        APPLICATION[2],
        ("AZURE_API_KEY", "a-key"),
    ];
    assert_eq!(authority(RESOURCE, &both, "azure"), "Fixed(..)");
    let named = format!("{RESOURCE}client_id = \"another\"\n");
    assert!(authority(&named, &both, "azure").contains("another with its secret"));
}

#[test]
fn addresses_are_filled_by_the_accounts_names() {
    let (backends, _) = open(RESOURCE, &[("AZURE_API_KEY", "a-key")]);
    let uri = of(&backends, "azure")[0].addresses.plain.to_string();
    assert_eq!(
        uri,
        "https://acme.services.ai.azure.com/openai/v1/chat/completions"
    );
    let project = [
        ("VERTEX_ACCESS_TOKEN", "a-token"),
        ("GOOGLE_CLOUD_PROJECT", "acme-1"),
    ];
    let (backends, _) = open("", &project);
    let uri = of(&backends, "vertex")[0].addresses.plain.to_string();
    assert_eq!(
        uri,
        "https://aiplatform.googleapis.com/v1/projects/acme-1/locations/global/endpoints/openapi/chat/completions"
    );
}

#[test]
fn a_name_that_is_missing_is_told() {
    let (_, unused) = open(
        "",
        &[
            ("AZURE_API_KEY", "a-key"),
            ("VERTEX_ACCESS_TOKEN", "a-token"),
        ],
    );
    assert!(reason(&unused, "azure").starts_with("set resource in the [[account]] of azure"));
    assert!(reason(&unused, "vertex").starts_with("set project in the [[account]] of vertex"));
}

#[test]
fn a_token_is_not_sent_in_the_clear() {
    let clear = format!("{RESOURCE}base_url = \"http://10.0.0.5/v1\"\n");
    let (_, unused) = open(&clear, &APPLICATION);
    assert!(
        reason(&unused, "azure").contains("neither https"),
        "{unused:?}"
    );
}

#[test]
fn what_was_drawn_outlives_a_change_of_the_catalog_but_not_of_the_source() {
    let (first, _) = open(RESOURCE, &APPLICATION);
    let remembered: Remembered = first
        .iter()
        .map(|backend| (backend.name.clone(), backend.state.clone()))
        .collect();
    let (second, _) = open_after(&remembered, RESOURCE, &APPLICATION);
    assert!(Arc::ptr_eq(&first[0].authority, &second[0].authority));
    let other = [APPLICATION[0], ("AZURE_CLIENT_ID", "other"), APPLICATION[2]];
    let (third, _) = open_after(&remembered, RESOURCE, &other);
    assert!(!Arc::ptr_eq(&first[0].authority, &third[0].authority));
}

#[test]
fn no_secret_is_printed() {
    let (backends, _) = open(RESOURCE, &[&APPLICATION[..], &KEYS[..]].concat());
    let printed = format!("{backends:?}");
    assert!(!printed.contains("the-secret"));
}
