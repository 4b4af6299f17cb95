//! The other end of the API: what one person asks of a service on another machine.
//!
//! It promises that the token leaves this process only over TLS, or to this machine itself,
//! and is in no argument, log or `Debug`. It must not know what the answers mean.

mod tls;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, IF_MATCH};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::id::CommandId;

/// Until there is a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Until an answer is whole; the service gives up after 30 s.
const ANSWER_DEADLINE: Duration = Duration::from_mins(1);
/// Longest answer: a page of consents that each list a thousand machines.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// Longest token file: a token and a line's end, and some blanks.
const MAX_TOKEN_BYTES: u64 = 1_024;

/// Why nothing was answered, or not what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is none.
    #[error("`{0}` is not an address of a service: write one such as https://sandan.example")]
    Address(String),
    /// The token would travel in the clear.
    #[error("`{0}` is not this machine, and a token is only sent there over https")]
    Clear(String),
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is in the token's file is no token.
    #[error("there is no token in {0}: it holds a token alone, such as `member add` printed it")]
    NoToken(String),
    /// The certificates that are trusted cannot be used.
    #[error("the certificates that are trusted cannot be used: {0}")]
    Trust(String),
    /// No connection, or it ended.
    #[error("{address} did not answer: {source}")]
    Away {
        /// Of the service.
        address: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The service says no.
    #[error("{title}: {detail} ({code})")]
    Refused {
        /// HTTP status.
        status: u16,
        /// For programs.
        code: String,
        /// For people.
        title: String,
        /// What is wrong with this request.
        detail: String,
    },
}

/// Proof of who asks. Its text leaves in a request's header and in no other way.
pub struct Token(HeaderValue);

impl Token {
    /// The text of a token, such as an environment variable holds it.
    pub fn new(text: &str, from: &str) -> Result<Self, ClientError> {
        let none = || ClientError::NoToken(from.to_owned());
        let text = text.trim();
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let mut value = HeaderValue::try_from(format!("Bearer {text}")).ok().filter(|_| plain).ok_or_else(none)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// Of a file that holds it alone.
    pub fn read(path: &Path) -> Result<Self, ClientError> {
        use std::io::Read;
        let failed = |source| ClientError::File { path: path.to_owned(), source };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(MAX_TOKEN_BYTES).read_to_string(&mut text).map_err(failed)?;
        Self::new(&text, &path.display().to_string())
    }
}

/// What a connection to another service believes: what `ca` holds (PEM), else what this machine does.
pub(crate) fn trusting(ca: Option<&Path>) -> Result<rustls::ClientConfig, ClientError> {
    tls::config(ca)
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// One request.
#[derive(Debug)]
pub struct Question {
    method: Method,
    path: String,
    /// What it is decided on.
    pub revision: Option<u64>,
    /// Sent again under it, it is carried out once.
    pub key: Option<CommandId>,
    body: Option<Value>,
}

impl Question {
    /// `GET` of a path with its query.
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), revision: None, key: None, body: None }
    }

    /// `POST` of JSON to a path, under a key of its own.
    pub fn post(path: impl Into<String>, body: Value) -> Self {
        let key = Some(CommandId::random());
        Self { method: Method::POST, path: path.into(), revision: None, key, body: Some(body) }
    }

    /// The same, decided on a revision.
    #[must_use]
    pub fn on(self, revision: u64) -> Self {
        Self { revision: Some(revision), ..self }
    }
}

/// A service and who asks it.
pub struct Client {
    /// Scheme, host and port, and a path before all others.
    base: Uri,
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
    token: Option<Token>,
}

impl Client {
    /// Of an address such as `https://sandan.example`. What `ca` holds (PEM) is trusted instead of
    /// what this machine trusts.
    pub fn new(address: &str, token: Option<Token>, ca: Option<&Path>) -> Result<Self, ClientError> {
        let wrong = || ClientError::Address(address.chars().take(80).flat_map(char::escape_debug).collect());
        let base: Uri = address.trim_end_matches('/').parse().map_err(|_| wrong())?;
        let named = base.host().ok_or_else(wrong)?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let secure = match base.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        if base.query().is_some() || base.authority().is_some_and(|it| it.as_str().contains('@')) {
            return Err(wrong());
        }
        let here = named == "localhost" || named.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if !secure && !here {
            return Err(ClientError::Clear(named));
        }
        let tls = if secure { Some(TlsConnector::from(Arc::new(tls::config(ca)?))) } else { None };
        let port = base.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Ok(Self { base, host: named, port, tls, token })
    }

