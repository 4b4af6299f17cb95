//! MQTT 3.1.1 and 5: subscribes to the topics of one broker.
//!
//! It promises: nothing is published but Sparkplug's request for a rebirth, where it is
//! configured; the session is persistent and subscribed anew on every connection; a message
//! is acknowledged when its readings are synced and never before, so that nothing clogs the
//! window, also one that cannot be used, which is kept as a dead letter; a redelivery of what
//! is on its way already is acknowledged and not sent again; and an orderly stop acknowledges
//! what was taken before it says goodbye.
//!
//! Client and event loop are made anew for each connection: acknowledgements of an old
//! one can then never reach a new one, and no state of the library outlives a fault.
//!
//! A message goes on with its packet id and digest, which are synced in one record with its
//! readings: an earlier process' messages that come again after a kill are known.
//!
//! What a message says is found by pure functions: `map` for JSON and plain values, and
//! `driver::sparkplug`. Its own times become those of this boot where the wall time is known; else it was so when the
//! message came, which is marked.
//!
//! Limits. A message of more readings than one batch takes may be cut in two by a kill, and
//! then its first part comes twice. A broker that gives a packet id away again at once, and
//! sends the same content under it, cannot be told from one that delivers again, if the
//! gateway is killed between the two. A packet beyond [`MAX_PACKET_BYTES`] ends the
//! connection, and a broker that does not heed the limit would send it again for ever: its session is then discarded, with what else was queued in it, once
//! in [`DISCARD_SPACING`]. Where such a packet is a retained one, it comes back with each
//! subscription; the link stays down, with growing pauses, and says why.

use std::collections::HashMap;
use std::time::Duration;

use sandan_proto::reading::Quality;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::sparkplug::{Nodes, Now};
use super::{Closed, Outlet, Tickets};
use crate::clock;
use crate::config::Mqtt;
use crate::health::Health;

mod client;
mod fault;
mod ledger;
mod letters;
pub mod map;
mod session;
mod take;
mod tls;

use fault::Fault;
use ledger::Ledger;
use letters::Letters;

/// Largest payload that is looked into. A machine's state has some kilobytes.
pub const MAX_MESSAGE_BYTES: usize = 256 << 10;
/// Largest packet that is taken off the line, so that a message too large to be looked
/// into can be acknowledged all the same. It bounds what a broker can make us allocate.
pub const MAX_PACKET_BYTES: usize = 4 << 20;
/// A session is discarded because of an oversize packet no more often: each time costs
/// what else was queued, and does not help against a retained packet.
const DISCARD_SPACING: Duration = Duration::from_mins(5);

/// Reads until `stop` is cancelled or nobody takes replies any more. After the former it
/// acknowledges what is synced within a bounded time.
pub async fn run(endpoint: Mqtt, outlet: Outlet, health: Health, stop: CancellationToken) {
    Driver::new(endpoint, outlet, health).read_until(&stop).await;
}

/// Reads over one connection that leaves no session behind, until it ends.
pub async fn read_once(endpoint: Mqtt, outlet: Outlet, health: Health) {
    let mut driver = Driver::new(endpoint, outlet, health);
    let fault = match client::connect(&driver.endpoint, true) {
        Err(fault) => fault,
        Ok(line) => match driver.connection(line, &CancellationToken::new()).await {
            Ended::Closed | Ended::Stopped => return,
            Ended::Fault(fault) => fault.sentence,
        },
    };
    // Whoever takes the replies may have stopped.
    let _ = driver.lost(&fault).await;
}

#[derive(Debug)]
struct Driver {
    endpoint: Mqtt,
    tickets: Tickets,
    ledger: Ledger,
    session: [u8; 16],
    health: Health,
    /// Whether the subscriptions stand. `None` before the first attempt, so that its failure
    /// is told as well.
    connected: Option<bool>,
    connected_at: Option<Instant>,
    /// Connections in a row that ended soon after they were made. The log tells the first.
    brief: u32,
    /// The last connection ended by a packet that no buffer may hold.
    oversize: bool,
    discarded_at: Option<Instant>,
    /// What is known of the broker's Sparkplug nodes.
    nodes: Nodes,
    /// How many messages that could not be used were kept, by topic.
    letters: Letters,
    /// The retained messages that were taken, by topic: they come with every subscription.
    retained: HashMap<String, [u8; 16]>,
}

/// Why a connection ended.
enum Ended {
    Fault(Fault),
    Closed,
    Stopped,
}

