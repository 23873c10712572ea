//! Credentials of admin: a bearer token, or a user name with a password; without either, none are required. Where
//! only a token is set, it is also the password of any user.

use std::io;
use std::path::PathBuf;

use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use ring::digest::{Digest, SHA256, digest};
use subtle::ConstantTimeEq;

use crate::config::{self, Secret};

const MAX_SECRET_FILE_BYTES: usize = 4096;

/// Why the credentials of admin cannot be loaded: the setting, its file, and the problem.
#[derive(Debug, thiserror::Error)]
#[error("admin.auth.{setting}_file: {}: {problem}", file.display())]
pub struct AuthError {
    setting: &'static str,
    file: PathBuf,
    problem: io::Error,
}

/// Hashes of the required credentials, so that a comparison takes the same time whatever their length.
pub struct Auth {
    bearer: Option<Digest>,
    basic: Option<Digest>,
}

fn hash(credentials: &str) -> Digest {
    digest(&SHA256, credentials.as_bytes())
}

fn is_hash_of(expected: Option<Digest>, sent: &str) -> bool {
    expected.is_some_and(|expected| expected.as_ref().ct_eq(hash(sent).as_ref()).into())
}

impl Auth {
    /// Loads the credentials, if any are required, and the secrets that are in files.
    ///
    /// # Errors
    /// Returns an error if the file of a secret cannot be used.
    pub fn load(config: &config::Auth) -> Result<Option<Auth>, AuthError> {
        let (bearer, basic) = load_secrets(config)?;
        let auth = Auth { bearer: bearer.as_deref().map(hash), basic: basic.as_deref().map(hash) };
        Ok((auth.bearer.is_some() || auth.basic.is_some()).then_some(auth))
    }

    /// Returns the answer to a request without the required credentials.
    pub(super) fn reject(&self, headers: &HeaderMap) -> Option<Response> {
        (!self.is_authorized(headers)).then(|| self.unauthorized_response())
    }

