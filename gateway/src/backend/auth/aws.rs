//! Access keys of AWS: from the environment, the shared files, a web identity, a container's role,
//! or the instance metadata server, in the order of AWS's own "default credential provider chain".
//! What ends is drawn anew before it does.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::issuer::{self, address, between, client, read_file, read_json, shown};
use super::shared_files::{self, Profile};
use super::sigv4::Keys;
use super::token::{Drawn, Source};
use super::{AuthError, Environment, text};
use crate::time::Timestamp;

const METADATA: &str = "http://169.254.169.254";
const CONTAINERS: &str = "http://169.254.170.2";
/// What AWS's containers may be told to ask without https, beside loopback addresses.
const CONTAINER_HOSTS: [&str; 4] = [
    "169.254.170.2",
    "169.254.170.23",
    "[fd00:ec2::23]",
    "localhost",
];
/// How long a session of the metadata server may be used: the longest it grants.
const SESSION_SECONDS: &str = "21600";

/// Where access keys come from.
pub(super) enum AwsSource {
    Environment {
        id: String,
        secret: SecretString,
        session: Option<SecretString>,
    },
    /// Read anew at each drawing: tools that log in rewrite the files.
    Profile(Profile),
    WebIdentity {
        role: String,
        token_file: PathBuf,
        session_name: String,
        sts: Url,
    },
    Container {
        url: Url,
        token: Option<SecretString>,
        token_file: Option<PathBuf>,
    },
    Instance {
        base: Url,
    },
}

impl AwsSource {
    /// The first source that is set up, found without asking anybody over the network.
    ///
    /// # Errors
    /// A source that is set up wrongly.
    pub(super) fn find(
        profile: Option<&str>,
        environment: &Environment<'_>,
    ) -> Result<Option<Self>, AuthError> {
        if profile.is_none()
            && let Some(id) = text(environment, "AWS_ACCESS_KEY_ID")
            && let Some(secret) = text(environment, "AWS_SECRET_ACCESS_KEY")
        {
            let session = text(environment, "AWS_SESSION_TOKEN").map(SecretString::from);
            let secret = secret.into();
            return Ok(Some(AwsSource::Environment {
                id,
                secret,
                session,
            }));
        }
        let named = Profile::named(profile, environment);
        if let Some(settings) = named.as_ref().and_then(Profile::read) {
            if settings.has_keys() {
                return Ok(named.map(AwsSource::Profile));
            }
            if let Some((role, token_file)) = settings.web_identity() {
                return web_identity(role, token_file, environment).map(Some);
            }
        }
        if let Some(profile) = profile {
            return Err(AuthError::Setting(format!(
                "the profile `{profile}` of AWS's shared files has neither aws_access_key_id and \
                 aws_secret_access_key nor role_arn and web_identity_token_file: other kinds are not read"
            )));
        }
        if let (Some(file), Some(role)) = (
            text(environment, "AWS_WEB_IDENTITY_TOKEN_FILE"),
            text(environment, "AWS_ROLE_ARN"),
        ) {
            return web_identity(role, file, environment).map(Some);
        }
        container(environment)
    }

