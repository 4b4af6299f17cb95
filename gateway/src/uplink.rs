//! The uplink: one gRPC session that empties the spool into the ingest.
//!
//! It reads sealed records from the spool, keeps as many in flight as the ingest gave
//! credits for, and tells the spool what the ingest acknowledged. A lost connection, a
//! refusal or an ingest that falls silent costs a pause and another try, never a
//! record: the spool forgets only what was acknowledged.
//!
//! What is older than half a minute when a session opens is backlog: live data moves to a
//! lane of its own and goes first, and the older lanes drain beside it (`traffic`, `pace`).
//!
//! `window`, `pace`, `cursor` and `traffic` are state machines without I/O of their own;
//! `session` is the loop around them; `timekeeper` keeps the boots' wall times; this file
//! connects and tries again.

mod connect;
mod cursor;
mod pace;
mod session;
mod timekeeper;
mod traffic;
mod window;

use std::sync::Arc;
use std::time::Duration;

use sandan_proto::id::{BootId, GatewayId};
use sandan_proto::v1;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::identity::{Identity, IdentityError, WallClock};
use crate::spool::{Spool, SpoolError};

pub use connect::{ConnectError, Password, Proxy, connect};
use session::Session;
pub use timekeeper::Timekeeper;

/// First pause after a lost session.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// Longest pause: a returned ingest is found within it.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// What the uplink needs to know.
#[derive(Clone)]
pub struct Settings {
    /// Where the ingest is, `host:port`; none: where the invitation said.
    pub ingest: Option<String>,
    /// On the way to it.
    pub proxy: Option<Proxy>,
    /// The time by which certificates are judged.
    pub now: WallClock,
    /// Who this gateway is.
    pub gateway: GatewayId,
    /// This boot of the machine.
    pub boot: BootId,
    /// SHA-256 of the configuration in force.
    pub config_hash: watch::Receiver<[u8; 32]>,
    /// The wall times of the boots in the spool.
    pub time: Timekeeper,
}

/// The session as operators see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether the ingest has welcomed this gateway and the session stands.
    pub connected: bool,
    /// Since when it is so, monotonic microseconds.
    pub since_us: i64,
    /// Why not, in one sentence.
    pub fault: Option<String>,
    /// For how long nothing was acknowledged while something was in flight.
    pub waiting: Duration,
    /// Why the ingest asked to send later; none since it acknowledged something.
    pub asked_to_wait: Option<String>,
    /// What an operator should know though nothing is wrong here, in one sentence.
    pub notice: Option<String>,
    /// The epoch of the session.
    pub epoch: u64,
    /// Sessions that were welcomed since the start.
    pub sessions_total: u64,
    /// Acknowledgements since the start.
    pub acks_total: u64,
    /// Readings stored, as the ingest acknowledged them since the start.
    pub stored_total: u64,
    /// Readings sent again that the ingest already had.
    pub duplicate_total: u64,
    /// Readings that the ingest put aside with a reason.
    pub dead_lettered_total: u64,
}

/// Makes the health report of this moment.
pub type HealthReport = Arc<dyn Fn() -> v1::Health + Send + Sync>;

#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the ingest refused: {}", .0.message())]
    Refused(Box<tonic::Status>),
    #[error("the connection to the ingest was lost")]
    Lost(#[source] Box<tonic::Status>),
    #[error("the ingest did not answer for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the ingest ended the session: {0}")]
    Ended(String),
    #[error("the ingest broke the protocol: {0}")]
    Protocol(&'static str),
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl From<tonic::Status> for SessionError {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// Keeps a session up until `stop`; then sends what is still in the spool for a short
/// while, says goodbye and returns.
pub async fn run(
    settings: Settings,
    identity: Identity,
    spool: Spool,
    health: HealthReport,
    status: watch::Sender<Status>,
    stop: CancellationToken,
) {
    let mut backoff = BACKOFF_MIN;
    status.send_modify(|status| status.since_us = clock::monotonic_us());
    loop {
        let acks = status.borrow().acks_total;
        let ended = connect_and_run(&settings, &identity, &spool, &health, &status, &stop).await;
        // A session that moved nothing is no reason to knock more often: each one costs an
        // epoch on both sides' disks.
        if status.borrow().acks_total > acks {
            backoff = BACKOFF_MIN;
        }
        // What was acknowledged is known now; if the process is killed before the next
        // session, its backlog is shown as it is.
        if status.borrow().acks_total > acks
            && let Err(error) = tokio::task::block_in_place(|| spool.save_state())
        {
            tracing::warn!(%error, "cannot write the spool's state");
        }
        let fault = ended.as_ref().err().map(sentence);
        if let Some(fault) = &fault
            && status.borrow().fault.as_ref() != Some(fault)
        {
            tracing::warn!(fault, "uplink is down");
        }
        status.send_modify(|status| {
            if std::mem::take(&mut status.connected) {
                status.since_us = clock::monotonic_us();
            }
            status.fault = fault;
            status.waiting = Duration::ZERO;
            status.asked_to_wait = None;
        });
        if stop.is_cancelled() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(jittered(backoff)) => {}
            () = stop.cancelled() => return,
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// An error with its causes: transport errors say nothing without them.
fn sentence(error: &SessionError) -> String {
    use std::error::Error;
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Between half of a pause and all of it, so that gateways do not return in step.
fn jittered(pause: Duration) -> Duration {
    let mut random = [0; 2];
    // Without randomness the pause is merely not jittered.
    let _ = getrandom::fill(&mut random);
    let share = f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX);
    pause.mul_f64(0.5 + share / 2.0)
}

async fn connect_and_run(
    settings: &Settings,
    identity: &Identity,
    spool: &Spool,
    health: &HealthReport,
    status: &watch::Sender<Status>,
    stop: &CancellationToken,
) -> Result<(), SessionError> {
    let credentials = identity.credentials()?;
    let tls = credentials.client_config(settings.now.clone())?;
    let ingest = settings.ingest.as_ref().unwrap_or(&credentials.ingest);
    let channel = tokio::select! {
        channel = connect(ingest, settings.proxy.as_ref(), tls) => channel?,
        () = stop.cancelled() => return Ok(()),
    };
    Session::new(settings, spool, health, status).run(channel, stop).await
}

#[cfg(test)]
mod tests;
