//! From one host's rows to a [`Host`]: its addresses, offers, certifications and grants, from the
//! file that defines it and from those that extend it.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;

use super::assemble::model_of;
use super::form::{
    AuthForm, Capability, CertificationForm, EndpointForm, GrantForm, HostForm, IdentityKind,
    OfferForm,
};
use super::page::{Desk, Place};
use super::tariff::{Calendars, spans_meet, tariffs};
use super::{
    Address, Auth, CacheRules, Capabilities, Certification, Endpoint, Grant, Host, Identity, Model,
    Offer, Quirks,
};
use crate::chat::Tokens;
use crate::id::{HostName, ModelName, RegionName, Tag};

/// A host's rows from one file, with the page they stand on.
pub(super) struct Rows {
    pub page: usize,
    pub endpoints: Vec<Spanned<EndpointForm>>,
    pub offers: Vec<Spanned<OfferForm>>,
    pub certifications: Vec<Spanned<CertificationForm>>,
    pub grants: Vec<Spanned<GrantForm>>,
}

pub(super) fn host(desk: &mut Desk, page: usize, form: HostForm) -> (Host, Rows) {
    let auth = auth(desk, page, &form.auth);
    let cache = CacheRules {
        kind: form.cache.kind,
        unit: Tokens::new(form.cache.unit.max(1)),
        minimum: Tokens::new(form.cache.minimum),
        lifetime_s: form.cache.lifetime_s,
        source: desk.source(page, &form.cache.source, form.cache.read),
    };
    let mut quirks = Quirks::default();
    form.quirks.apply(desk, page, &mut quirks);
    let host = Host {
        name: HostName::from(form.host.get_ref().as_str()),
        title: form.title.as_str().into(),
        wire: form.wire,
        auth,
        bills_at: form.bills_at,
        bills_at_note: form.bills_at_note.as_deref().map(Arc::from),
        quirks,
        cache,
        endpoints: Vec::new(),
        offers: Vec::new(),
        certifications: Vec::new(),
        grants: Vec::new(),
        source: desk.source(page, &form.source, form.read),
    };
    let rows = Rows {
        page,
        endpoints: form.endpoint,
        offers: form.offer,
        certifications: form.certification,
        grants: form.grant,
    };
    (host, rows)
}

fn auth(desk: &mut Desk, page: usize, written: &Spanned<AuthForm>) -> Auth {
    let form = written.get_ref();
    let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if form.env.is_empty() || !form.env.bytes().all(fits) {
        let place = desk.place(page, written);
        // The value is not repeated: it may be a key pasted by mistake.
        desk.reject(place, "`env` names the environment variable that holds the key, never the key: write capitals, digits and `_`, such as DEEPSEEK_API_KEY");
    }
    Auth {
        kind: form.kind,
        env: form.env.as_str().into(),
        identity: identity(desk, page, written),
    }
}

fn identity(desk: &mut Desk, page: usize, written: &Spanned<AuthForm>) -> Option<Identity> {
    let form = written.get_ref();
    let (identity, misplaced) = match (form.identity, &form.signing_name, &form.scope) {
        (None, None, None) => return None,
        (Some(IdentityKind::Aws), Some(name), None) => {
            let signing_name = name.as_str().into();
            return Some(Identity::Aws { signing_name });
        }
        (Some(IdentityKind::Google), None, Some(scope)) => {
            let scope = scope.as_str().into();
            return Some(Identity::Google { scope });
        }
        (Some(IdentityKind::Entra), None, Some(scope)) => {
            let scope = scope.as_str().into();
            return Some(Identity::Entra { scope });
        }
        (None, ..) => ("no `identity`", "neither `signing_name` nor `scope`"),
        (Some(IdentityKind::Aws), ..) => ("`identity = \"aws\"`", "`signing_name` alone"),
        (Some(IdentityKind::Google), ..) => ("`identity = \"google\"`", "`scope` alone"),
        (Some(IdentityKind::Entra), ..) => ("`identity = \"entra\"`", "`scope` alone"),
    };
    let place = desk.place(page, written);
    desk.reject(place, format!("`auth` with {identity} takes {misplaced}"));
    None
}

