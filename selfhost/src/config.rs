//! The shape of a V4 model, read from the `config.json` that its weights come with.

use serde::{Deserialize, Serialize};

/// What decides how many weights there are and how large a sequence's cache becomes.
/// Field names are those of the published `config.json` files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    pub vocab_size: u32,
    pub hidden_size: u32,
    pub num_hidden_layers: u32,
    pub num_attention_heads: u32,
    pub head_dim: u32,
    pub n_routed_experts: u32,
    pub n_shared_experts: u32,
    pub num_experts_per_tok: u32,
    pub moe_intermediate_size: u32,
    pub sliding_window: u32,
}
