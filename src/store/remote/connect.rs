//! Cloud clients. Credentials come from the same places as in each cloud's own tools.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ini::Ini;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredentialProvider};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GcpSigningCredentialProvider, GoogleCloudStorage, GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::list::PaginatedListStore;
use object_store::multipart::MultipartStore;
use object_store::signer::Signer;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use super::answers::{Connector, CredentialsEnd};
use super::error::{Refusal, settings_error};
use super::tries::{Contact, DEFAULT_TIME};
use crate::small_file;
use crate::store::StoreError;
use crate::store::location::{ObjectLocation, Scheme, StoreOptions};

/// A connected client: one object in up to four roles.
pub(super) struct Client {
    pub(super) objects: Arc<dyn ObjectStore>,
    /// Lists; a web server has none.
    pub(super) pages: Option<Arc<dyn PaginatedListStore>>,
    /// Uploads in parts; a web server has none.
    pub(super) multipart: Option<Arc<dyn MultipartStore>>,
    /// Presigned links.
    pub(super) signer: Option<Arc<dyn Signer>>,
    /// What signs requests to S3.
    pub(super) credentials: Option<AwsCredentialProvider>,
    /// When those end, where an answer has said so.
    pub(super) end: CredentialsEnd,
    /// What signs links to Google Cloud Storage.
    pub(super) signing: Option<GcpSigningCredentialProvider>,
}

/// The variable that says how many seconds a question is put to a store.
const TIME: &str = "KT_EXPORT_STORE_TIMEOUT";

/// How long a question is put to a store that does not answer it.
///
/// # Errors
/// [`StoreError::Remote`] where the environment names no such time.
pub(super) fn time(at: &ObjectLocation) -> Result<Duration, StoreError> {
    let Some(text) = environment(TIME) else { return Ok(DEFAULT_TIME) };
    match text.parse() {
        Ok(seconds @ 1..=3600) => Ok(Duration::from_secs(seconds)),
        _ => {
            let answer = format!("{TIME} is `{}`: write seconds, from 1 to 3600", text.escape_debug());
            Err(StoreError::Remote { action: "connect to", at: at.bucket(), refusal: Refusal::Settings, answer })
        }
    }
}

/// No retries of the client's own: [`super::tries`] asks again, so that there is one budget.
const ONCE: RetryConfig = RetryConfig {
    backoff: BackoffConfig { init_backoff: Duration::ZERO, max_backoff: Duration::ZERO, base: 1.0 },
    max_retries: 0,
    retry_timeout: Duration::ZERO,
};

fn client_options(time: Duration) -> ClientOptions {
    ClientOptions::new()
        .with_connect_timeout(Duration::from_secs(5))
        .with_timeout(Contact::longest_try(time))
        .with_user_agent(USER_AGENT)
}

const USER_AGENT: object_store::HeaderValue =
    object_store::HeaderValue::from_static(concat!("kt-export/", env!("CARGO_PKG_VERSION")));

