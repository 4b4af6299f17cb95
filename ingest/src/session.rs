//! Session: one gateway's stream, from its Hello to its Goodbye.
//!
//! Takes records in the order of their lanes, decides what of them may be stored
//! (`admission`), hands them to the store's group commit, and acknowledges what is
//! synced. Nothing is acknowledged before it is durable, and nothing that a gateway
//! sends stops its lane for good. Knows nothing of consent, firms' names or pages.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sandan_proto::id::GatewayId;
use sandan_proto::limits::MAX_MESSAGE_BYTES;
use sandan_proto::v1;
use sandan_proto::v1::uplink_server::{Uplink, UplinkServer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::auth::KeyHash;
use crate::ca::Leaf;
use crate::disk::Room;
use crate::store::{Readings, StoreError};

pub mod admission;
mod connection;
pub mod dry;
mod guard;
pub mod quota;
mod records;
mod registry;
pub mod sequence;
mod stream;

pub use connection::{Connection, Ending, Gate, Standing, incoming};
pub use guard::Guard;
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

/// Whose a certificate is.
#[async_trait]
pub trait GatewayAuth: Send + Sync + 'static {
    /// The gateway that a certificate belongs to, or why it opens no session.
    async fn admit(&self, leaf: Option<&Leaf>) -> Result<Result<GatewayId, Denied>, StoreError>;
    /// The keys that open a session now.
    async fn in_force(&self) -> Result<HashMap<GatewayId, KeyHash>, StoreError>;
    /// A session was refused; to be written down, within bounds.
    async fn refused(&self, denied: &Denied);
}

/// Why a certificate opens no session. The text goes to the gateway: a code, then a
/// sentence with what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is none.
    #[error("no_certificate: a session needs a certificate; `sandan-gateway enroll` gets one for an invitation")]
    NoCertificate,
    /// Its key is nobody's.
    #[error("unknown_certificate: no gateway of this complex has this key; invite it again")]
    Unknown,
    /// A new box took the gateway's place.
    #[error("replaced_certificate: another box was enrolled as {0}")]
    Replaced(GatewayId),
    /// The gateway was revoked.
    #[error(
        "revoked: {0} was revoked; only `sandan-ingest gateway invite --replace` and a new enrolment bring it back"
    )]
    Revoked(GatewayId),
    /// It may be renewed.
    #[error("certificate_expired: the certificate of {0} has expired; it may be renewed")]
    Expired(GatewayId),
    /// It may not even be renewed.
    #[error(
        "certificate_expired: the certificate of {0} expired more than {RENEWAL_DAYS} days ago; \
         invite it again with `sandan-ingest gateway invite --replace`"
    )]
    LongExpired(GatewayId),
    /// It said Hello for another one.
    #[error("wrong_gateway: the certificate belongs to {own}, not to the gateway that said Hello")]
    WrongGateway {
        /// Whose certificate it is.
        own: GatewayId,
        /// What the Hello said, when it is an id.
        named: Option<GatewayId>,
    },
}

/// For so many days after its end a certificate still opens `Renew`: a summer shutdown,
/// and the winter's behind it, are no site visit.
pub const RENEWAL_DAYS: i64 = 180;

impl From<&Denied> for Status {
    fn from(denied: &Denied) -> Self {
        match denied {
            Denied::WrongGateway { .. } | Denied::Revoked(_) | Denied::Replaced(_) => {
                Status::permission_denied(denied.to_string())
            }
            _ => Status::unauthenticated(denied.to_string()),
        }
    }
}

/// Who wants to know how gateways are. Called under a lock and on the way of
/// acknowledgements: must return at once. Events of one gateway come in order, and a
/// session that was replaced by a newer one does not close.
pub trait FleetEvents: Send + Sync + 'static {
    /// A session was welcomed, under an epoch.
    fn opened(&self, gateway: &GatewayId, epoch: u64, hello: &v1::Hello);
    /// A gateway said how it is. At most [`MAX_LINKS`](sandan_proto::limits::MAX_LINKS) links.
    fn health(&self, gateway: &GatewayId, health: v1::Health);
    /// Readings of it are durable, the newest observed at `newest_us` since 1970.
    fn stored(&self, gateway: &GatewayId, newest_us: i64, readings: u64);
    /// Its Hello was refused: the spool is a copy or an old state. A session that it has goes on.
    fn fenced(&self, gateway: &GatewayId);
    /// It sent another record under a number that was stored already.
    fn forked(&self, gateway: &GatewayId);
    /// So many readings of it could not be stored, and are dead-lettered.
    fn dead_lettered(&self, gateway: &GatewayId, readings: u64);
    /// It was told to send later, because its firm sends faster than it may.
    fn held_back(&self, gateway: &GatewayId);
    /// It has no session any more; the last was of this epoch.
    fn closed(&self, gateway: &GatewayId, epoch: u64, why: &Closed);
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
    /// The ingest ended it: shut down, gateway revoked.
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
    /// Whether the disk has room for more.
    pub room: Arc<Room>,
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
pub const HEARTBEAT: Duration = Duration::from_micros(crate::fleet::HEARTBEAT_US.unsigned_abs());
/// Long enough for a slow mobile link, short enough that connections without a Hello
/// do not pile up.
pub const HELLO_DEADLINE: Duration = Duration::from_secs(10);

/// The service of sessions, to be served on [`server`].
pub fn service(
    store: Arc<dyn Readings>,
    auth: Arc<dyn GatewayAuth>,
    fleet: Arc<dyn FleetEvents>,
    sessions: Arc<Sessions>,
    guard: Arc<Guard>,
    settings: Settings,
) -> Routes {
    routes(Service { store, auth, fleet, sessions, guard, settings })
}

fn routes(service: Service) -> Routes {
    let uplink = UplinkServer::new(service)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    Routes::new(uplink)
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
    guard: Arc<Guard>,
    settings: Settings,
}

#[async_trait]
impl Uplink for Service {
    type SessionStream = ReceiverStream<Result<v1::IngestFrame, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::GatewayFrame>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let standing = request.extensions().get::<Standing>().cloned();
        let leaf = standing.as_ref().and_then(Standing::leaf).cloned();
        let (gateway, leaf) = self.authenticate(leaf).await?;
        if let Some(standing) = standing {
            standing.becomes_known();
        }
        let (out, frames) = mpsc::channel(QUEUED_FRAMES);
        // Answered before the Hello came, so that a gateway that waits for the answer's
        // head before it speaks is not waited for in turn.
        tokio::spawn(stream::run(self.clone(), gateway, leaf, request.into_inner(), out));
        Ok(Response::new(ReceiverStream::new(frames)))
    }
}

impl Service {
    async fn authenticate(&self, leaf: Option<Leaf>) -> Result<(GatewayId, Leaf), Status> {
        let denied = match (self.auth.admit(leaf.as_ref()).await, leaf) {
            (Ok(Ok(gateway)), Some(leaf)) => return Ok((gateway, leaf)),
            (Ok(Ok(_)), None) => Denied::NoCertificate,
            (Ok(Err(denied)), _) => denied,
            (Err(error), _) => {
                tracing::error!(%error, "cannot look up a gateway's certificate");
                return Err(Status::unavailable("store: the certificate cannot be looked up now; try again"));
            }
        };
        self.auth.refused(&denied).await;
        Err(Status::from(&denied))
    }
}

#[cfg(test)]
mod tests;