pub(super) fn endpoints(desk: &mut Desk, host: &mut Host, rows: &[Rows]) {
    let mut places: Vec<Place> = Vec::new();
    for file in rows {
        for written in &file.endpoints {
            let form = written.get_ref();
            let place = desk.word(file.page, &form.region);
            let row = desk.place(file.page, written);
            let endpoint = Endpoint {
                region: RegionName::from(form.region.get_ref().as_str()),
                base_url: base_url(desk, file.page, row, form),
                completions: completions(desk, file.page, form),
                jurisdiction: form.jurisdiction.as_str().into(),
                source: desk.source(file.page, &form.source, form.read),
            };
            let known = host
                .endpoints
                .iter()
                .position(|known| known.region == endpoint.region);
            match known {
                None => {
                    host.endpoints.push(endpoint);
                    places.push(place);
                }
                // What the operator was asked to set or to name, another file sets.
                Some(at)
                    if places[at].page != place.page
                        && (host.endpoints[at].base_url.as_ref())
                            .is_none_or(Address::has_blanks) =>
                {
                    let path = host.endpoints[at].completions.take();
                    host.endpoints[at] = endpoint;
                    host.endpoints[at].completions = host.endpoints[at].completions.take().or(path);
                    places[at] = place;
                }
                Some(at) => {
                    let there = desk.name(places[at]);
                    desk.reject(place, format!("the region `{}` of `{}` has an endpoint already at {there}: give this one a region name of its own", endpoint.region, host.name));
                }
            }
        }
    }
}

