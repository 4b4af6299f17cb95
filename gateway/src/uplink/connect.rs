//! One connection to the ingest: TCP, through an HTTP proxy where the plant has one, TLS
//! 1.3, gRPC on top.
//!
//! The proxy is asked for a tunnel (CONNECT) and sees where to, never what. Only the
//! configuration names it: a variable of the environment would send one gateway of a
//! fleet another way than its file says.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

/// TCP, proxy and TLS over a bad LTE link take seconds, not minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// HTTP/2 pings find a half-open connection while nothing is sent.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// No answer to a ping for so long is a dead connection.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest head of a proxy's answer.
const MAX_PROXY_HEAD: usize = 8 << 10;
/// Longest password file that is read.
const MAX_PASSWORD_BYTES: u64 = 4_096;

/// An HTTP proxy on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// `host:port`.
    pub address: String,
    /// For its basic authentication: the user and where the password is.
    pub login: Option<(String, Password)>,
}

/// Where a password is; it is read when it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    /// The first line of a file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not `host:port`.
    #[error("`{0}` is not host:port")]
    Address(String),
    /// TCP failed.
    #[error("cannot reach {what} at {address}")]
    Tcp {
        /// `the ingest` or `the proxy`.
        what: &'static str,
        /// `host:port`.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The variable with the proxy's password is not set.
    #[error("the proxy's password is not in the environment variable {name}")]
    Variable {
        /// Its name.
        name: String,
    },
    /// The proxy's password cannot be read.
    #[error("cannot read the proxy's password file {path}")]
    Password {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The proxy gives no tunnel.
    #[error("the proxy at {address} gives no tunnel to {target}: {answer}")]
    Tunnel {
        /// The proxy.
        address: String,
        /// The ingest.
        target: String,
        /// Its status line.
        answer: String,
    },
    /// Whoever answers is not the ingest that this gateway knows.
    #[error(
        "whoever answers at {0} is not the ingest that this gateway knows: it shows no certificate of a trusted \
         authority; look whether the address is right and nobody stands between"
    )]
    Stranger(String),
    /// TLS failed in another way.
    #[error("no TLS with the ingest at {address}")]
    Tls {
        /// `host:port`.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It took too long.
    #[error("no connection to {address} within {} s", CONNECT_TIMEOUT.as_secs())]
    Slow {
        /// `host:port`.
        address: String,
    },
    /// HTTP/2 failed.
    #[error("cannot speak gRPC with the ingest at {address}")]
    Grpc {
        /// `host:port`.
        address: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
}

/// A channel over one new connection to `host:port`. It does not reconnect.
pub async fn connect(address: &str, proxy: Option<&Proxy>, tls: ClientConfig) -> Result<Channel, ConnectError> {
    let slow = |_| ConnectError::Slow { address: address.to_owned() };
    let stream = timeout(CONNECT_TIMEOUT, secured(address, proxy, tls)).await.map_err(slow)??;
    let failed = |source| ConnectError::Grpc { address: address.to_owned(), source };
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(failed)?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    let mut once = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_| {
        let stream = once.take().ok_or_else(|| std::io::Error::other("the connection has ended"));
        std::future::ready(stream)
    });
    endpoint.connect_with_connector(connector).await.map_err(failed)
}

async fn secured(
    address: &str,
    proxy: Option<&Proxy>,
    tls: ClientConfig,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, ConnectError> {
    let host = sandan_proto::invitation::host_and_port(address).map(|(host, _)| host.to_owned());
    let name = host.and_then(|host| ServerName::try_from(host).ok());
    let name = name.ok_or_else(|| ConnectError::Address(address.to_owned()))?;
    let stream = match proxy {
        None => tcp("the ingest", address).await?,
        Some(proxy) => {
            let stream = tcp("the proxy", &proxy.address).await?;
            tunnel(stream, address, proxy).await?
        }
    };
    TlsConnector::from(Arc::new(tls)).connect(name, stream).await.map_err(|source| {
        let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(
                rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature,
            )) => ConnectError::Stranger(address.to_owned()),
            _ => ConnectError::Tls { address: address.to_owned(), source },
        }
    })
}

async fn tcp(what: &'static str, address: &str) -> Result<TcpStream, ConnectError> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|source| ConnectError::Tcp { what, address: address.to_owned(), source })?;
    // Frames are small and must not wait for more to send.
    drop(stream.set_nodelay(true));
    Ok(stream)
}

/// Asks for a tunnel (RFC 9110, 9.3.6).
async fn tunnel(mut stream: TcpStream, target: &str, proxy: &Proxy) -> Result<TcpStream, ConnectError> {
    let lost = |source| ConnectError::Tcp { what: "the proxy", address: proxy.address.clone(), source };
    let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some((user, place)) = &proxy.login {
        let login = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{}", password(place)?));
        head += &["Proxy-Authorization: Basic ", &login, "\r\n"].concat();
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await.map_err(lost)?;
    // Byte by byte up to the empty line: what comes behind it is TLS.
    let mut answer = Vec::with_capacity(256);
    while !answer.ends_with(b"\r\n\r\n") && answer.len() < MAX_PROXY_HEAD {
        answer.push(stream.read_u8().await.map_err(lost)?);
    }
    let line: String = String::from_utf8_lossy(&answer).chars().take_while(|c| !c.is_control()).take(120).collect();
    let mut words = line.split(' ');
    let is_http = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
    let is_open = words.next().is_some_and(|status| status.len() == 3 && status.starts_with('2'));
    if !(is_http && is_open && answer.ends_with(b"\r\n\r\n")) {
        let (address, target) = (proxy.address.clone(), target.to_owned());
        return Err(ConnectError::Tunnel { address, target, answer: line });
    }
    Ok(stream)
}

fn password(place: &Password) -> Result<String, ConnectError> {
    use std::io::Read;
    let path = match place {
        Password::Variable(name) => {
            return std::env::var(name).map_err(|_| ConnectError::Variable { name: name.clone() });
        }
        Password::File(path) => path,
    };
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_PASSWORD_BYTES).read_to_string(&mut text));
    read.map_err(|source| ConnectError::Password { path: path.clone(), source })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests;