    /// What came back as JSON; a refusal as an error.
    pub async fn ask(&self, question: Question) -> Result<Value, ClientError> {
        let away = |source: Box<dyn std::error::Error + Send + Sync>| ClientError::Away {
            address: self.base.to_string(),
            source,
        };
        let connected = tokio::time::timeout(CONNECT_DEADLINE, self.connect()).await;
        let stream =
            connected.map_err(|_| away("no connection in 10 s".into()))?.map_err(|error| away(error.into()))?;
        let request = self.request(question).map_err(|error| away(error.into()))?;
        let answered = tokio::time::timeout(ANSWER_DEADLINE, exchange(stream, request)).await;
        let (status, body) = answered.map_err(|_| away("no answer in 60 s".into()))?.map_err(away)?;
        let json: Option<Value> = if body.is_empty() { Some(Value::Null) } else { serde_json::from_slice(&body).ok() };
        if (200..300).contains(&status) {
            return json.ok_or_else(|| away("the answer is not JSON: is that the address of the service?".into()));
        }
        let json = json.unwrap_or_default();
        let text = |name: &str, or: &str| json[name].as_str().unwrap_or(or).to_owned();
        Err(ClientError::Refused {
            status,
            code: text("code", &status.to_string()),
            title: text("title", "the service refuses"),
            detail: text("detail", "it does not say why"),
        })
    }

    fn request(&self, question: Question) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let prefix = self.base.path().trim_end_matches('/');
        let authority = self.base.authority().map(ToString::to_string).unwrap_or_default();
        let mut request = Request::builder()
            .method(question.method)
            .uri(format!("{prefix}{}", question.path))
            .header(HOST, authority)
            .header(ACCEPT, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.0.clone());
        }
        if let Some(key) = question.key {
            request = request.header("idempotency-key", key.to_string());
        }
        if let Some(revision) = question.revision {
            request = request.header(IF_MATCH, format!("\"{revision}\""));
        }
        let body = match question.body {
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        request.body(Full::new(body))
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = rustls::pki_types::ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        Ok(Box::new(tls.connect(name, stream).await?))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type Broken = Box<dyn std::error::Error + Send + Sync>;

/// One request and its whole answer.
async fn exchange(stream: Box<dyn Stream>, request: Request<Full<Bytes>>) -> Result<(u16, Bytes), Broken> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driving = tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await?.to_bytes();
    driving.abort();
    Ok((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(address: &str) -> String {
        Client::new(address, None, None).err().unwrap().to_string()
    }

    #[test]
    fn a_token_goes_over_tls_or_to_this_machine() {
        for address in ["http://127.0.0.1:7080", "http://[::1]:7080", "http://localhost:7080/", "http://127.0.0.1/a"] {
            assert!(Client::new(address, None, None).is_ok(), "{address}");
        }
        assert!(refused("http://sandan.example").contains("only sent there over https"));
        assert!(refused("http://10.0.0.5:7080").contains("only sent there over https"));
        for none in ["", "sandan.example", "ftp://a", "https://", "http://u:p@127.0.0.1", "http://127.0.0.1/?a=b"] {
            assert!(refused(none).contains("is not an address"), "{none}");
        }
    }

    #[test]
    fn a_token_comes_from_a_file_that_holds_it_alone_and_shows_itself_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "smb_0123\n").unwrap();
        let token = Token::read(&file).unwrap();
        assert_eq!(format!("{token:?} {:?}", token.0), "Token(…) Sensitive");
        for none in ["", "\n", "smb_1 smb_2", "smb_1\r\nX-Evil: 1"] {
            std::fs::write(&file, none).unwrap();
            assert!(Token::read(&file).unwrap_err().to_string().starts_with("there is no token in"), "{none:?}");
        }
        assert!(Token::read(&dir.path().join("none")).is_err());
    }
}
