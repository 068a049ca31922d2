//! Who may serve a request that demands something: certifications in force, and why not. Decided
//! before anything else looks at prices; nothing later can widen what is decided here.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::catalog::{Certification, Host};
use crate::id::{ModelName, RegionName, Tag};
use crate::time::Timestamp;

/// A place that might serve: one host, region and model, with what the operator has confirmed.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub host: &'a Host,
    pub region: &'a RegionName,
    pub model: &'a ModelName,
    pub confirmed: &'a [Tag],
}

/// Whether a place answers every demand at this instant.
///
/// # Errors
/// What it lacks, in words for the caller and the compliance officer, each demand once.
pub fn certified(place: Place<'_>, demands: &[Tag], now: Timestamp) -> Result<(), String> {
    let mut lacks = Vec::new();
    if !demands.is_empty() {
        let today = TimeZone::UTC.to_datetime(now).date();
        for tag in demands {
            if let Err(lack) = answers(place, tag, today) {
                lacks.push(lack);
            }
        }
    }
    if lacks.is_empty() {
        Ok(())
    } else {
        Err(lacks.join("; "))
    }
}

fn answers(place: Place<'_>, tag: &Tag, today: Date) -> Result<(), String> {
    let mut lack = format!("it holds no certification for {tag}");
    for certification in place
        .host
        .certifications
        .iter()
        .filter(|row| row.tag == *tag)
    {
        if !covers(&certification.regions, place.region) {
            lack = format!("its {tag} does not cover region {}", place.region);
        } else if !covers(&certification.models, place.model) {
            lack = format!("its {tag} does not cover model {}", place.model);
        } else if certification.needs_confirmation && !place.confirmed.contains(tag) {
            lack = format!(
                "its {tag} is not confirmed by the operator (confirm = [\"{tag}\"] in its account)"
            );
        } else {
            match in_force(certification, today) {
                Ok(()) => return Ok(()),
                Err(why) => lack = why,
            }
        }
    }
    Err(lack)
}

fn covers<T: PartialEq>(listed: &[T], wanted: &T) -> bool {
    listed.is_empty() || listed.contains(wanted)
}

fn in_force(certification: &Certification, today: Date) -> Result<(), String> {
    let tag = &certification.tag;
    if today < certification.valid_from {
        return Err(format!("its {tag} begins on {}", certification.valid_from));
    }
    match certification.valid_until {
        Some(last) if today > last => Err(format!("its {tag} expired on {last}")),
        _ => Ok(()),
    }
}