/// Connects to the store of a location. Nothing is sent yet.
///
/// # Errors
/// [`StoreError::Remote`] where what the environment says cannot be used.
pub(super) fn connect(at: &ObjectLocation, time: Duration) -> Result<Client, StoreError> {
    use_ring();
    let failed = |error: object_store::Error| settings_error(at.bucket(), &error);
    let bucket = at.bucket();
    let options = &at.options;
    let connector = Connector { container: environment("AWS_CONTAINER_CREDENTIALS_FULL_URI"), ..Connector::default() };
    let end = connector.end.clone();
    match at.scheme {
        Scheme::S3 => {
            let store = s3(&bucket, options, time)?.with_http_connector(connector).build().map_err(failed)?;
            let credentials = Some(store.credentials().clone());
            Ok(Client { credentials, end, ..all::<AmazonS3>(store) })
        }
        Scheme::Gs => {
            let mut builder = GoogleCloudStorageBuilder::from_env();
            check_google_file(&bucket, &builder)?;
            let endpoint = options.endpoint.clone().or_else(|| builder.get_config_value(&GoogleConfigKey::BaseUrl));
            check_endpoint(&bucket, endpoint.as_deref())?;
            builder = builder
                .with_http_connector(connector)
                .with_url(&bucket)
                .with_retry(ONCE)
                .with_client_options(allow_http(client_options(time), endpoint.as_deref()));
            if let Some(endpoint) = endpoint {
                builder = builder.with_base_url(&endpoint);
            }
            if let Some(anonymous) = options.anonymous {
                builder = builder.with_skip_signature(anonymous);
            }
            let store = builder.build().map_err(failed)?;
            let signing = Some(store.signing_credentials().clone());
            Ok(Client { signing, ..all::<GoogleCloudStorage>(store) })
        }
        Scheme::Az | Scheme::Abfss => {
            let mut endpoint = options.endpoint.clone().or_else(|| environment("AZURE_STORAGE_ENDPOINT"));
            endpoint = endpoint.or_else(|| environment("AZURE_ENDPOINT"));
            check_endpoint(&bucket, endpoint.as_deref())?;
            let mut builder = MicrosoftAzureBuilder::from_env()
                .with_http_connector(connector)
                .with_url(&bucket)
                .with_retry(ONCE)
                .with_client_options(allow_http(client_options(time), endpoint.as_deref()));
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
            if let Some(path) = builder.get_config_value(&AzureConfigKey::FederatedTokenFile) {
                credentials_file(&bucket, Path::new(&path))?;
            }
            builder.build().map(all).map_err(failed)
        }
        Scheme::Https | Scheme::Http => {
            let client = HttpBuilder::new()
                .with_url(&bucket)
                .with_retry(ONCE)
                .with_client_options(client_options(time).with_allow_http(at.scheme == Scheme::Http))
                .build()
                .map_err(failed)?;
            let objects = Arc::new(client);
            Ok(Client { objects, pages: None, multipart: None, signer: None, credentials: None, signing: None, end })
        }
    }
}

fn all<S: ObjectStore + PaginatedListStore + MultipartStore + Signer>(store: S) -> Client {
    let store = Arc::new(store);
    Client {
        objects: store.clone(),
        pages: Some(store.clone()),
        multipart: Some(store.clone()),
        signer: Some(store),
        credentials: None,
        signing: None,
        end: CredentialsEnd::default(),
    }
}

/// Installs ring for TLS, unless the program that links this library has chosen another provider.
fn use_ring() {
    #[expect(clippy::let_underscore_must_use, reason = "an error says that a provider is installed")]
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// An `http://` endpoint allows plain HTTP.
fn allow_http(client: ClientOptions, endpoint: Option<&str>) -> ClientOptions {
    if endpoint.is_some_and(|e| e.starts_with("http://")) { client.with_allow_http(true) } else { client }
}

/// The client panics on an endpoint that is not a URL. It is not shown, as somebody may have written a password into
/// it.
fn check_endpoint(bucket: &str, endpoint: Option<&str>) -> Result<(), StoreError> {
    let is_url = |text: &str| {
        url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())
    };
    if endpoint.is_none_or(is_url) {
        return Ok(());
    }
    let answer = "the endpoint is not a URL: write https://host or http://host:port".to_owned();
    Err(StoreError::Remote { action: "connect to", at: bucket.to_owned(), refusal: Refusal::Settings, answer })
}

/// Larger than any file of profiles, keys or tokens.
const LARGEST_CREDENTIALS_BYTES: u64 = 1 << 20;

/// The text of a file that may hold credentials; `None` if there is no such file. It is read here even if the client reads
/// it again, because the client would wait for a pipe and read a device without an end.
fn credentials_file(bucket: &str, path: &Path) -> Result<Option<String>, StoreError> {
    // The usual way to name no file.
    if path == Path::new("/dev/null") {
        return Ok(None);
    }
    match small_file::read_regular(path, LARGEST_CREDENTIALS_BYTES) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(unusable_file(bucket, path, "it is not UTF-8 text")),
        },
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(unusable_file(bucket, path, &error.to_string())),
    }
}

