//! A host's address, with blanks for the names that are the operator's own: `{project}` and
//! `{location}` at Google, `{resource}` at Azure. Relies on the `url` crate.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use url::Url;

/// What an address may leave blank; `[[account]]` has a setting of each name.
const BLANKS: [&str; 3] = ["project", "location", "resource"];

/// A checked `http` or `https` address without a user, whose blanks all have a setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Address(Arc<str>);

/// Why an address cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFilled {
    /// The name of the blank for which nothing is set.
    #[error("`{0}` is not set")]
    Blank(String),
    #[error("`{0}` takes letters, digits, `-`, `_` and `.`, such as my-{0}-1")]
    Name(String),
}

impl Address {
    /// # Errors
    /// What is wrong with it, and what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let address = Address(text.into());
        if let Some(unknown) = address.blanks().find(|blank| !BLANKS.contains(blank)) {
            return Err(format!(
                "the address has the blank `{{{unknown}}}`: known are {{project}}, {{location}} and {{resource}}"
            ));
        }
        match address.fill(|_| Some("x".to_owned())) {
            Ok(Some(url)) if url.password().is_none() && url.username().is_empty() => Ok(address),
            Ok(Some(_)) => Err(
                "an address must not carry a user or password: name the key's variable in `auth`"
                    .to_owned(),
            ),
            _ => Err(format!(
                "`{text}` is no address: write one that begins with https:// or http://"
            )),
        }
    }

    /// As it was written, blanks and all.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn has_blanks(&self) -> bool {
        self.blanks().next().is_some()
    }

    fn blanks(&self) -> impl Iterator<Item = &str> {
        self.0
            .split('{')
            .skip(1)
            .map(|rest| rest.split_once('}').map_or(rest, |(blank, _)| blank))
    }

    /// The address with every blank filled by what `named` has for it.
    ///
    /// # Errors
    /// The blank that nothing is set for, or whose name would change the address around it.
    pub fn filled(&self, named: impl Fn(&str) -> Option<String>) -> Result<Url, NotFilled> {
        for blank in self.blanks() {
            let name = named(blank).ok_or_else(|| NotFilled::Blank(blank.to_owned()))?;
            // Google's oldest projects are `example.com:project`.
            let fits = |byte: u8| {
                byte.is_ascii_alphanumeric()
                    || b"-_.".contains(&byte)
                    || (byte == b':' && blank == "project")
            };
            if name.is_empty() || !name.bytes().all(fits) {
                return Err(NotFilled::Name(blank.to_owned()));
            }
        }
        // Checked when it was read, with other names of the same letters.
        self.fill(named)?
            .ok_or_else(|| NotFilled::Name(self.blanks().next().unwrap_or("address").to_owned()))
    }

    fn fill(&self, named: impl Fn(&str) -> Option<String>) -> Result<Option<Url>, NotFilled> {
        let mut text = self.0.to_string();
        for blank in self.blanks() {
            let name = named(blank).ok_or_else(|| NotFilled::Blank(blank.to_owned()))?;
            text = text.replace(&format!("{{{blank}}}"), &name);
        }
        let url = Url::parse(&text).ok();
        Ok(url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGIONAL: &str = "https://{location}-aiplatform.googleapis.com/v1/projects/{project}/locations/{location}/endpoints/openapi";

    #[test]
    fn blanks_are_filled_wherever_they_stand() {
        let address = Address::parse(REGIONAL).expect("an address");
        let named = |blank: &str| match blank {
            "project" => Some("acme-1".to_owned()),
            _ => Some("us-central1".to_owned()),
        };
        assert_eq!(
            address.filled(named).expect("filled").as_str(),
            "https://us-central1-aiplatform.googleapis.com/v1/projects/acme-1/locations/us-central1/endpoints/openapi"
        );
    }

    #[test]
    fn a_blank_without_a_name_is_told() {
        let address = Address::parse(REGIONAL).expect("an address");
        let named = |blank: &str| (blank == "location").then(|| "us".to_owned());
        let error = address.filled(named).expect_err("no project");
        assert_eq!(error.to_string(), "`project` is not set");
    }

    #[test]
    fn a_name_cannot_lead_to_another_host() {
        let address = Address::parse("https://{resource}.example/v1").expect("an address");
        for name in ["evil.example/", "a@b", "a?b", "a:1", "", "x#"] {
            let error = address.filled(|_| Some(name.to_owned()));
            assert_eq!(error, Err(NotFilled::Name("resource".to_owned())), "{name}");
        }
    }

    #[test]
    fn other_blanks_are_refused_when_the_file_is_read() {
        let error = Address::parse("https://{tenant}.example").expect_err("unknown");
        assert!(
            error.contains("{tenant}") && error.contains("{project}"),
            "{error}"
        );
        assert!(Address::parse("ftp://{resource}.example").is_err());
    }
}
