//! From pages to a [`Catalog`]: each row turned into its type, names resolved across files, and
//! everything wrong collected, so that an operator sees all of it at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;
use url::Url;

use super::error::{CatalogError, Problem};
use super::form::{
    AuthForm, AuthKind, CalendarForm, Capability, CertificationForm, EndpointForm, ExtensionForm,
    GrantForm, HostForm, Kind, NamesForm, OfferForm,
};
use super::page::{Desk, Page, Place};
use super::resolve::nearest;
use super::tariff::{Calendars, spans_meet, tariffs};
use super::{
    Alias, Auth, CacheRules, Calendar, Capabilities, Catalog, Certification, Endpoint, Grant, Host,
    Model, Offer, Quirks,
};
use crate::chat::Tokens;
use crate::id::{CatalogVersion, HostName, ModelName, RegionName, Tag};

/// A host's rows from one file, with the page they stand on.
struct Rows {
    page: usize,
    endpoints: Vec<Spanned<EndpointForm>>,
    offers: Vec<Spanned<OfferForm>>,
    certifications: Vec<Spanned<CertificationForm>>,
    grants: Vec<Spanned<GrantForm>>,
}

/// Everything read, before anything is judged.
#[derive(Default)]
struct Pile {
    calendars: Vec<(usize, CalendarForm)>,
    names: Vec<(usize, NamesForm)>,
    hosts: Vec<(usize, HostForm)>,
    extensions: Vec<(usize, ExtensionForm)>,
}

impl Catalog {
    /// The catalog that these files make: path → content, as [`Catalog::files`] keeps them.
    pub fn from_files(files: BTreeMap<String, String>) -> Result<Catalog, CatalogError> {
        Self::from_named_files(files, &BTreeMap::new())
    }

    /// As `from_files`; problems are reported under `shown` names where there are any.
    pub(super) fn from_named_files(
        files: BTreeMap<String, String>,
        shown: &BTreeMap<String, String>,
    ) -> Result<Catalog, CatalogError> {
        let mut desk = Desk::default();
        for (index, (key, text)) in files.iter().enumerate() {
            desk.pages.push(Page {
                index,
                file: shown.get(key).unwrap_or(key).clone(),
                text: text.clone(),
            });
        }
        let pile = read(&mut desk);
        let calendars = calendars(&mut desk, pile.calendars);
        let (models, aliases) = names(&mut desk, pile.names);
        let hosts = hosts(&mut desk, pile.hosts, pile.extensions, &models, &calendars);
        desk.verdict().map_err(CatalogError::Rejected)?;
        Ok(Catalog {
            version: version(&files),
            hosts,
            models,
            aliases,
            files,
        })
    }
}

