//! The gRPC port, plain or with TLS, and what sessions need of the rest.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sandan_proto::id::GatewayId;
use sandan_proto::v1;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::transport::{Identity, ServerTlsConfig};

use super::RunError;
use crate::auth::Auth;
use crate::config::Tls;
use crate::fleet::Board;
use crate::session::{Closed, Ending, FleetEvents, GatewayAuth, incoming, server};
use crate::store::StoreError;

/// Tokens of gateways.
pub(super) struct Tokens(pub(super) Auth);

#[async_trait]
impl GatewayAuth for Tokens {
    async fn gateway(&self, bearer: &str) -> Result<Option<GatewayId>, StoreError> {
        let failed = |error| StoreError::Engine { what: "looking up a gateway's token", source: Box::new(error) };
        self.0.gateway(bearer).await.map_err(failed)
    }
}

/// What sessions report goes on the board.
pub(super) struct Reports(pub(super) Arc<Board>);

impl FleetEvents for Reports {
    fn opened(&self, gateway: &GatewayId, _: &v1::Hello) {
        self.0.opened(gateway);
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
    fn held_back(&self, gateway: &GatewayId) {
        self.0.held_back(gateway);
    }
    fn closed(&self, gateway: &GatewayId, _: &Closed) {
        self.0.closed(gateway);
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
pub(super) fn start(
    listener: TcpListener,
    tls: Option<&Tls>,
    routes: tonic::service::Routes,
    ending: Ending,
) -> Result<Uplink, RunError> {
    let mut server = server();
    if let Some(tls) = tls {
        let refused = |reason: String| RunError::Tls { what: "uplink", reason };
        let read = |file: &std::path::Path| {
            std::fs::read(file).map_err(|error| refused(format!("{}: {error}", file.display())))
        };
        let identity = Identity::from_pem(read(&tls.cert_file)?, read(&tls.key_file)?);
        let config = ServerTlsConfig::new().identity(identity);
        server = server.tls_config(config).map_err(|error| refused(chain(&error)))?;
    }
    let connections = incoming(listener, ending.clone());
    let stop = ending.stop.clone().cancelled_owned();
    let serving = server.add_routes(routes).serve_with_incoming_shutdown(connections, stop);
    Ok(Uplink { task: tokio::spawn(serving), ending })
}

/// tonic says "transport error" and keeps what happened in the sources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut parts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(error) = source {
        parts.push(error.to_string());
        source = error.source();
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests;
