//! JSON by HTTP: signed, to an address that was checked, and nowhere else.
//!
//! A name is resolved once, its addresses are checked, and the connection goes to one that passed: a name
//! that answers otherwise a moment later changes nothing. No redirect is followed, and of an answer no
//! more than its status is believed.

use std::fmt::Write;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use ring::hmac;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::message::Message;
use super::receiver::{Net, is_public};
use crate::client;

/// From the first look for the name until the answer.
const DEADLINE: Duration = Duration::from_secs(20);
/// Most bytes of an answer that are read; none of them is used.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// Longest secret.
const MAX_SECRET_BYTES: usize = 4_096;
/// Shortest: less can be guessed.
const MIN_SECRET_BYTES: usize = 16;

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The address is none.
    #[error("`{0}` is no address of a webhook: write https://host/path")]
    Url(String),
    /// A secret or password cannot be used.
    #[error("{path}: {reason}")]
    Secret {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The name has no address, or none that may be called.
    #[error(
        "{host} is at {address}, which is not public\n  hint: where that is meant, name its network in `allow` of [alerts]"
    )]
    Private {
        /// The name.
        host: String,
        /// Its address.
        address: IpAddr,
    },
    /// It would be readable on the way.
    #[error(
        "{0} is called by http, which others can read\n  hint: write https, or name its network in `allow` of [alerts]"
    )]
    Clear(String),
    /// It sends us elsewhere.
    #[error("it answered {status}: a redirect is not followed\n  hint: name the address that it leads to")]
    Redirect {
        /// 301, …
        status: u16,
    },
    /// It does not take it.
    #[error("it answered {status}")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// A mail address or server cannot be used.
    #[error("{0}")]
    Mail(String),
    /// Nobody answered, or not in time.
    #[error("no answer: {0}")]
    Away(String),
}

