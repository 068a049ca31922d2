//! What the demonstration's operator "set": files in the form of `config/deployments/`, with the
//! invented prices of the hosts that publish none, and the addresses that the catalog leaves to the
//! operator. Only text is written here; who reads it is the gateway's catalog.

use std::fmt::Write;

use super::profile::EmulatedHost;
use super::tariff::{DemonstrationPrice, demonstration_prices};

/// Stands behind an id where the catalog offers the same id without a price, so that both can
/// stand side by side and the invented price is plain to see. The hosts take either.
pub(super) const MARK: &str = ":demonstration";

/// A file for `config/deployments/`: its name and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// `bedrock.toml`.
    pub file: String,
    pub toml: String,
}

/// The files for the three hosts without a published price, and for the two whose address is the
/// operator's. `base_url` gives a host's address.
pub(super) fn deployments(base_url: impl Fn(EmulatedHost) -> String) -> Vec<Deployment> {
    let mut files = Vec::new();
    for host in [
        EmulatedHost::Bedrock,
        EmulatedHost::Siliconflow,
        EmulatedHost::Lightning,
    ] {
        let mut toml = heading(host);
        for price in demonstration_prices()
            .iter()
            .filter(|price| price.host == host)
        {
            push_offer(&mut toml, price);
        }
        files.push(Deployment {
            file: format!("{host}.toml"),
            toml,
        });
    }
    let regions = [
        (EmulatedHost::Azure, "global", "global"),
        (EmulatedHost::Azure, "datazone-eu", "EU"),
        (EmulatedHost::Azure, "datazone-us", "US"),
        (EmulatedHost::Azure, "fireworks-us", "US"),
        (EmulatedHost::Vertex, "global", "global"),
    ];
    for host in [EmulatedHost::Azure, EmulatedHost::Vertex] {
        let mut toml = heading(host);
        for (_, region, jurisdiction) in regions.iter().filter(|(of, ..)| *of == host) {
            let _ = write!(
                toml,
                "\n[[endpoint]]\nregion = \"{region}\"\nbase_url = \"{}\"\njurisdiction = \"{jurisdiction}\"\n{SOURCE}",
                base_url(host)
            );
        }
        files.push(Deployment {
            file: format!("{host}.toml"),
            toml,
        });
    }
    files
}

const SOURCE: &str = "source = \"invented for the demonstration\"\nread = 2026-11-24\n";

fn heading(host: EmulatedHost) -> String {
    format!(
        "# Written by the demonstration for its emulated host. Nothing here is true of the real one.\nextends = \"{host}\"\n"
    )
}

fn push_offer(toml: &mut String, price: &DemonstrationPrice) {
    let model = match price.model.to_lowercase() {
        id if id.contains("v4-pro") => "deepseek-v4-pro",
        id if id.contains("v4.1-flash") => "deepseek-v4.1-flash",
        _ => "deepseek-v4-flash",
    };
    let mark = if price.host == EmulatedHost::Bedrock {
        ""
    } else {
        MARK
    };
    // Converse knows JSON by a schema only.
    let json_object = if price.host == EmulatedHost::Bedrock {
        ""
    } else {
        "\"json_object\", "
    };
    let [hit, miss, output] = price.dollars_per_million;
    let _ = write!(
        toml,
        "\n[[offer]]\nmodel = \"{model}\"\nid = \"{}{mark}\"\nsnapshot = \"unstated\"\n\
         context = 1_048_576\nmax_output = 131_072\n\
         capabilities = [\"tools\", \"forced_tools\", {json_object}\"json_schema\", \"thinking\"]\n{SOURCE}\
         \n[[offer.tariff]]\nname = \"demonstration\"\nkind = \"list\"\n\
         from = 2026-04-24T00:00:00Z\nknown = 2026-04-24T00:00:00Z\n\
         flat = {{ hit = \"{hit}\", miss = \"{miss}\", output = \"{output}\" }}\n{SOURCE}",
        price.model
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_toml_and_price_what_the_hosts_charge() {
        let files = deployments(|host| format!("http://127.0.0.1:1/{host}"));
        assert_eq!(files.len(), 5);
        let mut offers = 0;
        for file in &files {
            let read: toml::Table = file.toml.parse().expect("TOML");
            let host = read["extends"].as_str().expect("a host");
            assert_eq!(file.file, format!("{host}.toml"));
            for offer in read
                .get("offer")
                .and_then(toml::Value::as_array)
                .into_iter()
                .flatten()
            {
                let flat = &offer["tariff"][0]["flat"];
                let id = offer["id"].as_str().expect("an id").trim_end_matches(MARK);
                let price = demonstration_prices()
                    .into_iter()
                    .find(|price| price.model == id && price.host.name() == host)
                    .expect("a price");
                assert_eq!(flat["hit"].as_str(), Some(price.dollars_per_million[0]));
                assert_eq!(flat["output"].as_str(), Some(price.dollars_per_million[2]));
                offers += 1;
            }
        }
        assert_eq!(offers, demonstration_prices().len());
    }
}