/// A path below the address, its segments plain words.
fn completions(desk: &mut Desk, page: usize, form: &EndpointForm) -> Option<Arc<str>> {
    let written = form.completions.as_ref()?;
    let plain = |segment: &str| {
        !segment.is_empty()
            && segment
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if !written.get_ref().split('/').all(plain) {
        let place = desk.place(page, written);
        desk.reject(
            place,
            format!(
                "`{}` is no path below the endpoint's address: write one such as \"completions\" or \"beta/completions\"",
                written.get_ref()
            ),
        );
        return None;
    }
    Some(written.get_ref().as_str().into())
}

fn base_url(desk: &mut Desk, page: usize, row: Place, form: &EndpointForm) -> Option<Address> {
    let written = form
        .base_url
        .as_ref()
        .filter(|url| !url.get_ref().is_empty());
    let Some(written) = written else {
        if !form.operator_sets_url {
            desk.reject(row, "the endpoint has no address: write `base_url = \"https://...\"`, or `operator_sets_url = true` where it holds the operator's own names");
        }
        return None;
    };
    let place = desk.place(page, written);
    if form.operator_sets_url {
        desk.reject(
            place,
            "the endpoint has both `base_url` and `operator_sets_url`: keep one of them",
        );
    }
    match Address::parse(written.get_ref()) {
        Ok(address) => Some(address),
        Err(reason) => {
            desk.reject(place, reason);
            None
        }
    }
}

pub(super) fn offers(
    desk: &mut Desk,
    host: &mut Host,
    rows: &[Rows],
    models: &BTreeMap<ModelName, Model>,
    calendars: &Calendars,
) {
    let mut places: Vec<Place> = Vec::new();
    for file in rows {
        for written in &file.offers {
            let place = desk.place(file.page, written);
            let offer = offer(desk, file.page, written.get_ref(), host, models, calendars);
            if let Some(at) = host
                .offers
                .iter()
                .position(|earlier| sold_twice(earlier, &offer))
            {
                let there = desk.name(places[at]);
                desk.reject(place, format!("`{}` sells `{}` already at {there}, at the same time and place: end that offer with `until`, or remove one", host.name, offer.id));
            }
            places.push(place);
            host.offers.push(offer);
        }
    }
}

/// Whether one id of a host would name two offers at one instant in one region.
fn sold_twice(one: &Offer, other: &Offer) -> bool {
    let share_a_region = one.regions.is_empty()
        || other.regions.is_empty()
        || one
            .regions
            .iter()
            .any(|region| other.regions.contains(region));
    one.id == other.id
        && share_a_region
        && spans_meet((one.from, one.until), (other.from, other.until))
}

fn offer(
    desk: &mut Desk,
    page: usize,
    form: &OfferForm,
    host: &Host,
    models: &BTreeMap<ModelName, Model>,
    calendars: &Calendars,
) -> Offer {
    let model = model_of(desk, page, &form.model, models);
    let snapshot = form.snapshot.get_ref();
    if let Some(known) = models.get(&model)
        && snapshot != "unstated"
        && !known.snapshots.iter().any(|known| **known == **snapshot)
    {
        let place = desk.place(page, &form.snapshot);
        desk.reject(place, format!("`{model}` has no snapshot `{snapshot}`: write one of [{}], or add it to the [[model]] row", known.snapshots.join(", ")));
    }
    if form.id.get_ref().trim().is_empty() {
        let place = desk.place(page, &form.id);
        desk.reject(
            place,
            "the id is empty: write the host's own name of the model",
        );
    }
    let from = form.from.map(|from| from.0);
    let until = form.until.as_ref().map(|until| {
        if from.is_some_and(|from| until.get_ref().0 <= from) {
            let place = desk.place(page, until);
            desk.reject(
                place,
                "`until` is not after `from`: write a later instant, or leave it out",
            );
        }
        until.get_ref().0
    });
    let has = |capability: Capability| form.capabilities.contains(&capability);
    let nowhere = host
        .endpoints
        .iter()
        .all(|endpoint| endpoint.completions.is_none());
    if (has(Capability::Completions) || has(Capability::Fim)) && nowhere {
        let place = desk.place(page, &form.id);
        desk.reject(place, format!("`{}` has no address for completions: give an [[endpoint]] `completions = \"completions\"`, or take `completions` and `fim` out of the capabilities", host.name));
    }
    Offer {
        model,
        id: form.id.get_ref().as_str().into(),
        snapshot: snapshot.as_str().into(),
        quantisation: form.quantisation.as_str().into(),
        context: Tokens::new(form.context),
        max_output: Tokens::new(form.max_output),
        completions_max_output: form.completions_max_output.map(Tokens::new),
        capabilities: Capabilities {
            tools: has(Capability::Tools),
            forced_tools: has(Capability::ForcedTools),
            json_object: has(Capability::JsonObject),
            json_schema: has(Capability::JsonSchema),
            images: has(Capability::Images),
            logprobs: has(Capability::Logprobs),
            thinking: has(Capability::Thinking),
            completions: has(Capability::Completions) || has(Capability::Fim),
            fim: has(Capability::Fim),
        },
        regions: regions(desk, page, &form.regions, host),
        from,
        until,
        concurrency: form.concurrency,
        tariffs: tariffs(desk, page, form, calendars),
        source: desk.source(page, &form.source, form.read),
    }
}

fn regions(
    desk: &mut Desk,
    page: usize,
    written: &[Spanned<String>],
    host: &Host,
) -> Vec<RegionName> {
    let mut regions = Vec::new();
    for region in written {
        let name = RegionName::from(region.get_ref().as_str());
        if !host
            .endpoints
            .iter()
            .any(|endpoint| endpoint.region == name)
        {
            let place = desk.place(page, region);
            let known: Vec<&str> = host
                .endpoints
                .iter()
                .map(|endpoint| endpoint.region.as_str())
                .collect();
            desk.reject(
                place,
                format!(
                    "`{}` has no region `{name}`: write one of [{}], or add an [[endpoint]] for it",
                    host.name,
                    known.join(", ")
                ),
            );
        }
        regions.push(name);
    }
    regions
}

pub(super) fn certifications(
    desk: &mut Desk,
    host: &mut Host,
    rows: &[Rows],
    models: &BTreeMap<ModelName, Model>,
) {
    for file in rows {
        for written in &file.certifications {
            let form = written.get_ref();
            desk.word(file.page, &form.tag);
            if form.evidence.get_ref().trim().is_empty() {
                let place = desk.place(file.page, &form.evidence);
                desk.reject(place, "the evidence is empty: write the report, agreement or page that supports the tag");
            }
            let valid_until = form.valid_until.as_ref().map(|until| {
                if until.get_ref().0 < form.valid_from.0 {
                    let place = desk.place(file.page, until);
                    desk.reject(place, "`valid_until` is before `valid_from`: write the last day on which it holds");
                }
                until.get_ref().0
            });
            let certification = Certification {
                tag: Tag::from(form.tag.get_ref().as_str()),
                regions: regions(desk, file.page, &form.regions, host),
                models: form
                    .models
                    .iter()
                    .map(|model| model_of(desk, file.page, model, models))
                    .collect(),
                evidence: form.evidence.get_ref().as_str().into(),
                valid_from: form.valid_from.0,
                valid_until,
                needs_confirmation: form.needs_confirmation,
                source: desk.source(file.page, &form.source, form.read),
            };
            host.certifications.push(certification);
        }
    }
}

pub(super) fn grants(desk: &mut Desk, host: &mut Host, rows: &[Rows]) {
    for file in rows {
        for written in &file.grants {
            let form = written.get_ref();
            let until = form.until.as_ref().map(|until| {
                if until.get_ref().0 < form.from.0 {
                    let place = desk.place(file.page, until);
                    desk.reject(
                        place,
                        "`until` is before `from`: write the grant's last day",
                    );
                }
                until.get_ref().0
            });
            let grant = Grant {
                what: form.what.as_str().into(),
                tokens: form.tokens.map(Tokens::new),
                from: form.from.0,
                until,
                source: desk.source(file.page, &form.source, form.read),
            };
            host.grants.push(grant);
        }
    }
}
