//! Clients of the clouds, with credentials from where each cloud's own tools look for them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ini::Ini;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::multipart::MultipartStore;
use object_store::signer::Signer;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use super::error::{Refusal, settings_error};
use crate::store::StoreError;
use crate::store::location::{ObjectLocation, Scheme, StoreOptions};

/// A connected client: one object in up to three roles.
pub(super) struct Client {
    pub(super) objects: Arc<dyn ObjectStore>,
    /// Uploads in parts; a web server has none.
    pub(super) multipart: Option<Arc<dyn MultipartStore>>,
    /// Presigned links.
    pub(super) signer: Option<Arc<dyn Signer>>,
}

/// How long a request is tried.
///
/// | | tries | at most | between tries |
/// |---|---|---|---|
/// | until the store has answered once | 4 | 5 s | 0.1 to 1 s, with jitter |
/// | afterwards | 12 | 2 min | 0.1 to 15 s, doubling, with jitter |
///
/// So a wrong address is told within seconds, and a store that stumbles at night is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Budget {
    FirstContact,
    Steady,
}

impl Budget {
    fn retries(self) -> RetryConfig {
        let init_backoff = Duration::from_millis(100);
        let (max_backoff, max_retries, retry_timeout) = match self {
            Self::FirstContact => (Duration::from_secs(1), 3, Duration::from_secs(5)),
            Self::Steady => (Duration::from_secs(15), 11, Duration::from_secs(120)),
        };
        RetryConfig { backoff: BackoffConfig { init_backoff, max_backoff, base: 2.0 }, max_retries, retry_timeout }
    }

    fn client(self) -> ClientOptions {
        // No request carries more than some MiB, so one that takes a minute is stuck.
        let (connect, request) = match self {
            Self::FirstContact => (2, 10),
            Self::Steady => (5, 60),
        };
        ClientOptions::new()
            .with_connect_timeout(Duration::from_secs(connect))
            .with_timeout(Duration::from_secs(request))
            .with_user_agent(USER_AGENT)
    }
}

const USER_AGENT: object_store::HeaderValue =
    object_store::HeaderValue::from_static(concat!("kt-export/", env!("CARGO_PKG_VERSION")));

/// Connects to the store of a location. Nothing is sent yet.
///
/// # Errors
/// [`StoreError::Remote`] where what the environment says cannot be used.
pub(super) fn connect(at: &ObjectLocation, budget: Budget) -> Result<Client, StoreError> {
    use_ring();
    let failed = |error: object_store::Error| settings_error(at.bucket(), &error);
    let bucket = at.bucket();
    let options = &at.options;
    match at.scheme {
        Scheme::S3 => s3(&bucket, options, budget)?.build().map(all::<AmazonS3>).map_err(failed),
        Scheme::Gs => {
            check_endpoint(&bucket, options.endpoint.as_deref())?;
            let mut builder = GoogleCloudStorageBuilder::from_env()
                .with_url(&bucket)
                .with_retry(budget.retries())
                .with_client_options(allow_http(budget.client(), options.endpoint.as_deref()));
            if let Some(endpoint) = &options.endpoint {
                builder = builder.with_base_url(endpoint);
            }
            if let Some(anonymous) = options.anonymous {
                builder = builder.with_skip_signature(anonymous);
            }
            builder.build().map(all).map_err(failed)
        }
        Scheme::Az | Scheme::Abfss => {
            let mut endpoint = options.endpoint.clone().or_else(|| environment("AZURE_STORAGE_ENDPOINT"));
            endpoint = endpoint.or_else(|| environment("AZURE_ENDPOINT"));
            check_endpoint(&bucket, endpoint.as_deref())?;
            let mut builder = MicrosoftAzureBuilder::from_env()
                .with_url(&bucket)
                .with_retry(budget.retries())
                .with_client_options(allow_http(budget.client(), endpoint.as_deref()));
            if let Some(endpoint) = endpoint {
                builder = builder.with_endpoint(endpoint);
            }
            // With the emulator's flag in the environment an endpoint would be passed over in silence.
            if options.endpoint.is_some() {
                builder = builder.with_use_emulator(false);
            }
            if let Some(account) = &options.account {
                builder = builder.with_account(account);
            }
            if let Some(anonymous) = options.anonymous {
                builder = builder.with_skip_signature(anonymous);
            }
            builder.build().map(all).map_err(failed)
        }
        Scheme::Https | Scheme::Http => {
            let client = HttpBuilder::new()
                .with_url(&bucket)
                .with_retry(budget.retries())
                .with_client_options(budget.client().with_allow_http(at.scheme == Scheme::Http))
                .build()
                .map_err(failed)?;
            Ok(Client { objects: Arc::new(client), multipart: None, signer: None })
        }
    }
}

