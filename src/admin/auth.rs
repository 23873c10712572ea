//! Who may read what admin shows: whoever knows the bearer token, or the user name and the password.
//! Without either setting everybody may.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use std::sync::Arc;
use subtle::{Choice, ConstantTimeEq};

use super::TEXT_PLAIN;
use crate::config::{self, Secret};

/// The largest file that is taken for a secret, in bytes.
const MAX_SECRET_FILE_BYTES: usize = 4096;

/// What must be shown to be let in.
pub struct Auth {
    bearer: Option<CredentialDigest>,
    basic: Option<CredentialDigest>,
}

/// Credentials are compared by their hashes: those have one length, whatever was sent, and comparing them
/// takes the same time wherever they differ.
struct CredentialDigest([u8; SHA256_OUTPUT_LEN]);

impl CredentialDigest {
    fn of(credentials: &str) -> CredentialDigest {
        let mut hash = [0; SHA256_OUTPUT_LEN];
        hash.copy_from_slice(digest(&SHA256, credentials.as_bytes()).as_ref());
        CredentialDigest(hash)
    }

    fn matches(&self, credentials: &str) -> Choice {
        self.0.ct_eq(&CredentialDigest::of(credentials).0)
    }
}

impl Auth {
    /// Reads the secrets that stand in files.
    ///
    /// # Errors
    /// One message that says which file cannot be used.
    pub fn load(settings: &config::Auth) -> Result<Auth, String> {
        let bearer = settings.bearer.as_ref().map(|token| load_secret("bearer", token)).transpose()?;
        let basic = match &settings.basic {
            None => None,
            Some((user, password)) => Some(format!("{user}:{}", load_secret("password", password)?)),
        };
        Ok(Auth {
            bearer: bearer.map(|token| CredentialDigest::of(&token)),
            // As it is sent: base64 has one way to write a text.
            basic: basic.map(|pair| CredentialDigest::of(&BASE64.encode(pair.as_bytes()))),
        })
    }

    fn is_authorized(&self, headers: &HeaderMap) -> bool {
        let sent = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some((scheme, credentials)) = sent.and_then(|sent| sent.trim().split_once(' ')) else {
            return false;
        };
        let expected = match scheme {
            _ if scheme.eq_ignore_ascii_case("bearer") => &self.bearer,
            _ if scheme.eq_ignore_ascii_case("basic") => &self.basic,
            _ => return false,
        };
        expected.as_ref().is_some_and(|hash| hash.matches(credentials.trim()).into())
    }

    fn unauthorized_response(&self) -> Response {
        let mut response =
            (StatusCode::UNAUTHORIZED, TEXT_PLAIN, "this needs the credentials of admin.auth\n")
                .into_response();
        let challenges = [
            (&self.bearer, "Bearer realm=\"lookoutd admin\""),
            (&self.basic, "Basic realm=\"lookoutd admin\", charset=\"UTF-8\""),
        ];
        for (_, challenge) in challenges.iter().filter(|(expected, _)| expected.is_some()) {
            response.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

/// A secret as it stands in the settings, or in the file that they name, less the end of its line.
fn load_secret(key: &str, secret: &Secret) -> Result<String, String> {
    let path = match secret {
        Secret::Given(secret) => return Ok(secret.clone()),
        Secret::File(path) => path,
    };
    let unusable = |why: &str| format!("admin.auth.{key}_file: {}: {why}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| unusable(&error.to_string()))?;
    match text.trim_end_matches(['\n', '\r']) {
        "" => Err(unusable("it is empty")),
        secret if secret.len() > MAX_SECRET_FILE_BYTES => Err(unusable("it is too long for a secret")),
        secret if secret.contains(char::is_control) => Err(unusable("it has more than one line")),
        secret => Ok(secret.to_owned()),
    }
}

/// Lets a request through that shows what it must, and any where nothing must be shown.
pub(super) async fn require_auth(
    State(auth): State<Option<Arc<Auth>>>,
    request: Request,
    next: Next,
) -> Response {
    match auth {
        Some(auth) if !auth.is_authorized(request.headers()) => auth.unauthorized_response(),
        _ => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth() -> Auth {
        let given = |secret: &str| Secret::Given(secret.to_owned());
        let basic = Some(("prometheus".to_owned(), given("pass:wörd")));
        Auth::load(&config::Auth { bearer: Some(given("t0ken")), basic }).unwrap()
    }

    fn is_authorized(value: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        auth().is_authorized(&headers)
    }

    #[test]
    fn the_credentials_are_what_counts() {
        let basic = |pair: &str| format!("Basic {}", BASE64.encode(pair.as_bytes()));
        for right in [
            "Bearer t0ken",
            "bearer  t0ken ",
            &basic("prometheus:pass:wörd"),
            "BASIC cHJvbWV0aGV1czpwYXNzOnfDtnJk",
        ] {
            assert!(is_authorized(right), "{right}");
        }
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "t0ken",
            "Bearer t0ke",
            "Bearer t0kenn",
            "Bearer T0ken",
            "Basic t0ken",
            "Digest t0ken",
            &basic("prometheus:pass"),
            &basic("prometheus"),
            &basic("Prometheus:pass:wörd"),
            "Bearer cHJvbWV0aGV1czpwYXNzOnfDtnJk",
        ] {
            assert!(!is_authorized(wrong), "{wrong}");
        }
        assert!(!auth().is_authorized(&HeaderMap::new()));
    }

    #[test]
    fn a_scheme_that_is_not_set_admits_nobody() {
        let only_bearer = config::Auth { bearer: Some(Secret::Given("t0ken".into())), basic: None };
        let auth = Auth::load(&only_bearer).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Basic Og=="));
        assert!(!auth.is_authorized(&headers));
        let challenges: Vec<_> =
            auth.unauthorized_response().headers().get_all(WWW_AUTHENTICATE).iter().cloned().collect();
        assert_eq!(challenges, ["Bearer realm=\"lookoutd admin\""]);
    }

    #[test]
    fn a_file_holds_one_line() {
        let directory = tempfile::TempDir::new().unwrap();
        let load = |content: &str| {
            let path = directory.path().join("token");
            std::fs::write(&path, content).unwrap();
            let bearer = Some(Secret::File(path));
            Auth::load(&config::Auth { bearer, basic: None }).map(|auth| auth.bearer.unwrap())
        };
        for content in ["t0ken", "t0ken\n", "t0ken\r\n"] {
            assert!(bool::from(load(content).unwrap_or_else(|error| panic!("{error}")).matches("t0ken")));
        }
        for (content, why) in
            [("", "empty"), ("\n", "empty"), ("a\nb", "one line"), (&"a".repeat(5000), "too long")]
        {
            let Err(error) = load(content) else { panic!("{content:?} is taken") };
            assert!(error.starts_with("admin.auth.bearer_file: ") && error.contains(why), "{error}");
            assert!(content.trim().is_empty() || !error.contains(content), "it is not repeated");
        }
    }
}
