//! AWS's shared files, `~/.aws/credentials` and `~/.aws/config`: sections of `name = value`, of
//! which those that open a profile are read. After "Configuration and credential file settings" of
//! the AWS CLI's guide.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use secrecy::SecretString;

use super::sigv4::Keys;
use super::{Environment, text};

/// A profile by its name, in these files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Profile {
    name: String,
    credentials: PathBuf,
    config: PathBuf,
}

/// What both files say of a profile; the credentials file goes first. Never printed.
pub(super) struct Settings(BTreeMap<String, String>);

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "profile {} of {}", self.name, self.credentials.display())
    }
}

impl Profile {
    /// The profile of this name, or that of the environment. `None` where there can be no files.
    pub(super) fn named(name: Option<&str>, environment: &Environment<'_>) -> Option<Self> {
        let folder = text(environment, "HOME").map(|home| PathBuf::from(home).join(".aws"));
        let file = |variable: &str, name: &str| {
            text(environment, variable)
                .map(PathBuf::from)
                .or_else(|| Some(folder.as_ref()?.join(name)))
        };
        Some(Profile {
            name: name
                .map(str::to_owned)
                .or_else(|| text(environment, "AWS_PROFILE"))
                .or_else(|| text(environment, "AWS_DEFAULT_PROFILE"))
                .unwrap_or_else(|| "default".to_owned()),
            credentials: file("AWS_SHARED_CREDENTIALS_FILE", "credentials")?,
            config: file("AWS_CONFIG_FILE", "config")?,
        })
    }

    /// What the files say of it now. `None` where neither knows it.
    pub(super) fn read(&self) -> Option<Settings> {
        let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        let in_config = match self.name.as_str() {
            "default" => "default".to_owned(),
            name => format!("profile {name}"),
        };
        let mut settings = section(&read(&self.config), &in_config);
        settings.extend(section(&read(&self.credentials), &self.name));
        (!settings.is_empty()).then_some(Settings(settings))
    }
}

impl Settings {
    pub(super) fn has_keys(&self) -> bool {
        ["aws_access_key_id", "aws_secret_access_key"]
            .iter()
            .all(|name| self.0.contains_key(*name))
    }

    pub(super) fn keys(mut self) -> Option<Keys> {
        Some(Keys {
            id: self.0.remove("aws_access_key_id")?,
            secret: self.0.remove("aws_secret_access_key")?.into(),
            session: self.0.remove("aws_session_token").map(SecretString::from),
        })
    }

    /// A role, and the file of the token that proves who may take it.
    pub(super) fn web_identity(&self) -> Option<(String, String)> {
        let role = self.0.get("role_arn")?.clone();
        Some((role, self.0.get("web_identity_token_file")?.clone()))
    }
}

fn section(file: &str, wanted: &str) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    let mut inside = false;
    for line in file.lines() {
        // Indented lines are nested settings of services.
        let is_nested = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            inside = name.0.split_whitespace().eq(wanted.split_whitespace());
        } else if inside
            && !is_nested
            && let Some((name, value)) = line.split_once('=')
            && !value.trim().is_empty()
        {
            settings.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_profile_is_put_together_from_both_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let aws = folder.path().join(".aws");
        std::fs::create_dir(&aws).expect("made");
        std::fs::write(
            aws.join("credentials"),
            "# ours\n[default]\naws_access_key_id=AKIDDEFAULT\n\n[work]\naws_access_key_id = AKIDWORK\n\
             aws_secret_access_key = abc/def=\n",
        )
        .expect("written");
        std::fs::write(
            aws.join("config"),
            "[default]\nregion = us-east-1\ns3 =\n  aws_secret_access_key = nested\n\
             [profile work]\naws_session_token = session\n\
             [profile pods]\nrole_arn = arn:aws:iam::1:role/r\nweb_identity_token_file = /var/token\n",
        )
        .expect("written");
        let home = folder.path().display().to_string();
        let environment = |name: &str| (name == "HOME").then(|| home.clone());
        let read = |name| {
            Profile::named(name, &environment)
                .expect("a home")
                .read()
                .expect("known")
        };

        assert!(!read(None).has_keys(), "half a key is none");
        let keys = read(Some("work")).keys().expect("whole");
        assert_eq!(keys.id, "AKIDWORK");
        assert_eq!(keys.secret.expose_secret(), "abc/def=");
        assert_eq!(keys.session.expect("given").expose_secret(), "session");
        let (role, file) = read(Some("pods")).web_identity().expect("given");
        assert_eq!(
            (role.as_str(), file.as_str()),
            ("arn:aws:iam::1:role/r", "/var/token")
        );
        let nobody = Profile::named(Some("nobody"), &environment).expect("a home");
        assert!(nobody.read().is_none());
    }
}