fn all<S: ObjectStore + MultipartStore + Signer>(store: S) -> Client {
    let store = Arc::new(store);
    Client { objects: store.clone(), multipart: Some(store.clone()), signer: Some(store) }
}

/// TLS by ring. Somebody who links this library may have chosen before; then theirs stays.
fn use_ring() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Whoever writes `http://` into an endpoint has allowed it.
fn allow_http(client: ClientOptions, endpoint: Option<&str>) -> ClientOptions {
    if endpoint.is_some_and(|e| e.starts_with("http://")) { client.with_allow_http(true) } else { client }
}

/// The client panics on an endpoint that is no URL. It is not shown, as somebody may have written a password into it.
fn check_endpoint(bucket: &str, endpoint: Option<&str>) -> Result<(), StoreError> {
    let is_url = |text: &str| {
        url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())
    };
    if endpoint.is_none_or(is_url) {
        return Ok(());
    }
    let answer = "the endpoint is no URL: write https://host or http://host:port".to_owned();
    Err(StoreError::Remote { action: "connect to", at: bucket.to_owned(), refusal: Refusal::Settings, answer })
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// S3: the environment, then the profile that `options` or the environment names, then web identity, container and
/// instance.
fn s3(bucket: &str, options: &StoreOptions, budget: Budget) -> Result<AmazonS3Builder, StoreError> {
    // One request an object: every store that speaks S3 has it, and a locked object is told as such.
    let mut builder =
        AmazonS3Builder::from_env().with_url(bucket).with_retry(budget.retries()).with_disable_bulk_delete(true);
    let mut region = options.region.clone().or_else(|| environment("AWS_REGION"));
    region = region.or_else(|| environment("AWS_DEFAULT_REGION"));
    let mut endpoint = options.endpoint.clone().or_else(|| environment("AWS_ENDPOINT_URL_S3"));
    endpoint = endpoint.or_else(|| environment("AWS_ENDPOINT_URL")).or_else(|| environment("AWS_ENDPOINT"));
    let told = ["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"];
    let is_told =
        told.into_iter().chain(["AWS_CONTAINER_CREDENTIALS_FULL_URI"]).any(|name| environment(name).is_some());
    let anonymous = options.anonymous.unwrap_or_default();
    if !anonymous
        && (options.profile.is_some() || !is_told)
        && let Some(profile) = Profile::find(options.profile.as_deref())?
    {
        if let Some((id, secret)) = profile.keys {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret);
            if let Some(token) = profile.token {
                builder = builder.with_token(token);
            }
        }
        region = region.or(profile.region);
        endpoint = endpoint.or(profile.endpoint);
    }
    if let Some(region) = region {
        builder = builder.with_region(region);
    }
    check_endpoint(bucket, endpoint.as_deref())?;
    builder = builder.with_client_options(allow_http(budget.client(), endpoint.as_deref()));
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(virtual_hosted) = options.virtual_hosted_style {
        builder = builder.with_virtual_hosted_style_request(virtual_hosted);
    }
    Ok(if anonymous { builder.with_skip_signature(true) } else { builder })
}

/// A section of `~/.aws/credentials` and `~/.aws/config`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Profile {
    keys: Option<(String, String)>,
    token: Option<String>,
    region: Option<String>,
    endpoint: Option<String>,
}

