//! A catalog of mock hosts, in the files that the gateway loads: each sells [`MODEL`] at its own
//! rates, from one region.

use std::fs;
use std::path::Path;

use crate::{Rates, Upstream};

/// What every mock host sells.
pub(crate) const MODEL: &str = "mock-model";

/// A host of the test's catalog, and where it stands.
#[derive(Clone, Debug)]
pub struct MockHost {
    pub name: String,
    pub base_url: String,
    pub rates: Rates,
    /// Tag, and the last day of its certification's validity.
    certifications: Vec<(String, String)>,
    max_output: u64,
    context: u64,
    /// Lines of its `[quirks]`.
    quirks: String,
    capabilities: Vec<&'static str>,
}

impl MockHost {
    pub fn new(name: &str, upstream: &Upstream) -> Self {
        Self::at(name, upstream.base_url())
    }

    pub fn at(name: &str, base_url: impl Into<String>) -> Self {
        MockHost {
            name: name.to_owned(),
            base_url: base_url.into(),
            rates: Rates::default(),
            certifications: Vec::new(),
            max_output: 8_192,
            context: 131_072,
            quirks: String::new(),
            capabilities: vec!["tools", "forced_tools", "json_object", "thinking"],
        }
    }

    /// A line of its `[quirks]`.
    pub fn quirk(mut self, name: &str, value: &str) -> Self {
        self.quirks += &format!("{name} = {value}\n");
        self
    }

    /// It goes on with an answer that broke off, as DeepSeek does: by `prefix: true`, at `/beta`.
    pub fn going_on(self) -> Self {
        self.quirk("continues", "\"prefix\"")
            .quirk("prefix_base", "\"http://127.0.0.1:9/beta\"")
    }

    /// It completes bare prompts as well.
    pub fn completing(mut self) -> Self {
        self.capabilities.push("completions");
        self
    }

    /// Dearer by this factor: the gateway asks it after the others.
    pub fn dearer(mut self, factor: u64) -> Self {
        self.rates.cache_hit *= factor;
        self.rates.cache_miss *= factor;
        self.rates.output *= factor;
        self
    }

    /// Certified for `tag` long past any test.
    pub fn certified(self, tag: &str) -> Self {
        self.certified_until(tag, "2099-12-31")
    }

    /// Certified for `tag` until that day, included.
    pub fn certified_until(mut self, tag: &str, day: &str) -> Self {
        self.certifications.push((tag.to_owned(), day.to_owned()));
        self
    }

    /// The environment variable that holds its key.
    pub(crate) fn key_env(&self) -> String {
        format!("{}_KEY", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    pub(crate) fn account(&self) -> String {
        format!(
            "[[account]]\nhost = \"{}\"\nkey_env = \"{}\"\nbase_url = \"{}\"\n",
            self.name,
            self.key_env(),
            self.base_url
        )
    }

    pub(crate) fn page(&self) -> String {
        let MockHost {
            name,
            rates,
            max_output,
            context,
            quirks,
            capabilities,
            ..
        } = self;
        let source = "source = \"the test suite\"\nread = 2026-11-24";
        let mut page = format!(
            r#"host = "{name}"
title = "Mock {name}"
wire = "openai"
bills_at = "end"
{source}

[auth]
kind = "bearer"
env = "{key}"

[quirks]
{quirks}
[cache]
kind = "prefix"
unit = 64
minimum = 64
lifetime_s = 300
{source}

[[endpoint]]
region = "test"
base_url = "http://127.0.0.1:9/v1"
{completions}jurisdiction = "EU"
{source}

[[offer]]
model = "{MODEL}"
id = "{MODEL}"
snapshot = "test"
context = {context}
max_output = {max_output}
capabilities = {capabilities:?}
{source}

[[offer.tariff]]
name = "test"
kind = "list"
from = 2026-01-01T00:00:00Z
known = 2026-01-01T00:00:00Z
flat = {{ hit = "{hit}", miss = "{miss}", output = "{output}" }}
{source}
"#,
            key = self.key_env(),
            completions = if capabilities.contains(&"completions") {
                "completions = \"completions\"\n"
            } else {
                ""
            },
            hit = per_million(rates.cache_hit),
            miss = per_million(rates.cache_miss),
            output = per_million(rates.output),
        );
        for (tag, until) in &self.certifications {
            page += &format!(
                "\n[[certification]]\ntag = \"{tag}\"\nevidence = \"a report of the test suite\"\n\
                 valid_from = 2026-01-01\nvalid_until = {until}\n{source}\n"
            );
        }
        page
    }
}

/// Dollars per million tokens from picodollars a token: a million of these are a millionth of those.
fn per_million(picodollars: u64) -> String {
    format!("{}.{:06}", picodollars / 1_000_000, picodollars % 1_000_000)
}

/// Writes the catalog's folder.
pub(crate) fn write(folder: &Path, hosts: &[MockHost]) {
    fs::create_dir_all(folder).expect("the catalog's folder");
    let names = format!(
        "[[model]]\nname = \"{MODEL}\"\ntitle = \"Mock model\"\nsnapshots = [\"test\"]\n\
         source = \"the test suite\"\nread = 2026-11-24\n\n\
         [[alias]]\nname = \"mock-retired\"\nmodel = \"{MODEL}\"\nuntil = 2026-07-24T15:59:00Z\n\
         source = \"the test suite\"\nread = 2026-11-24\n"
    );
    fs::write(folder.join("models.toml"), names).expect("the models' page");
    for host in hosts {
        let file = folder.join(format!("{}.toml", host.name));
        fs::write(file, host.page()).expect("a host's page");
    }
}
