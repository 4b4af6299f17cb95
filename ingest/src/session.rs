//! Session: one gateway's stream, from its Hello to its Goodbye.
//!
//! Takes records in the order of their lanes, decides what of them may be stored
//! (`admission`), hands them to the store's group commit, and acknowledges what is
//! synced. Nothing is acknowledged before it is durable, and nothing that a gateway
//! sends stops its lane for good. Knows nothing of consent, firms' names or pages.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sandan_proto::id::GatewayId;
use sandan_proto::limits::MAX_MESSAGE_BYTES;
use sandan_proto::v1;
use sandan_proto::v1::enrollment_server::{Enrollment, EnrollmentServer};
use sandan_proto::v1::uplink_server::{Uplink, UplinkServer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::store::{Readings, StoreError};

pub mod admission;
mod connection;
pub mod dry;
pub mod quota;
mod records;
mod registry;
pub mod sequence;
mod stream;

pub use connection::{Connection, Ending, Standing, incoming};
pub use quota::{Quotas, Rate};
pub use registry::Sessions;

/// Frames that wait for a gateway that is slow to read: an acknowledgement of each
/// record that it may have in flight.
const QUEUED_FRAMES: usize = 64;
/// HTTP/2 pings find a connection that a mobile network has dropped silently.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// How long a ping may stay without an answer.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Window of one stream: two of the largest messages, so that one is read while the
/// next is on its way.
const STREAM_WINDOW: u32 = 8 << 20;
const _: () = assert!(STREAM_WINDOW as usize == 2 * MAX_MESSAGE_BYTES);

/// Who holds a token.
#[async_trait]
pub trait GatewayAuth: Send + Sync + 'static {
    /// The gateway that a bearer token belongs to; none when it belongs to nobody.
    async fn gateway(&self, bearer: &str) -> Result<Option<GatewayId>, StoreError>;
}

/// Who wants to know how gateways are. Called under a lock and on the way of
/// acknowledgements: must return at once. Events of one gateway come in order, and a
/// session that was replaced by a newer one does not close.
pub trait FleetEvents: Send + Sync + 'static {
    /// A session was welcomed.
    fn opened(&self, gateway: &GatewayId, hello: &v1::Hello);
    /// A gateway said how it is. At most [`MAX_LINKS`](sandan_proto::limits::MAX_LINKS) links.
    fn health(&self, gateway: &GatewayId, health: v1::Health);
    /// Readings of it are durable, the newest observed at `newest_us` since 1970.
    fn stored(&self, gateway: &GatewayId, newest_us: i64, readings: u64);
    /// Its Hello was refused: the spool is a copy or an old state. A session that it has goes on.
    fn fenced(&self, gateway: &GatewayId);
    /// It sent another record under a number that was stored already.
    fn forked(&self, gateway: &GatewayId);
    /// It was told to send later, because its firm sends faster than it may.
    fn held_back(&self, gateway: &GatewayId);
    /// It has no session any more.
    fn closed(&self, gateway: &GatewayId, why: &Closed);
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// The gateway said goodbye.
    #[error("the gateway said goodbye: {0}")]
    Goodbye(&'static str),
    /// The connection broke.
    #[error("the connection was lost")]
    Lost,
    /// Nothing came for three heartbeats.
    #[error("the gateway was silent for {0:?}")]
    Idle(Duration),
    /// The ingest ended it: shut down, token revoked.
    #[error("the ingest ended the session: {0}")]
    Ended(&'static str),
    /// The gateway did something that the protocol has no answer to.
    #[error("the gateway broke the protocol: {0}")]
    Protocol(String),
    /// The spool is behind what its gateway has used.
    #[error("the spool is a copy or an old state: it last used epoch {named}, its gateway epoch {used}")]
    Fenced {
        /// The last epoch of the spool.
        named: u64,
        /// The last one under which records came.
        used: u64,
    },
    /// The store failed; the gateway sends again.
    #[error("the store failed")]
    Store,
}

/// What the sessions of a process share.
#[derive(Clone)]
pub struct Settings {
    /// Readings older than this are dead-lettered, µs.
    pub retention_us: i64,
    /// How fast firms may send.
    pub quotas: Arc<Quotas>,
    /// The clock, µs since 1970.
    pub now: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// How often a gateway reports; three without a frame end the session.
    pub heartbeat: Duration,
    /// How long the first frame may take.
    pub hello_deadline: Duration,
    /// Ends every session with a goodbye.
    pub shutdown: CancellationToken,
}

/// How often a gateway says how it is: an operator sees a lost one within half a minute.
pub const HEARTBEAT: Duration = Duration::from_secs(10);
/// Long enough for a slow mobile link, short enough that connections without a Hello
/// do not pile up.
pub const HELLO_DEADLINE: Duration = Duration::from_secs(10);

/// Both gRPC services, to be served with or without TLS on [`server`].
pub fn service(
    store: Arc<dyn Readings>,
    auth: Arc<dyn GatewayAuth>,
    fleet: Arc<dyn FleetEvents>,
    sessions: Arc<Sessions>,
    settings: Settings,
) -> Routes {
    routes(Service { store, auth, fleet, sessions, settings })
}

fn routes(service: Service) -> Routes {
    let uplink = UplinkServer::new(service)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    Routes::new(uplink).add_service(EnrollmentServer::new(NoEnrollment))
}

/// A server that finds dead connections and holds one gateway's frames in bounds.
pub fn server() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW)
        // One session, one enrolment, and room for a session that is being replaced.
        .max_concurrent_streams(4)
}