fn unusable_file(bucket: &str, path: &Path, why: &str) -> StoreError {
    let answer = format!("cannot read the credentials or settings in {}: {why}", path.display());
    StoreError::Remote { action: "connect to", at: bucket.to_owned(), refusal: Refusal::Settings, answer }
}

/// Checks the file that the Google client would read, also for requests without a signature.
fn check_google_file(bucket: &str, builder: &GoogleCloudStorageBuilder) -> Result<(), StoreError> {
    let named = |key| builder.get_config_value(&key);
    if let Some(path) = named(GoogleConfigKey::ServiceAccount) {
        return credentials_file(bucket, Path::new(&path)).map(drop);
    }
    if named(GoogleConfigKey::ServiceAccountKey).or_else(|| named(GoogleConfigKey::BearerToken)).is_some() {
        return Ok(());
    }
    let (home, folder) = if cfg!(windows) { ("APPDATA", "gcloud") } else { ("HOME", ".config/gcloud") };
    let of_gcloud = || Some(Path::new(&environment(home)?).join(folder).join("application_default_credentials.json"));
    match named(GoogleConfigKey::ApplicationCredentials).map(PathBuf::from).or_else(of_gcloud) {
        Some(path) => credentials_file(bucket, &path).map(drop),
        None => Ok(()),
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// S3: the environment, then the profile that `options` or the environment names, then web identity, container and
/// instance.
fn s3(bucket: &str, options: &StoreOptions, time: Duration) -> Result<AmazonS3Builder, StoreError> {
    // One request per object: every S3-compatible store supports it, and locked objects are reported as such.
    let mut builder = AmazonS3Builder::from_env().with_url(bucket).with_retry(ONCE).with_disable_bulk_delete(true);
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
        && let Some(profile) = Profile::find(bucket, options.profile.as_deref())?
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
    if !anonymous && builder.get_config_value(&AmazonS3ConfigKey::AccessKeyId).is_none() {
        let file = |key| builder.get_config_value(&key).map(PathBuf::from);
        if let Some(path) = file(AmazonS3ConfigKey::WebIdentityTokenFile) {
            credentials_file(bucket, &path)?;
        }
        if let Some(path) = file(AmazonS3ConfigKey::ContainerAuthorizationTokenFile)
            && credentials_file(bucket, &path)?.is_some_and(|token| token.contains(char::is_control))
        {
            // The client panics on a header with a line break.
            return Err(unusable_file(
                bucket,
                &path,
                "it holds more than the token: remove line breaks, also at its end",
            ));
        }
    }
    check_endpoint(bucket, endpoint.as_deref())?;
    builder = builder.with_client_options(allow_http(client_options(time), endpoint.as_deref()));
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
    ///
    /// # Errors
    /// [`StoreError::Remote`] for a file that is there and cannot be read; [`StoreError::Profile`].
    fn find(bucket: &str, named: Option<&str>) -> Result<Option<Self>, StoreError> {
        let asked = named.map(str::to_owned).or_else(|| environment("AWS_PROFILE"));
        let home = environment("HOME").or_else(|| environment("USERPROFILE")).map(PathBuf::from);
        let file = |variable: &str, name: &str| {
            environment(variable).map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(".aws").join(name)))
        };
        let text = |path: Option<PathBuf>| match path {
            Some(path) => Ok(credentials_file(bucket, &path)?.unwrap_or_default()),
            None => Ok(String::new()),
        };
        let credentials = text(file("AWS_SHARED_CREDENTIALS_FILE", "credentials"))?;
        let config = text(file("AWS_CONFIG_FILE", "config"))?;
        Self::read(&credentials, &config, asked.as_deref())
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
    fn a_file_of_credentials_that_is_not_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        std::fs::write(&file, CREDENTIALS).unwrap();
        for (path, text) in [
            (folder.path().join("none"), None),
            (file.join(".aws/credentials"), None),
            (PathBuf::from("/dev/null"), None),
            (file, Some(CREDENTIALS)),
        ] {
            assert_eq!(credentials_file("s3://b", &path).unwrap().as_deref(), text, "{}", path.display());
        }
        let error = credentials_file("s3://b", folder.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("settings in {}: Is a directory", folder.path().display())), "{error}");
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
