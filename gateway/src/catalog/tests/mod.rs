//! Tests of the catalog: what is refused and how it is said, which names are understood, what a
//! running gateway takes up. Each builds on one small world.

mod names;
mod rejections;
mod watching;

use std::collections::BTreeMap;

use super::{Catalog, CatalogError};
use crate::time::Timestamp;

const MODELS: &str = r#"
[[model]]
name = "deepseek-v4-pro"
title = "DeepSeek-V4-Pro"
snapshots = ["0813", "preview"]
source = "models page"
read = 2026-11-24

[[model]]
name = "deepseek-v4-flash"
title = "DeepSeek-V4-Flash"
snapshots = ["0731"]
source = "models page"
read = 2026-11-24

[[alias]]
name = "deepseek-chat"
model = "deepseek-v4-flash"
until = 2026-07-24T15:59:00Z
source = "news page"
read = 2026-11-24

[[alias]]
name = "pro"
model = "deepseek-v4-pro"
source = "us"
read = 2026-11-24
"#;

const CHINA: &str = r#"
calendar = "china"
known_until = 2026-12-31
source = "State Council"
read = 2026-11-24
holidays = [
    2026-10-01,
]
"#;

const ACME: &str = r#"
host = "acme"
title = "Acme"
wire = "openai"
auth = { kind = "bearer", env = "ACME_API_KEY" }
bills_at = "end"
source = "acme docs"
read = 2026-11-24

[cache]
kind = "prefix"
unit = 64
source = "acme docs"
read = 2026-11-24

[[endpoint]]
region = "global"
base_url = "https://api.acme.example/v1"
jurisdiction = "global"
source = "acme docs"
read = 2026-11-24

[[offer]]
model = "deepseek-v4-pro"
id = "acme/v4-pro"
snapshot = "0813"
context = 1_048_576
max_output = 131_072
capabilities = ["tools", "thinking"]
regions = ["global"]
from = 2026-04-24T00:00:00Z
source = "acme docs"
read = 2026-11-24

[[offer.tariff]]
name = "spring"
kind = "list"
from = 2026-04-24T00:00:00Z
known = 2026-04-24T00:00:00Z
zone = "Asia/Shanghai"
calendar = "china"
source = "acme prices"
read = 2026-11-24
bands = [
    { name = "peak", hours = ["09:00-12:00", "14:00-18:00"], days = ["mon", "tue"], holidays_off = true, hit = "0.044", miss = "1.32", output = "3.96" },
    { name = "off-peak", hit = "0.022", miss = "0.66", output = "1.98" },
]

[[certification]]
tag = "soc2"
regions = ["global"]
models = ["deepseek-v4-pro"]
evidence = "report"
valid_from = 2026-01-01
valid_until = 2026-12-31
source = "trust page"
read = 2026-11-24
"#;

/// The small world, whole and right: two models, a calendar, one host.
fn world() -> BTreeMap<String, String> {
    [
        ("models.toml", MODELS),
        ("calendars/china.toml", CHINA),
        ("acme.toml", ACME),
    ]
    .map(|(file, text)| (file.to_owned(), text.to_owned()))
    .into()
}

fn load(world: BTreeMap<String, String>) -> Result<Catalog, CatalogError> {
    Catalog::from_files(world)
}

fn at(instant: &str) -> Timestamp {
    instant.parse().expect("an instant")
}
