//! The gRPC port with its certificate, and what sessions need of the rest.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sandan_proto::id::GatewayId;
use sandan_proto::v1;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::RunError;
use crate::audit::Chain;
use crate::ca::{self, Authority, SERVER_LIFE_US, ServerIdentity};
use crate::config::{Config, Tls, Uplink as UplinkConfig};
use crate::enrollment::Refusals;
use crate::fleet::Board;
use crate::session::{Closed, Ending, FleetEvents, Gate, incoming, server};
use crate::time::Clock;

/// What the port shows of itself, and whom it lets in; made anew before its certificate
/// ends and when authorities come or go.
pub(super) struct UplinkTls {
    config: UplinkConfig,
    address: SocketAddr,
    ca: Arc<Authority>,
    now: Clock,
    current: RwLock<Arc<ServerConfig>>,
}

/// A failed renewal is tried again after so long.
const RENEWAL_RETRY: Duration = Duration::from_mins(10);

impl UplinkTls {
    pub(super) fn new(config: &Config, address: SocketAddr, ca: Arc<Authority>, now: Clock) -> Result<Self, RunError> {
        let config = config.uplink.clone();
        let current = RwLock::new(Arc::new(made(&config, address, &ca, &now)?));
        Ok(Self { config, address, ca, now, current })
    }

    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Never ends by itself.
    pub(super) async fn keep_fresh(self: Arc<Self>) {
        let mut changes = self.ca.changes();
        // At two thirds of its life; files that the configuration names are read again then too.
        let life = Duration::from_micros(SERVER_LIFE_US.unsigned_abs() * 2 / 3);
        let mut pause = life;
        loop {
            tokio::select! {
                () = sleep(pause) => {}
                noted = changes.changed() => if noted.is_err() { return },
            }
            pause = match made(&self.config, self.address, &self.ca, &self.now) {
                Ok(config) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                    life
                }
                Err(error) => {
                    tracing::error!(%error, "the uplink's certificate could not be made anew");
                    RENEWAL_RETRY
                }
            };
        }
    }
}

fn made(config: &UplinkConfig, address: SocketAddr, ca: &Authority, now: &Clock) -> Result<ServerConfig, RunError> {
    let identity = match &config.tls {
        Some(tls) => read(tls)?,
        None => ca.server(&config.names(address))?,
    };
    Ok(ca::server_config(&ca.trusted(), identity, now.clone())?)
}

fn read(tls: &Tls) -> Result<ServerIdentity, RunError> {
    let refused = |file: &std::path::Path, error: rustls::pki_types::pem::Error| RunError::Tls {
        what: "uplink",
        reason: format!("{}: {error}", file.display()),
    };
    let chain = CertificateDer::pem_file_iter(&tls.cert_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| refused(&tls.cert_file, error))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key_file).map_err(|error| refused(&tls.key_file, error))?;
    Ok(ServerIdentity { chain, key, not_after_us: i64::MAX })
}

/// What connections go through, and where failed handshakes are written down.
pub(super) fn gate(tls: &Arc<UplinkTls>, refusals: Arc<Refusals>) -> Gate {
    let tls = tls.clone();
    let refused = move |from: IpAddr, error: &rustls::Error| {
        let reason = match error {
            rustls::Error::AlertReceived(_) => "server_not_trusted",
            _ => "certificate_not_trusted",
        };
        let (refusals, detail) = (refusals.clone(), format!("from {from}: {error}"));
        tokio::spawn(async move { refusals.note(Chain::Complex, None, reason, Some(detail)).await });
    };
    Gate { tls: Arc::new(move || tls.current()), refused: Arc::new(refused) }
}

/// What sessions report goes on the board.
pub(super) struct Reports(pub(super) Arc<Board>);

impl FleetEvents for Reports {
    fn opened(&self, gateway: &GatewayId, epoch: u64, hello: &v1::Hello) {
        self.0.opened(gateway, epoch, hello);
    }
    fn health(&self, gateway: &GatewayId, health: v1::Health) {
        self.0.health(gateway, &health);
    }
    fn stored(&self, gateway: &GatewayId, newest_us: i64, _: u64) {
        self.0.stored(gateway, newest_us);
    }
    fn fenced(&self, gateway: &GatewayId) {
        self.0.fenced(gateway);
    }
    fn forked(&self, gateway: &GatewayId) {
        self.0.forked(gateway);
    }
    fn dead_lettered(&self, gateway: &GatewayId, readings: u64) {
        self.0.dead_lettered(gateway, readings);
    }
    fn held_back(&self, gateway: &GatewayId) {
        self.0.held_back(gateway);
    }
    fn closed(&self, gateway: &GatewayId, epoch: u64, why: &Closed) {
        self.0.closed(gateway, epoch, matches!(why, Closed::Goodbye(_)));
    }
}

/// From the cutting of connections until the server is given up.
const CUT: Duration = Duration::from_secs(1);

/// The running port.
pub(super) struct Uplink {
    pub(super) task: JoinHandle<Result<(), tonic::transport::Error>>,
    ending: Ending,
}

impl Uplink {
    /// Lets sessions say goodbye for as long as `drain`, then cuts what is left: a gateway
    /// that reads nothing, a connection that ends in nowhere.
    pub(super) async fn end(mut self, drain: Duration) {
        self.ending.stop.cancel();
        if self.task.is_finished() || timeout(drain, &mut self.task).await.is_ok() {
            return;
        }
        tracing::warn!("connections that did not end by themselves are cut");
        self.ending.cut.cancel();
        if timeout(CUT, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

/// Serves until [`Uplink::end`], or until `ending` says to stop.
pub(super) fn start(listener: TcpListener, gate: Gate, routes: tonic::service::Routes, ending: Ending) -> Uplink {
    let connections = incoming(listener, gate, ending.clone());
    let stop = ending.stop.clone().cancelled_owned();
    let serving = server().add_routes(routes).serve_with_incoming_shutdown(connections, stop);
    Uplink { task: tokio::spawn(serving), ending }
}

#[cfg(test)]
mod tests;