impl Profile {
    /// The named one, else `AWS_PROFILE`, else `default` if it is there.
    fn find(named: Option<&str>) -> Result<Option<Self>, StoreError> {
        let asked = named.map(str::to_owned).or_else(|| environment("AWS_PROFILE"));
        let home = environment("HOME").or_else(|| environment("USERPROFILE")).map(PathBuf::from);
        let file = |variable: &str, name: &str| {
            environment(variable).map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(".aws").join(name)))
        };
        let files = [file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), file("AWS_CONFIG_FILE", "config")];
        let texts = files.map(|path| path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default());
        Self::read(&texts[0], &texts[1], asked.as_deref())
    }

    fn read(credentials: &str, config: &str, asked: Option<&str>) -> Result<Option<Self>, StoreError> {
        let name = asked.unwrap_or("default");
        let refused = |why: String| StoreError::Profile { name: name.to_owned(), why };
        // The parser's message would quote the line, which may be a secret.
        let parse = |text: &str, file: &str| {
            let unreadable = format!("the {file} file has a line that is neither `[section]` nor `name = value`");
            Ini::load_from_str_noescape(text).map_err(|_| refused(unreadable))
        };
        let (credentials, config) = (parse(credentials, "credentials")?, parse(config, "config")?);
        let in_config = config.section(Some(format!("profile {name}"))).or_else(|| config.section(Some(name)));
        let sections = [credentials.section(Some(name)), in_config];
        if sections.iter().all(Option::is_none) {
            return match asked {
                Some(_) => Err(refused("neither ~/.aws/credentials nor ~/.aws/config has it".to_owned())),
                None => Ok(None),
            };
        }
        let value = |key: &str| sections.iter().flatten().find_map(|s| s.get(key)).map(str::to_owned);
        let keys = value("aws_access_key_id").zip(value("aws_secret_access_key"));
        let elsewhere = ["sso_session", "sso_start_url", "credential_process", "role_arn", "credential_source"];
        if keys.is_none()
            && let Some(key) = elsewhere.into_iter().find(|key| value(key).is_some())
        {
            let way_out = "export its credentials first: `aws configure export-credentials --format env`";
            return Err(refused(format!("it gets its keys by `{key}`, which is not supported; {way_out}")));
        }
        Ok(Some(Self {
            keys,
            token: value("aws_session_token"),
            region: value("region"),
            endpoint: value("endpoint_url"),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "[default]\naws_access_key_id = A\naws_secret_access_key = a/b+c=\n\n[audit]\n\
                               aws_access_key_id=B\naws_secret_access_key=b\naws_session_token=t\n";
    const CONFIG: &str = "[profile audit]\nregion = eu-central-1\nendpoint_url = http://127.0.0.1:1\n[profile sso]\n\
                          sso_session = corp\n";

    #[test]
    fn a_profile_is_read_from_both_files() {
        let audit = Profile::read(CREDENTIALS, CONFIG, Some("audit")).unwrap().unwrap();
        let expected = Profile {
            keys: Some(("B".into(), "b".into())),
            token: Some("t".into()),
            region: Some("eu-central-1".into()),
            endpoint: Some("http://127.0.0.1:1".into()),
        };
        assert_eq!(audit, expected);
        let default = Profile::read(CREDENTIALS, CONFIG, None).unwrap().unwrap();
        assert_eq!(default.keys, Some(("A".into(), "a/b+c=".into())));
        assert_eq!(Profile::read("", "", None).unwrap(), None);
    }

    #[test]
    fn a_profile_that_cannot_be_used_says_why_and_shows_no_secret() {
        let error = |credentials: &str, name| Profile::read(credentials, CONFIG, Some(name)).unwrap_err().to_string();
        assert!(error(CREDENTIALS, "none").contains("neither ~/.aws/credentials nor ~/.aws/config has it"));
        assert!(error(CREDENTIALS, "sso").contains("`sso_session`, which is not supported"));
        let broken = error("[audit]\naws_secret_access_key CANARY\n", "audit");
        assert!(
            broken.contains("the credentials file has a line that is neither") && !broken.contains("CANARY"),
            "{broken}"
        );
    }
}