    fn is_authorized(&self, headers: &HeaderMap) -> bool {
        let sent = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.trim().split_once(' '));
        let Some((scheme, credentials)) = sent else { return false };
        let credentials = credentials.trim();
        match &*scheme.to_ascii_lowercase() {
            "bearer" => is_hash_of(self.bearer, credentials),
            "basic" if self.basic.is_none() => self.is_token_as_password(credentials),
            "basic" => is_hash_of(self.basic, credentials),
            _ => false,
        }
    }

    /// Returns whether the password of basic authentication is the token, because browsers cannot send one.
    fn is_token_as_password(&self, credentials: &str) -> bool {
        let pair = BASE64.decode(credentials.as_bytes()).ok().and_then(|pair| String::from_utf8(pair).ok());
        let Some((_, password)) = pair.as_deref().and_then(|pair| pair.split_once(':')) else { return false };
        is_hash_of(self.bearer, password)
    }

    fn unauthorized_response(&self) -> Response {
        let problem = "the credentials of admin.auth are required\n";
        let mut response = (StatusCode::UNAUTHORIZED, problem).into_response();
        let bearer = self.bearer.map(|_| "Bearer realm=\"lookoutd admin\"");
        for challenge in bearer.into_iter().chain(["Basic realm=\"lookoutd admin\", charset=\"UTF-8\""]) {
            response.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

/// Returns the header `Authorization` with the credentials, if any are required.
///
/// # Errors
/// Returns an error if the file of a secret cannot be used.
pub fn authorization(config: &config::Auth) -> Result<Option<String>, AuthError> {
    let (bearer, basic) = load_secrets(config)?;
    Ok(bearer.map(|token| format!("Bearer {token}")).or(basic.map(|pair| format!("Basic {pair}"))))
}

/// Returns the bearer token, and the user with the password as they are sent: base64 has one encoding of each text.
fn load_secrets(config: &config::Auth) -> Result<(Option<String>, Option<String>), AuthError> {
    let bearer = load_secret("bearer", &config.bearer, &config.bearer_file)?;
    let password = load_secret("password", &config.password, &config.password_file)?;
    let pair = config.username.as_ref().zip(password).map(|(user, password)| format!("{user}:{password}"));
    Ok((bearer, pair.map(|pair| BASE64.encode(pair.as_bytes()))))
}

/// Returns the secret, if there is one; of a file, the content without the end of its line.
fn load_secret(
    setting: &'static str,
    secret: &Option<Secret>,
    file: &Option<PathBuf>,
) -> Result<Option<String>, AuthError> {
    let Some(file) = file else { return Ok(secret.as_ref().map(|Secret(secret)| secret.clone())) };
    let error = |problem| AuthError { setting, file: file.clone(), problem };
    let text = std::fs::read_to_string(file).map_err(error)?;
    let problem = match text.trim_end_matches(['\n', '\r']) {
        "" => "it is empty; expected one line with the secret",
        secret if secret.len() > MAX_SECRET_FILE_BYTES => "it is too long for a secret of at most 4096 bytes",
        secret if secret.contains(char::is_control) => "it has more than one line; expected only the secret",
        secret => return Ok(Some(secret.to_owned())),
    };
    Err(error(io::Error::new(io::ErrorKind::InvalidData, problem)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth() -> Auth {
        let given = |secret: &str| Some(Secret(secret.to_owned()));
        let username = Some("prometheus".to_owned());
        let (bearer, password) = (given("t0ken"), given("pass:wörd"));
        Auth::load(&config::Auth { bearer, username, password, ..config::Auth::default() }).unwrap().unwrap()
    }

    fn is_authorized(value: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        auth().is_authorized(&headers)
    }

    #[test]
    fn request_with_the_exact_credentials_is_authorized() {
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
    fn token_alone_is_the_password_of_any_user() {
        let bearer = Some(Secret("t0ken".into()));
        let auth = Auth::load(&config::Auth { bearer, ..config::Auth::default() }).unwrap().unwrap();
        for (pair, right) in [
            (":t0ken", true),
            ("anna:t0ken", true),
            (":", false),
            ("t0ken:", false),
            ("t0ken", false),
            ("a:b:t0ken", false),
        ] {
            let basic = format!("Basic {}", BASE64.encode(pair.as_bytes()));
            let headers = HeaderMap::from_iter([(AUTHORIZATION, basic.parse().unwrap())]);
            assert_eq!(auth.is_authorized(&headers), right, "{pair}");
        }
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Basic ???"))]);
        assert!(!auth.is_authorized(&headers));
        let challenges: Vec<_> =
            auth.unauthorized_response().headers().get_all(WWW_AUTHENTICATE).iter().cloned().collect();
        assert_eq!(challenges.len(), 2, "{challenges:?}");
    }

    #[test]
    fn secret_file_holds_one_line() {
        let directory = tempfile::TempDir::new().unwrap();
        let load = |content: &str| {
            let path = directory.path().join("token");
            std::fs::write(&path, content).unwrap();
            let config = config::Auth { bearer_file: Some(path), ..config::Auth::default() };
            Auth::load(&config).map(|auth| auth.unwrap().bearer.unwrap())
        };
        for content in ["t0ken", "t0ken\n", "t0ken\r\n"] {
            let loaded = load(content).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(loaded.as_ref(), hash("t0ken").as_ref());
        }
        for (content, why) in
            [("", "empty"), ("\n", "empty"), ("a\nb", "one line"), (&"a".repeat(5000), "too long")]
        {
            let error = load(content).map(drop).expect_err(content).to_string();
            assert!(error.starts_with("admin.auth.bearer_file: ") && error.contains(why), "{error}");
            assert!(
                content.trim().is_empty() || !error.contains(content),
                "the secret is not in the message"
            );
        }
    }
}