/// The secret in a file.
pub(super) fn secret(path: &Path) -> Result<String, SendError> {
    let refused = |reason: String| SendError::Secret { path: path.display().to_string(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| refused(format!("cannot be read: {error}")))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() || text.len() > MAX_SECRET_BYTES || text.contains(['\r', '\n']) {
        return Err(refused("does not hold one line".to_owned()));
    }
    Ok(text.to_owned())
}

/// Whether a secret in a file is long enough to sign with.
pub(crate) fn check_secret(path: &Path) -> Result<(), SendError> {
    if secret(path)?.len() < MIN_SECRET_BYTES {
        let reason = format!("a secret has {MIN_SECRET_BYTES} characters at least");
        return Err(SendError::Secret { path: path.display().to_string(), reason });
    }
    Ok(())
}

/// `v1=` and 64 hexadecimal digits: HMAC-SHA-256 of the time in seconds, a full stop, and the body.
pub fn signature(secret: &[u8], seconds: i64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{seconds}.").as_bytes());
    context.update(body);
    let mut text = String::from("v1=");
    for byte in context.sign().as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// An address of a webhook that can be called.
pub(crate) struct Target {
    uri: Uri,
    host: String,
    port: u16,
    is_secure: bool,
}

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Self, SendError> {
        // Never repeated whole: what stands behind the host may be a secret.
        let wrong = || SendError::Url(url.chars().take(40).take_while(|it| *it != '?').collect());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let is_secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let host = uri.host().ok_or_else(wrong)?.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || uri.authority().is_some_and(|it| it.as_str().contains('@')) {
            return Err(wrong());
        }
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        Ok(Self { uri, host, port, is_secure })
    }

    /// The address to call, once it is known to be one that may be.
    async fn resolve(&self, allowed: &[Net]) -> Result<SocketAddr, SendError> {
        let is_allowed = |ip: IpAddr| allowed.iter().any(|net| net.holds(ip));
        let found = lookup_host((self.host.as_str(), self.port)).await;
        let found: Vec<_> = found.map_err(|error| SendError::Away(error.to_string()))?.collect();
        let first = found.first().ok_or_else(|| SendError::Away(format!("{} has no address", self.host)))?;
        let passes = |it: &&SocketAddr| is_allowed(it.ip()) || (self.is_secure && is_public(it.ip()));
        match found.iter().find(passes) {
            Some(address) => Ok(*address),
            None if is_public(first.ip()) => Err(SendError::Clear(self.host.clone())),
            None => Err(SendError::Private { host: self.host.clone(), address: first.ip() }),
        }
    }
}

/// Hands a message on. `now_us` is the time that is signed, µs since 1970.
pub(super) async fn send(
    url: &str,
    secret_file: &Path,
    message: &Message,
    allowed: &[Net],
    ca: Option<&Path>,
    now_us: i64,
) -> Result<(), SendError> {
    let target = Target::parse(url)?;
    let secret = secret(secret_file)?;
    let body = serde_json::to_vec(message).map_err(|error| SendError::Away(error.to_string()))?;
    let sending = async {
        let address = target.resolve(allowed).await?;
        let stream = connect(&target, address, ca).await?;
        exchange(stream, request(&target, &secret, message, body, now_us)?).await
    };
    let status = tokio::time::timeout(DEADLINE, sending)
        .await
        .map_err(|_| SendError::Away(format!("not within {} s", DEADLINE.as_secs())))??;
    match status {
        200..=299 => Ok(()),
        300..=399 => Err(SendError::Redirect { status }),
        status => Err(SendError::Status { status }),
    }
}

fn request(
    target: &Target,
    secret: &str,
    message: &Message,
    body: Vec<u8>,
    now_us: i64,
) -> Result<Request<Full<Bytes>>, SendError> {
    let seconds = now_us.div_euclid(1_000_000);
    let path = target.uri.path_and_query().map_or("/", |it| it.as_str());
    let authority = target.uri.authority().map(ToString::to_string).unwrap_or_default();
    let request = Request::post(path)
        .header(HOST, authority)
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("sandan-ingest/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .header("sandan-delivery", &message.id)
        .header("sandan-timestamp", seconds.to_string())
        .header("sandan-signature", signature(secret.as_bytes(), seconds, &body));
    request.body(Full::new(Bytes::from(body))).map_err(|error| SendError::Away(error.to_string()))
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(target: &Target, address: SocketAddr, ca: Option<&Path>) -> Result<Box<dyn Stream>, SendError> {
    let away = |error: io::Error| SendError::Away(error.to_string());
    let stream = TcpStream::connect(address).await.map_err(away)?;
    if !target.is_secure {
        return Ok(Box::new(stream));
    }
    let config = client::trusting(ca).map_err(|error| SendError::Away(error.to_string()))?;
    let name = rustls::pki_types::ServerName::try_from(target.host.clone());
    let name = name.map_err(|error| SendError::Away(error.to_string()))?;
    Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(away)?))
}

/// The status of the answer.
async fn exchange(stream: Box<dyn Stream>, request: Request<Full<Bytes>>) -> Result<u16, SendError> {
    let away = |error: hyper::Error| SendError::Away(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(away)?;
    let driving = tokio::spawn(connection);
    let answered = async {
        let answer = sender.send_request(request).await.map_err(away)?;
        let status = answer.status().as_u16();
        // Read to its end where it is short, so that the other side sees no broken pipe.
        drop(Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await);
        Ok(status)
    };
    let status = answered.await;
    driving.abort();
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_one_that_everybody_reckons() {
        // RFC 4231, test case 2, has the key `Jefe`; here with the time before the body:
        // python3 -c 'import hmac; print(hmac.new(b"Jefe", b"1790000000.{}", "sha256").hexdigest())'
        let expected = "v1=d927a7192cf1342cbb06dac01a2b72995b9dec4d36dbae00ea48c5671b3f9751";
        assert_eq!(signature(b"Jefe", 1_790_000_000, b"{}"), expected);
    }

    #[test]
    fn a_target_has_a_scheme_and_a_host_and_no_password() {
        let at = |url: &str| Target::parse(url).map(|it| (it.host, it.port, it.is_secure));
        assert_eq!(at("https://hooks.example/a?b=c").unwrap(), ("hooks.example".into(), 443, true));
        assert_eq!(at("http://[::1]:8080/").unwrap(), ("::1".into(), 8080, false));
        for wrong in ["", "hooks.example", "ftp://a", "https://", "https://u:p@a/", "file:///etc/passwd"] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
        let told = Target::parse("gopher://a/?token=SECRET").err().unwrap().to_string();
        assert!(!told.contains("SECRET"), "{told}");
    }

    #[tokio::test]
    async fn only_what_is_public_or_allowed_is_called() {
        let resolve = async |url: &str, allowed: &[&str]| {
            let allowed: Vec<Net> = allowed.iter().map(|net| net.parse().unwrap()).collect();
            Target::parse(url).unwrap().resolve(&allowed).await
        };
        for private in
            ["https://127.0.0.1:9/", "https://169.254.169.254/", "https://[::ffff:10.0.0.1]/", "http://10.1.1.1/"]
        {
            assert!(matches!(resolve(private, &[]).await, Err(SendError::Private { .. })), "{private}");
        }
        assert!(matches!(resolve("https://localhost/", &[]).await, Err(SendError::Private { .. })));
        assert!(matches!(resolve("http://8.8.8.8/", &[]).await, Err(SendError::Clear(_))));
        assert_eq!(resolve("https://8.8.8.8/", &[]).await.unwrap().to_string(), "8.8.8.8:443");
        assert_eq!(resolve("http://10.1.1.1/", &["10.0.0.0/8"]).await.unwrap().to_string(), "10.1.1.1:80");
        // Whatever way it is written.
        assert!(matches!(
            resolve("https://2130706433/", &[]).await,
            Err(SendError::Private { .. } | SendError::Away(_))
        ));
    }

    #[test]
    fn a_secret_is_one_line_of_some_length() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        for (text, good) in
            [("0123456789abcdef\n", true), ("short", false), ("", false), ("0123456789abcdef\nb", false)]
        {
            std::fs::write(&file, text).unwrap();
            assert_eq!(check_secret(&file).is_ok(), good, "{text:?}");
        }
        assert!(check_secret(&dir.path().join("none")).is_err());
    }
}