    /// The metadata server of the machine.
    pub(super) fn instance(environment: &Environment<'_>) -> Result<Self, AuthError> {
        let base = text(environment, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
        let base = base.as_deref().unwrap_or(METADATA);
        Ok(AwsSource::Instance {
            base: address("AWS_EC2_METADATA_SERVICE_ENDPOINT", base)?,
        })
    }
}

fn web_identity(
    role: String,
    token_file: impl Into<PathBuf>,
    environment: &Environment<'_>,
) -> Result<AwsSource, AuthError> {
    let region =
        text(environment, "AWS_REGION").or_else(|| text(environment, "AWS_DEFAULT_REGION"));
    let sts = text(environment, "AWS_ENDPOINT_URL_STS").unwrap_or_else(|| match region {
        Some(region) if region.starts_with("cn-") => {
            format!("https://sts.{region}.amazonaws.com.cn")
        }
        Some(region) => format!("https://sts.{region}.amazonaws.com"),
        None => "https://sts.amazonaws.com".to_owned(),
    });
    Ok(AwsSource::WebIdentity {
        role,
        token_file: token_file.into(),
        session_name: text(environment, "AWS_ROLE_SESSION_NAME")
            .unwrap_or_else(|| "tollgate".to_owned()),
        sts: address("AWS_ENDPOINT_URL_STS", &sts)?,
    })
}

fn container(environment: &Environment<'_>) -> Result<Option<AwsSource>, AuthError> {
    let relative = text(environment, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    let full = text(environment, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
    let url = match (relative, full) {
        (Some(path), _) => address(
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            &format!("{CONTAINERS}/{}", path.trim_start_matches('/')),
        )?,
        (None, Some(full)) => address("AWS_CONTAINER_CREDENTIALS_FULL_URI", &full)?,
        (None, None) => return Ok(None),
    };
    let host = url.host_str().unwrap_or_default();
    let is_loopback = host.starts_with("127.") || host == "[::1]";
    if url.scheme() != "https" && !is_loopback && !CONTAINER_HOSTS.contains(&host) {
        return Err(AuthError::Setting(format!(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI names {host}: without https only loopback addresses \
             and the containers' own are asked"
        )));
    }
    Ok(Some(AwsSource::Container {
        url,
        token: text(environment, "AWS_CONTAINER_AUTHORIZATION_TOKEN").map(SecretString::from),
        token_file: text(environment, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(PathBuf::from),
    }))
}

impl Source for AwsSource {
    type Grant = Keys;

    fn name(&self) -> String {
        match self {
            AwsSource::Environment { id, .. } => format!("AWS_ACCESS_KEY_ID {id}"),
            AwsSource::Profile(profile) => profile.to_string(),
            AwsSource::WebIdentity { role, sts, .. } => format!("{role} by {}", shown(sts)),
            AwsSource::Container { url, .. } => shown(url),
            AwsSource::Instance { base } => format!("the instance metadata server {}", shown(base)),
        }
    }

    async fn draw(&self, _: Timestamp) -> Result<Drawn<Keys>, AuthError> {
        match self {
            AwsSource::Environment {
                id,
                secret,
                session,
            } => Ok(Drawn {
                grant: Keys {
                    id: id.clone(),
                    secret: secret.clone(),
                    session: session.clone(),
                },
                until: None,
            }),
            AwsSource::Profile(profile) => from_profile(profile),
            AwsSource::WebIdentity {
                role,
                token_file,
                session_name,
                sts,
            } => {
                let token = SecretString::from(read_file(token_file).await?);
                assume(sts, role, session_name, &token).await
            }
            AwsSource::Container {
                url,
                token,
                token_file,
            } => {
                let token = match token_file {
                    Some(file) => Some(SecretString::from(read_file(file).await?)),
                    None => token.clone(),
                };
                from_container(url, token.as_ref()).await
            }
            AwsSource::Instance { base } => from_instance(base).await,
        }
    }
}

fn from_profile(profile: &Profile) -> Result<Drawn<Keys>, AuthError> {
    let settings = profile.read();
    let grant = settings
        .and_then(shared_files::Settings::keys)
        .ok_or_else(|| {
            AuthError::no_answer(&profile.to_string(), "its access key is gone from the file")
        })?;
    Ok(Drawn { grant, until: None })
}

/// `AssumeRoleWithWebIdentity` of the STS API, version 2011-06-15. It is not signed: the token is
/// what proves who asks.
async fn assume(
    sts: &Url,
    role: &str,
    session_name: &str,
    token: &SecretString,
) -> Result<Drawn<Keys>, AuthError> {
    let fields = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", role),
        ("RoleSessionName", session_name),
        ("WebIdentityToken", token.expose_secret().trim()),
    ];
    let body = issuer::post_form(sts, &fields).await?;
    let body = SecretString::from(String::from_utf8(body).unwrap_or_default());
    let element = |name| between(body.expose_secret(), name);
    let given = (|| {
        Some(Given {
            code: None,
            id: element("AccessKeyId")?.to_owned(),
            secret: element("SecretAccessKey")?.into(),
            session: Some(element("SessionToken")?.into()),
            until: Some(element("Expiration")?.parse().ok()?),
        })
    })();
    given
        .ok_or_else(|| AuthError::no_answer(&shown(sts), "its answer holds no credentials"))?
        .drawn(sts)
}

async fn from_container(url: &Url, token: Option<&SecretString>) -> Result<Drawn<Keys>, AuthError> {
    let mut request = client(url)?
        .get(url.clone())
        .header("accept", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", token.expose_secret().trim());
    }
    let body = issuer::ask(url, request).await?;
    read_json::<Given>(url, &body)?.drawn(url)
}

/// IMDSv2: a session first, with which the role's name and its keys are read.
async fn from_instance(base: &Url) -> Result<Drawn<Keys>, AuthError> {
    let at = |path: &str| {
        base.join(path)
            .map_err(|_| AuthError::Setting(format!("{base} is no address of a metadata server")))
    };
    let url = at("/latest/api/token")?;
    let client = client(&url)?;
    let request = client
        .put(url.clone())
        .header("x-aws-ec2-metadata-token-ttl-seconds", SESSION_SECONDS);
    let session = SecretString::from(line(&url, issuer::ask(&url, request).await?)?);
    let get = async |url: &Url| {
        let request = client
            .get(url.clone())
            .header("x-aws-ec2-metadata-token", session.expose_secret());
        issuer::ask(url, request).await
    };

    let roles = at("/latest/meta-data/iam/security-credentials/")?;
    let role = line(&roles, get(&roles).await?)?;
    let url = at(&format!(
        "/latest/meta-data/iam/security-credentials/{role}"
    ))?;
    read_json::<Given>(&url, &get(&url).await?)?.drawn(&url)
}

/// The first line of a plain answer.
fn line(url: &Url, body: Vec<u8>) -> Result<String, AuthError> {
    let text = String::from_utf8(body).unwrap_or_default();
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() || !line.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(AuthError::no_answer(
            &shown(url),
            "its answer is empty or no name",
        ));
    }
    Ok(line.to_owned())
}

/// Temporary credentials, as containers and instances are told them.
#[derive(Deserialize)]
struct Given {
    #[serde(rename = "Code")]
    code: Option<String>,
    #[serde(rename = "AccessKeyId")]
    id: String,
    #[serde(rename = "SecretAccessKey")]
    secret: SecretString,
    #[serde(rename = "Token")]
    session: Option<SecretString>,
    #[serde(rename = "Expiration")]
    until: Option<Timestamp>,
}

impl Given {
    fn drawn(self, url: &Url) -> Result<Drawn<Keys>, AuthError> {
        if let Some(code) = self.code.filter(|code| code != "Success") {
            return Err(AuthError::no_answer(
                &shown(url),
                &format!("it says {code}"),
            ));
        }
        Ok(Drawn {
            grant: Keys {
                id: self.id,
                secret: self.secret,
                session: self.session,
            },
            until: self.until,
        })
    }
}
