//! What an emulated host publishes beside completions: its list of models, with prices in the
//! units and shapes that each host uses, DeepSeek's balance, and the emulator's own admin pages.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::bill::dollars;
use super::profile::EmulatedHost;
use super::state::HostState;
use super::tariff::{Charges, in_force, models};

/// `(path, document)` of the page at `path`, if this host has it. `public`: asked without a key.
pub(super) fn page(state: &HostState, path: &str, public: bool) -> Option<Value> {
    let host = state.host;
    let now = state.now();
    let models_path = format!("{}/models", host.profile().base_path);
    let is_models = path == models_path || host == EmulatedHost::Deepseek && path == "/v1/models";
    match host {
        EmulatedHost::Deepinfra if path == "/models/list" => Some(deepinfra(now)),
        EmulatedHost::Novita if is_models => Some(novita(now)),
        EmulatedHost::Azure if path == "/api/retail/prices" => Some(azure(now)),
        _ if public => None,
        EmulatedHost::Deepseek if path == "/user/balance" => Some(balance(state)),
        EmulatedHost::Siliconflow if path == "/v1/user/info" => Some(json!({
            "code": 20_000, "message": "OK", "status": true,
            "data": {"id": "demo", "balance": "1000.00", "totalBalance": "1000.00", "status": "normal"},
        })),
        EmulatedHost::Fireworks if path == "/v1/serverless/models" => Some(fireworks(now)),
        EmulatedHost::Together if is_models => Some(together(now)),
        EmulatedHost::Nebius if is_models => Some(nebius(now)),
        _ if is_models => Some(json!({"object": "list", "data": listed(host, now, |_| json!({}))})),
        _ => None,
    }
}

/// Each model as `GET models` lists it, with what `more` adds from its price.
fn listed(host: EmulatedHost, now: Timestamp, more: impl Fn(Charges) -> Value) -> Vec<Value> {
    priced(host, now)
        .map(|(model, charges)| {
            let mut entry = json!({"id": model, "object": "model", "created": 1_786_500_000, "owned_by": "deepseek"});
            if let (Value::Object(entry), Value::Object(more)) = (&mut entry, more(charges)) {
                entry.extend(more);
            }
            entry
        })
        .collect()
}

fn priced(host: EmulatedHost, now: Timestamp) -> impl Iterator<Item = (&'static str, Charges)> {
    models(host, now)
        .into_iter()
        .filter_map(move |model| in_force(host, model, now).map(|price| (model, price.charges)))
}

/// US$ per million tokens: a picodollar a token is 10^-6 of that.
fn per_million(picodollars_per_token: u64) -> String {
    dollars(i128::from(picodollars_per_token) * 1_000_000)
}

/// A decimal as a JSON number, as these lists have them.
fn number(decimal: &str) -> Value {
    serde_json::from_str(decimal).unwrap_or(Value::Null)
}

fn balance(state: &HostState) -> Value {
    let (granted, topped_up) = state.balance();
    json!({
        "is_available": granted + topped_up > 0,
        "balance_infos": [{
            "currency": "USD",
            "total_balance": dollars(granted + topped_up),
            "granted_balance": dollars(granted),
            "topped_up_balance": dollars(topped_up),
        }],
    })
}

fn fireworks(now: Timestamp) -> Value {
    let models: Vec<Value> = priced(EmulatedHost::Fireworks, now)
        .map(|(model, charges)| {
            let sku = |sku: &str, rate| json!({"sku": sku, "amount": number(&per_million(rate)), "unit": "1M tokens"});
            json!({
                "name": model,
                "aliases": [],
                "service_tier": "default",
                "pricing": [
                    sku("LLM input tokens (uncached)", charges.miss),
                    sku("LLM input tokens (cached)", charges.hit),
                    sku("LLM output tokens", charges.output),
                ],
            })
        })
        .collect();
    json!({"models": models, "nextPageToken": ""})
}

/// A bare array.
fn together(now: Timestamp) -> Value {
    let models = listed(EmulatedHost::Together, now, |charges| {
        json!({
            "type": "chat",
            "context_length": 1_048_576,
            "pricing": {
                "hourly": 0,
                "input": number(&per_million(charges.miss)),
                "output": number(&per_million(charges.output)),
                "cached_input": number(&per_million(charges.hit)),
                "base": 0,
                "finetune": 0,
            },
        })
    });
    Value::Array(models)
}

/// Cents a token (a cent is 10^10 picodollars), and the cached price as a multiple of the input's.
fn deepinfra(now: Timestamp) -> Value {
    let cents = |rate: u64| number(&dollars(i128::from(rate) * 100));
    let models: Vec<Value> = priced(EmulatedHost::Deepinfra, now)
        .map(|(model, charges)| {
            // Rounded to 12 digits, as a list that holds only a ratio must.
            let ratio =
                i128::from(charges.hit) * 1_000_000_000_000 / i128::from(charges.miss.max(1));
            json!({
                "model_name": model,
                "type": "text-generation",
                "max_tokens": 1_048_576,
                "deprecated": null,
                "pricing": {
                    "type": "tokens",
                    "cents_per_input_token": cents(charges.miss),
                    "cents_per_output_token": cents(charges.output),
                    "rate_per_input_token_cached": number(&dollars(ratio)),
                },
            })
        })
        .collect();
    Value::Array(models)
}