/// The same files have the same version, wherever they lie.
fn version(files: &BTreeMap<String, String>) -> CatalogVersion {
    let mut hasher = blake3::Hasher::new();
    for (path, text) in files {
        for part in [path, text] {
            // The length before the text: no two lists of files run into one another.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
    }
    let digest = hasher.finalize().to_hex();
    CatalogVersion::new(&digest.as_str()[..16])
}

fn read(desk: &mut Desk) -> Pile {
    let mut pile = Pile::default();
    let mut problems: Vec<(usize, Problem)> = Vec::new();
    for page in &desk.pages {
        if let Err(problem) = read_page(page, &mut pile) {
            problems.push((page.index, problem));
        }
    }
    for (page, problem) in problems {
        desk.adopt(page, problem);
    }
    pile
}

fn read_page(page: &Page, pile: &mut Pile) -> Result<(), Problem> {
    let kind: Kind = page.read()?;
    if kind.host.is_some() {
        pile.hosts.push((page.index, page.read()?));
    } else if kind.extends.is_some() {
        pile.extensions.push((page.index, page.read()?));
    } else if kind.calendar.is_some() {
        pile.calendars.push((page.index, page.read()?));
    } else if kind.model.is_some() || kind.alias.is_some() {
        pile.names.push((page.index, page.read()?));
    } else {
        return Err(Problem {
            file: page.file.clone(),
            line: 1,
            message: "nothing says what this file holds: begin with `host = \"name\"`, `extends = \"name\"`, \
                      `calendar = \"name\"`, or hold [[model]] and [[alias]] rows"
                .to_owned(),
        });
    }
    Ok(())
}

fn calendars(desk: &mut Desk, forms: Vec<(usize, CalendarForm)>) -> Calendars {
    let mut calendars = Calendars::new();
    for (page, form) in forms {
        let place = desk.word(page, &form.calendar);
        let name: Arc<str> = form.calendar.get_ref().as_str().into();
        let mut holidays: Vec<jiff::civil::Date> = Vec::new();
        for day in &form.holidays {
            if day.get_ref().0 > form.known_until.0 {
                let place = desk.place(page, day);
                desk.reject(place, format!("{} is later than `known_until`: move `known_until` to the end of what the state has published", day.get_ref().0));
            }
            holidays.push(day.get_ref().0);
        }
        holidays.sort_unstable();
        holidays.dedup();
        let calendar = Calendar {
            name: name.clone(),
            holidays,
            known_until: form.known_until.0,
            source: desk.source(page, &form.source, form.read),
        };
        if calendars.insert(name.clone(), Arc::new(calendar)).is_some() {
            desk.reject(
                place,
                format!("the calendar `{name}` is defined twice: keep one file for it"),
            );
        }
    }
    calendars
}

fn names(
    desk: &mut Desk,
    forms: Vec<(usize, NamesForm)>,
) -> (BTreeMap<ModelName, Model>, Vec<Alias>) {
    let mut models = BTreeMap::new();
    for (page, form) in &forms {
        for written in &form.model {
            let place = desk.word(*page, &written.name);
            for snapshot in &written.snapshots {
                desk.word(*page, snapshot);
            }
            let name = ModelName::from(written.name.get_ref().as_str());
            let model = Model {
                name: name.clone(),
                title: written.title.as_str().into(),
                snapshots: written
                    .snapshots
                    .iter()
                    .map(|name| name.get_ref().as_str().into())
                    .collect(),
                source: desk.source(*page, &written.source, written.read),
            };
            if models.insert(name.clone(), model).is_some() {
                desk.reject(
                    place,
                    format!("the model `{name}` is defined twice: keep one [[model]] row for it"),
                );
            }
        }
    }
    let mut aliases: Vec<Alias> = Vec::new();
    for (page, form) in &forms {
        for written in &form.alias {
            let place = desk.word(*page, &written.name);
            let name = ModelName::from(written.name.get_ref().as_str());
            if models.contains_key(&name) || aliases.iter().any(|alias| alias.name == name) {
                desk.reject(
                    place,
                    format!("`{name}` names something already: remove this alias"),
                );
            }
            let model = model_of(desk, *page, &written.model, &models);
            aliases.push(Alias {
                name,
                model,
                until: written.until.map(|until| until.0),
                source: desk.source(*page, &written.source, written.read),
            });
        }
    }
    (models, aliases)
}

/// The name as a model's, rejected if there is none such.
fn model_of(
    desk: &mut Desk,
    page: usize,
    written: &Spanned<String>,
    models: &BTreeMap<ModelName, Model>,
) -> ModelName {
    let name = ModelName::from(written.get_ref().as_str());
    if !models.contains_key(&name) {
        let place = desk.place(page, written);
        let near = nearest(written.get_ref(), models.keys().map(ModelName::as_str));
        desk.reject(
            place,
            format!(
                "there is no model `{name}`: write {}, or add a [[model]] row for it",
                any_of(&near)
            ),
        );
    }
    name
}

/// `` `a` or `b` ``, for the end of a message.
fn any_of(names: &[String]) -> String {
    if names.is_empty() {
        return "a defined name".to_owned();
    }
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(" or ")
}

fn hosts(
    desk: &mut Desk,
    defined: Vec<(usize, HostForm)>,
    extensions: Vec<(usize, ExtensionForm)>,
    models: &BTreeMap<ModelName, Model>,
    calendars: &Calendars,
) -> BTreeMap<HostName, Host> {
    let mut hosts: BTreeMap<HostName, (Host, Place, Vec<Rows>)> = BTreeMap::new();
    for (page, form) in defined {
        let place = desk.word(page, &form.host);
        let (host, rows) = host(desk, page, form);
        if let Some((_, there, _)) = hosts.get(&host.name) {
            let there = desk.name(*there);
            desk.reject(place, format!("the host `{}` is defined already at {there}: write `extends = \"{}\"` to add to it", host.name, host.name));
            continue;
        }
        hosts.insert(host.name.clone(), (host, place, vec![rows]));
    }
    for (page, form) in extensions {
        let place = desk.place(page, &form.extends);
        let name = form.extends.get_ref().as_str();
        let Some((_, _, rows)) = hosts.get_mut(name) else {
            let near = nearest(name, hosts.keys().map(HostName::as_str));
            desk.reject(place, format!("there is no host `{name}` to extend: write {}, or define it with `host = \"{name}\"`", any_of(&near)));
            continue;
        };
        rows.push(Rows {
            page,
            endpoints: form.endpoint,
            offers: form.offer,
            certifications: form.certification,
            grants: form.grant,
        });
    }
    let mut finished = BTreeMap::new();
    for (name, (mut host, _, rows)) in hosts {
        endpoints(desk, &mut host, &rows);
        offers(desk, &mut host, &rows, models, calendars);
        certifications(desk, &mut host, &rows, models);
        grants(desk, &mut host, &rows);
        finished.insert(name, host);
    }
    finished
}

fn host(desk: &mut Desk, page: usize, form: HostForm) -> (Host, Rows) {
    let auth = auth(desk, page, &form.auth);
    let cache = CacheRules {
        kind: form.cache.kind,
        unit: Tokens::new(form.cache.unit.max(1)),
        minimum: Tokens::new(form.cache.minimum),
        lifetime_s: form.cache.lifetime_s,
        source: desk.source(page, &form.cache.source, form.cache.read),
    };
    let host = Host {
        name: HostName::from(form.host.get_ref().as_str()),
        title: form.title.as_str().into(),
        wire: form.wire,
        auth,
        bills_at: form.bills_at,
        bills_at_note: form.bills_at_note.as_deref().map(Arc::from),
        quirks: Quirks {
            max_tokens_field: form.quirks.max_tokens_field.as_deref().map(Arc::from),
            no_stream_options: form.quirks.no_stream_options,
            max_tokens_excludes_thinking: form.quirks.max_tokens_excludes_thinking,
        },
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
    let env: Arc<str> = form.env.as_str().into();
    match form.kind {
        AuthKind::Bearer => Auth::Bearer { env },
        AuthKind::OptionalBearer => Auth::OptionalBearer { env },
        AuthKind::ApiKey => Auth::ApiKey { env },
    }
}

fn endpoints(desk: &mut Desk, host: &mut Host, rows: &[Rows]) {
    let mut places: Vec<Place> = Vec::new();
    for file in rows {
        for written in &file.endpoints {
            let form = written.get_ref();
            let place = desk.word(file.page, &form.region);
            let row = desk.place(file.page, written);
            let endpoint = Endpoint {
                region: RegionName::from(form.region.get_ref().as_str()),
                base_url: base_url(desk, file.page, row, form),
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
                // What the operator was asked to set, another file sets.
                Some(at)
                    if host.endpoints[at].base_url.is_none() && places[at].page != place.page =>
                {
                    host.endpoints[at] = endpoint;
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

fn base_url(desk: &mut Desk, page: usize, row: Place, form: &EndpointForm) -> Option<Url> {
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
    match Url::parse(written.get_ref()) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            if url.password().is_some() || !url.username().is_empty() {
                desk.reject(place, "an address must not carry a user or password: name the key's variable in `auth`");
            }
            Some(url)
        }
        _ => {
            desk.reject(
                place,
                format!(
                    "`{}` is no address: write one that begins with https:// or http://",
                    written.get_ref()
                ),
            );
            None
        }
    }
}

fn offers(
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
    Offer {
        model,
        id: form.id.get_ref().as_str().into(),
        snapshot: snapshot.as_str().into(),
        quantisation: form.quantisation.as_str().into(),
        context: Tokens::new(form.context),
        max_output: Tokens::new(form.max_output),
        capabilities: Capabilities {
            tools: has(Capability::Tools),
            forced_tools: has(Capability::ForcedTools),
            json_object: has(Capability::JsonObject),
            json_schema: has(Capability::JsonSchema),
            images: has(Capability::Images),
            logprobs: has(Capability::Logprobs),
            thinking: has(Capability::Thinking),
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

fn certifications(
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

fn grants(desk: &mut Desk, host: &mut Host, rows: &[Rows]) {
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
