//! Who the eleven emulated hosts are: addresses, credentials, speeds and caches, as far as their
//! documentation or measurements say; what is assumed is marked.

use std::fmt;
use std::str::FromStr;

use super::cache::CacheModel;

/// One of the eleven hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EmulatedHost {
    Deepseek,
    Bedrock,
    Vertex,
    Azure,
    Fireworks,
    Together,
    Deepinfra,
    Lightning,
    Nebius,
    Siliconflow,
    Novita,
}

/// What the hosts differ in beyond their shapes.
pub(super) struct Profile {
    /// What precedes `/chat/completions`. DeepSeek answers at `/v1` as well.
    pub base_path: &'static str,
    /// Wait for the first token.
    pub first_token_ms: u64,
    /// Output speed in tokens per ten seconds.
    pub tokens_per_10s: u64,
    pub cache: CacheModel,
}

impl EmulatedHost {
    pub const ALL: [EmulatedHost; 11] = [
        EmulatedHost::Deepseek,
        EmulatedHost::Bedrock,
        EmulatedHost::Vertex,
        EmulatedHost::Azure,
        EmulatedHost::Fireworks,
        EmulatedHost::Together,
        EmulatedHost::Deepinfra,
        EmulatedHost::Lightning,
        EmulatedHost::Nebius,
        EmulatedHost::Siliconflow,
        EmulatedHost::Novita,
    ];

    /// As the catalog names the host: `deepseek`.
    pub const fn name(self) -> &'static str {
        match self {
            EmulatedHost::Deepseek => "deepseek",
            EmulatedHost::Bedrock => "bedrock",
            EmulatedHost::Vertex => "vertex",
            EmulatedHost::Azure => "azure",
            EmulatedHost::Fireworks => "fireworks",
            EmulatedHost::Together => "together",
            EmulatedHost::Deepinfra => "deepinfra",
            EmulatedHost::Lightning => "lightning",
            EmulatedHost::Nebius => "nebius",
            EmulatedHost::Siliconflow => "siliconflow",
            EmulatedHost::Novita => "novita",
        }
    }

    pub(super) fn index(self) -> usize {
        EmulatedHost::ALL
            .iter()
            .position(|host| *host == self)
            .unwrap_or(0)
    }

    /// The credential of an account at this host. Any account name works; each has its own cache.
    pub fn credential_of(self, account: &str) -> String {
        format!("demo-{}-{account}", self.name())
    }

    /// Speeds: DeepSeek, Fireworks and Lightning as measured by others, the rest assumed within
    /// what such hosts reach. Caches: DeepSeek by its guide; block sizes and lifetimes elsewhere
    /// assumed; Nebius grants no discount.
    pub(super) const fn profile(self) -> Profile {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 3_600;
        let (base_path, first_token_ms, tokens_per_10s, cache) = match self {
            EmulatedHost::Deepseek => (
                "",
                2_100,
                298,
                CacheModel::Units {
                    interval: 4_096,
                    minimum: 64,
                    lifetime_s: 24 * HOUR,
                },
            ),
            EmulatedHost::Bedrock => ("/v1", 900, 750, CacheModel::blocks(512, 1_024, 5 * MINUTE)),
            EmulatedHost::Vertex => (
                "/v1/projects/demo/locations/global/endpoints/openapi",
                800,
                1_100,
                CacheModel::blocks(512, 2_048, HOUR),
            ),
            EmulatedHost::Azure => (
                "/openai/v1",
                900,
                800,
                CacheModel::blocks(128, 1_024, 10 * MINUTE),
            ),
            EmulatedHost::Fireworks => (
                "/inference/v1",
                600,
                1_699,
                CacheModel::blocks(64, 64, 10 * MINUTE),
            ),
            EmulatedHost::Together => ("/v1", 800, 950, CacheModel::blocks(64, 64, 10 * MINUTE)),
            EmulatedHost::Deepinfra => (
                "/v1/openai",
                900,
                550,
                CacheModel::blocks(64, 64, 5 * MINUTE),
            ),
            EmulatedHost::Lightning => (
                "/api/v1",
                700,
                1_624,
                CacheModel::blocks(64, 64, 10 * MINUTE),
            ),
            EmulatedHost::Nebius => ("/v1", 700, 700, CacheModel::None),
            EmulatedHost::Siliconflow => {
                ("/v1", 1_300, 500, CacheModel::blocks(128, 128, 10 * MINUTE))
            }
            EmulatedHost::Novita => (
                "/openai/v1",
                1_100,
                450,
                CacheModel::blocks(512, 512, 10 * MINUTE),
            ),
        };
        Profile {
            base_path,
            first_token_ms,
            tokens_per_10s,
            cache,
        }
    }
}

impl fmt::Display for EmulatedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for EmulatedHost {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        EmulatedHost::ALL
            .into_iter()
            .find(|host| host.name() == name)
            .ok_or_else(|| format!("`{name}` is none of the eleven emulated hosts"))
    }
}
