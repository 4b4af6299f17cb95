//! The HTTP port, plain or with TLS.

mod connections;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use self::connections::Bounded;
use super::RunError;
use crate::config::{Http, Tls};

/// A connection that has not sent the whole head of its next request by then is closed.
const HEADER: Duration = Duration::from_secs(10);
/// A connection whose other side took nothing for so long is closed. A laptop that
/// sleeps through its download starts again.
const STALL: Duration = Duration::from_mins(1);
/// Connections at once: well below the usual 1,024 file handles, of which gateways and
/// the store need theirs.
const CONNECTIONS: usize = 400;
/// Of which from one address: the browsers and programs of an office behind one router, and
/// not so many that one address keeps the others out.
const CONNECTIONS_PER_ADDRESS: usize = 64;

/// What a connection may cost.
struct Bounds {
    header: Duration,
    stall: Duration,
    connections: usize,
    /// None: as many.
    per_address: Option<usize>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { header: HEADER, stall: STALL, connections: CONNECTIONS, per_address: Some(CONNECTIONS_PER_ADDRESS) }
    }
}

/// The running port.
pub(super) struct Pages {
    pub(super) task: JoinHandle<std::io::Result<()>>,
    handle: Handle<SocketAddr>,
}

impl Pages {
    /// Takes no further connections, and waits for open ones for as long as `drain`.
    pub(super) async fn end(self, drain: Duration) {
        self.handle.graceful_shutdown(Some(drain));
        if !self.task.is_finished() {
            let _ = self.task.await;
        }
    }
}

/// Serves `router` within the bounds on connections. Behind a proxy, and on loopback where
/// one may stand too, all come from its address.
pub(super) fn start(listener: TcpListener, http: &Http, router: Router) -> Result<Pages, RunError> {
    let mut bounds = Bounds::default();
    if http.behind_proxy || http.listen.address.ip().is_loopback() {
        bounds.per_address = None;
    }
    start_within(listener, http.listen.tls.as_ref(), router, &bounds)
}

/// Serves `router` in plain, and for ever, to programs of this machine: for tests that play with what
/// is behind it. `serve` is what a service runs.
pub async fn serve_plain(listener: TcpListener, router: Router) -> Result<(), RunError> {
    let bounds = Bounds { per_address: None, ..Bounds::default() };
    let _ = start_within(listener, None, router, &bounds)?.task.await;
    Err(RunError::Ended("the HTTP side"))
}

fn start_within(listener: TcpListener, tls: Option<&Tls>, router: Router, bounds: &Bounds) -> Result<Pages, RunError> {
    let handle = Handle::new();
    let bounded = Bounded::new(bounds.connections, bounds.per_address, bounds.stall);
    let mut server = Server::from_listener(listener)
        .acceptor(bounded.clone())
        .handle(handle.clone())
        .http1_only()
        .first_request_timeout(bounds.header);
    // Between two requests as well.
    server.http_builder().http1().header_read_timeout(bounds.header);
    let pages = router.into_make_service();
    let task = match tls {
        None => tokio::spawn(server.serve(pages)),
        Some(tls) => {
            let config = RustlsConfig::from_config(Arc::new(server_config("http", tls)?));
            tokio::spawn(server.acceptor(RustlsAcceptor::new(config).acceptor(bounded)).serve(pages))
        }
    };
    Ok(Pages { task, handle })
}

/// Certificate and key as rustls takes them; `what` for the message.
pub(super) fn server_config(what: &'static str, tls: &Tls) -> Result<ServerConfig, RunError> {
    let refused = |reason: String| RunError::Tls { what, reason };
    let chain = CertificateDer::pem_file_iter(&tls.cert_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| refused(format!("{}: {error}", tls.cert_file.display())))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key_file)
        .map_err(|error| refused(format!("{}: {error}", tls.key_file.display())))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| refused(error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests;