impl From<Closed> for Ended {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl Driver {
    fn new(endpoint: Mqtt, outlet: Outlet, health: Health) -> Self {
        Self {
            ledger: Ledger::knowing(outlet.take_known()),
            session: session(&endpoint),
            tickets: Tickets::new(outlet),
            health,
            connected: None,
            connected_at: None,
            brief: 0,
            oversize: false,
            discarded_at: None,
            nodes: Nodes::new(&endpoint.sparkplug),
            letters: Letters::default(),
            retained: HashMap::new(),
            endpoint,
        }
    }

    async fn read_until(&mut self, stop: &CancellationToken) {
        let mut backoff = Backoff::default();
        while !stop.is_cancelled() {
            if self.may_discard() {
                tokio::select! {
                    () = self.discard_session() => {}
                    () = stop.cancelled() => return,
                }
            }
            let fault = match client::connect(&self.endpoint, false) {
                Err(fault) => fault,
                Ok(line) => match self.connection(line, stop).await {
                    Ended::Closed | Ended::Stopped => return,
                    Ended::Fault(fault) => self.fault(&fault),
                },
            };
            if let Some(since) = self.connected_at.take() {
                // Somebody else with our client id, or a packet that comes with each
                // subscription, ends one connection after the other.
                let was_brief = !backoff.lasted(since.elapsed());
                self.brief = if was_brief { self.brief.saturating_add(1) } else { 0 };
            }
            let pause = async {
                self.lost(&fault).await?;
                sleep(backoff.next()).await;
                Ok::<_, Closed>(())
            };
            tokio::select! {
                paused = pause => if paused.is_err() { return },
                () = stop.cancelled() => return,
            }
        }
    }

    /// What ended a connection, and what will be done about it.
    fn fault(&mut self, fault: &Fault) -> String {
        self.oversize = fault.is_oversize;
        let what = &fault.sentence;
        if !self.oversize {
            what.clone()
        } else if self.may_discard() {
            format!("{what}; what the broker had queued is discarded")
        } else {
            format!("{what}, and it comes again and again: remove it at the broker")
        }
    }

    /// Tells health always, and every signal once.
    async fn lost(&mut self, fault: &str) -> Result<(), Closed> {
        self.health.unreachable(self.tickets.outlet.source, fault);
        // Also of a connection whose subscription was not answered: it may have brought births.
        self.nodes.lost(self.now());
        if self.connected.replace(false) == Some(false) {
            return Ok(());
        }
        match self.brief {
            0 | 1 => tracing::warn!(endpoint = self.endpoint.place(), fault, "broker is lost"),
            2 => tracing::warn!(
                endpoint = self.endpoint.place(),
                fault,
                client_id = self.endpoint.client_id,
                "each connection ends soon after it is made; is the client id used elsewhere?"
            ),
            _ => tracing::debug!(endpoint = self.endpoint.place(), fault, "broker is lost again"),
        }
        let picked = self.endpoint.devices.iter().flat_map(|device| &device.picks).map(|pick| pick.signal);
        let devices = self.endpoint.sparkplug.iter().flat_map(|node| &node.devices);
        let told = devices.flat_map(|device| &device.tags).map(|tag| tag.signal);
        let all: Vec<u32> = picked.chain(told).collect();
        self.tickets.fail(all.into_iter(), Quality::BAD_NO_ANSWER).await
    }

    /// This moment, for the nodes.
    fn now(&self) -> Now {
        let monotonic_us = clock::monotonic_us();
        let known = self.tickets.outlet.offset.known_us();
        Now { monotonic_us, wall_us: known.map_or_else(clock::wall_us, |offset_us| monotonic_us + offset_us) }
    }

    fn may_discard(&self) -> bool {
        self.oversize && self.discarded_at.is_none_or(|at| at.elapsed() >= DISCARD_SPACING)
    }

    /// Makes the broker forget its session, and with it the packet that cannot be taken.
    async fn discard_session(&mut self) {
        let Ok((_client, mut events)) = client::connect(&self.endpoint, true) else { return };
        // The acknowledged connection is all that is needed; a failure shows on the next one.
        if events.poll().await.is_ok() {
            self.oversize = false;
            self.discarded_at = Some(Instant::now());
            tracing::warn!(
                endpoint = self.endpoint.place(),
                limit = MAX_PACKET_BYTES,
                "packet too large, session is discarded"
            );
        }
    }
}

/// Names the session that a broker keeps for us, over restarts of either side.
pub fn session(endpoint: &Mqtt) -> [u8; 16] {
    let (address, client_id) = (endpoint.address.to_string(), &endpoint.client_id);
    shortened(Sha256::new().chain_update(address).chain_update([0]).chain_update(client_id))
}

/// Half of a hash: against chance it is plenty, and it is written to an SD card.
fn shortened(hash: Sha256) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    half
}

#[cfg(test)]
mod tests;
