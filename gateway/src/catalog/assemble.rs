//! From pages to a [`Catalog`]: each row turned into its type, names resolved across files, and
//! everything wrong collected, so that an operator sees all of it at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;

use super::error::{CatalogError, Problem};
use super::form::{CalendarForm, ExtensionForm, HostForm, Kind, NamesForm};
use super::host::{Rows, certifications, endpoints, grants, host, offers};
use super::page::{Desk, Page, Place};
use super::resolve::nearest;
use super::tariff::Calendars;
use super::{Alias, Calendar, Catalog, Host, Model};
use crate::id::{CatalogVersion, HostName, ModelName};

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
pub(super) fn model_of(
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
        let Some((host, _, rows)) = hosts.get_mut(name) else {
            let near = nearest(name, hosts.keys().map(HostName::as_str));
            desk.reject(place, format!("there is no host `{name}` to extend: write {}, or define it with `host = \"{name}\"`", any_of(&near)));
            continue;
        };
        form.quirks.apply(desk, page, &mut host.quirks);
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