#[derive(Clone)]
struct Service {
    store: Arc<dyn Readings>,
    auth: Arc<dyn GatewayAuth>,
    fleet: Arc<dyn FleetEvents>,
    sessions: Arc<Sessions>,
    settings: Settings,
}

#[async_trait]
impl Uplink for Service {
    type SessionStream = ReceiverStream<Result<v1::IngestFrame, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::GatewayFrame>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (gateway, token) = self.authenticate(request.metadata()).await?;
        if let Some(standing) = request.extensions().get::<Standing>() {
            standing.becomes_known();
        }
        let (out, frames) = mpsc::channel(QUEUED_FRAMES);
        // Answered before the Hello came, so that a gateway that waits for the answer's
        // head before it speaks is not waited for in turn.
        tokio::spawn(stream::run(self.clone(), gateway, token, request.into_inner(), out));
        Ok(Response::new(ReceiverStream::new(frames)))
    }
}

impl Service {
    async fn authenticate(&self, metadata: &tonic::metadata::MetadataMap) -> Result<(GatewayId, Token), Status> {
        let refused = || Status::unauthenticated(UNAUTHENTICATED);
        let header = metadata.get("authorization").and_then(|value| value.to_str().ok()).ok_or_else(refused)?;
        let (scheme, token) = header.split_once(' ').ok_or_else(refused)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(refused());
        }
        let token = Token(token.trim().to_owned());
        match self.auth.gateway(&token.0).await {
            Ok(gateway) => Ok((gateway.ok_or_else(refused)?, token)),
            Err(error) => {
                tracing::error!(%error, "cannot look up a gateway's token");
                Err(Status::unavailable("store: the token cannot be looked up now; try again"))
            }
        }
    }
}

/// A bearer token, kept until its session has begun. Not to be shown.
struct Token(String);

const UNAUTHENTICATED: &str = "unauthenticated: no gateway has this token";

struct NoEnrollment;

#[async_trait]
impl Enrollment for NoEnrollment {
    async fn enroll(&self, _: Request<v1::EnrollRequest>) -> Result<Response<v1::EnrollResponse>, Status> {
        Err(no_enrollment())
    }
    async fn renew(&self, _: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        Err(no_enrollment())
    }
}

fn no_enrollment() -> Status {
    Status::unimplemented(
        "enrollment: this ingest gives out tokens, not certificates; put the token that `sandan-ingest gateway add` \
         prints into the gateway's token file",
    )
}

#[cfg(test)]
mod tests;