/// US$ a token, as strings, with no price for cached input.
fn nebius(now: Timestamp) -> Value {
    let models = listed(EmulatedHost::Nebius, now, |charges| {
        json!({
            "context_length": 1_048_576,
            "pricing": {
                "prompt": dollars(i128::from(charges.miss)),
                "completion": dollars(i128::from(charges.output)),
            },
        })
    });
    json!({"object": "list", "data": models})
}

/// Ten-thousandths of a dollar per million tokens, and decimals beside them.
fn novita(now: Timestamp) -> Value {
    let units = |rate: u64| number(&dollars(i128::from(rate) * 1_000_000 * 10_000));
    let both =
        |rate: u64| json!({"price_per_m": units(rate), "price_per_m_decimal": per_million(rate)});
    let models = listed(EmulatedHost::Novita, now, |charges| {
        json!({
            "status": 1,
            "context_size": 1_048_576,
            "input_token_price_per_m": units(charges.miss),
            "output_token_price_per_m": units(charges.output),
            "pricing": {
                "prompt": both(charges.miss),
                "completion": both(charges.output),
                "input_cache_read": both(charges.hit),
            },
            "features": ["function-calling", "structured-outputs", "reasoning"],
        })
    });
    json!({"data": models})
}

/// Azure's public retail prices: a row per meter.
fn azure(now: Timestamp) -> Value {
    let mut items = Vec::new();
    for (model, charges) in priced(EmulatedHost::Azure, now) {
        for (what, rate) in [
            ("Inp", charges.miss),
            ("Cached Inp", charges.hit),
            ("Outp", charges.output),
        ] {
            let price = number(&per_million(rate));
            items.push(json!({
                "currencyCode": "USD",
                "retailPrice": price,
                "unitPrice": price,
                "armRegionName": "eastus2",
                "location": "US East 2",
                "effectiveStartDate": "2026-08-13T00:00:00Z",
                "meterId": format!("demo-{model}-{}", what.to_lowercase().replace(' ', "-")),
                "meterName": format!("{model} {what} glbl Tokens"),
                "productName": "Azure DeepSeek Models",
                "skuName": format!("{model} {what} glbl"),
                "serviceName": "Foundry Models",
                "unitOfMeasure": "1M",
                "type": "Consumption",
            }));
        }
    }
    json!({
        "BillingCurrency": "USD",
        "CustomerEntityId": "Default",
        "CustomerEntityType": "Retail",
        "Count": items.len(),
        "Items": items,
        "NextPageLink": null,
    })
}

#[cfg(test)]
mod tests {
    use super::super::state::EmulatorOptions;
    use super::*;
    use crate::time::Clock;

    fn shown(host: EmulatedHost, path: &str) -> Value {
        let noon = "2026-11-24T12:00:00Z".parse().expect("an instant");
        let options = EmulatorOptions {
            clock: Clock::starting_at(noon),
            ..EmulatorOptions::instant()
        };
        page(&HostState::new(host, options), path, false).expect("a page")
    }

    #[test]
    fn price_lists_have_the_units_of_their_hosts() {
        let together = shown(EmulatedHost::Together, "/v1/models");
        assert_eq!(together[0]["pricing"]["input"].to_string(), "1.32");
        let deepinfra = shown(EmulatedHost::Deepinfra, "/models/list");
        assert_eq!(
            deepinfra[0]["pricing"]["cents_per_input_token"].as_f64(),
            Some(0.000_13)
        );
        assert_eq!(
            deepinfra[2]["pricing"]["rate_per_input_token_cached"].as_f64(),
            Some(0.2)
        );
        let nebius = shown(EmulatedHost::Nebius, "/v1/models");
        assert_eq!(nebius["data"][0]["pricing"]["prompt"], "0.00000132");
        let novita = shown(EmulatedHost::Novita, "/openai/v1/models");
        assert_eq!(
            novita["data"][0]["input_token_price_per_m"].as_f64(),
            Some(13_200.0)
        );
        assert_eq!(
            novita["data"][0]["pricing"]["input_cache_read"]["price_per_m_decimal"],
            "0.132"
        );
        let fireworks = shown(EmulatedHost::Fireworks, "/v1/serverless/models");
        assert_eq!(
            fireworks["models"][0]["pricing"][1]["amount"].as_f64(),
            Some(0.044)
        );
        let azure = shown(EmulatedHost::Azure, "/api/retail/prices");
        assert_eq!(azure["Count"], 21);
    }

    #[test]
    fn deepseek_shows_its_balance_as_strings() {
        let balance = shown(EmulatedHost::Deepseek, "/user/balance");
        assert_eq!(balance["is_available"], true);
        assert_eq!(balance["balance_infos"][0]["total_balance"], "1000.00");
    }

    #[test]
    fn only_public_pages_are_shown_without_a_key() {
        let state = HostState::new(EmulatedHost::Together, EmulatorOptions::instant());
        assert!(page(&state, "/v1/models", true).is_none());
        let state = HostState::new(EmulatedHost::Novita, EmulatorOptions::instant());
        assert!(page(&state, "/openai/v1/models", true).is_some());
    }
}
