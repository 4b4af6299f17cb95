//! The gRPC port, plain or with TLS, and what sessions need of the rest.

use std::sync::Arc;

use async_trait::async_trait;
use sandan_proto::id::GatewayId;
use sandan_proto::v1;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, ServerTlsConfig};

use super::RunError;
use crate::auth::Auth;
use crate::config::Tls;
use crate::fleet::Board;
use crate::session::{Closed, FleetEvents, GatewayAuth, server};
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
    fn closed(&self, gateway: &GatewayId, _: &Closed) {
        self.0.closed(gateway);
    }
}

/// Serves until `stop`, then until the last session has said goodbye.
pub(super) fn start(
    listener: TcpListener,
    tls: Option<&Tls>,
    routes: tonic::service::Routes,
    stop: CancellationToken,
) -> Result<JoinHandle<Result<(), tonic::transport::Error>>, RunError> {
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
    // Acknowledgements are small and must not wait for more to send.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = server.add_routes(routes).serve_with_incoming_shutdown(incoming, stop.cancelled_owned());
    Ok(tokio::spawn(serving))
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
