//! Messages of senders that deliver again what is not acknowledged: a batch that holds the
//! readings of some names them in the same record, so that after a kill they are known when
//! they come again.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use prost::Message;
use sandan_proto::v1;

/// Messages of one session are remembered up to here: there are no more packet ids.
pub(super) const MESSAGES_MAX: usize = 65_535;
/// Messages over all sessions: 20 MB at the start of a gateway, and some thousand in use.
const TOTAL_MAX: usize = 1 << 19;
/// Packet id and digest.
const MESSAGE_BYTES: usize = 2 + 16;

/// A message whose last reading a batch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Which sender's session it came by; the same after a restart.
    pub session: [u8; 16],
    /// Its number in that session.
    pub packet_id: u16,
    /// Tells it from another message under the same number.
    pub digest: [u8; 16],
    /// How many messages of the session, this one with them, the sender may deliver again.
    pub unsettled: u32,
}

/// The body of a record: a batch and the messages that it answers for.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Delivered {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) sealed: Bytes,
    #[prost(message, repeated, tag = "2")]
    pub(super) sessions: Vec<Session>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Session {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    /// How many messages of the session may come again, the last of these with them.
    #[prost(uint32, tag = "2")]
    pub(super) unsettled: u32,
    /// 18 bytes each, in order of arrival: packet id, little-endian, and digest.
    #[prost(bytes = "vec", tag = "3")]
    pub(super) messages: Vec<u8>,
}

pub(super) fn encode(sealed: &v1::Sealed, deliveries: &[Delivery]) -> Vec<u8> {
    let mut sessions: Vec<Session> = Vec::new();
    for delivery in deliveries {
        let at = sessions.iter().position(|session| session.key == delivery.session).unwrap_or_else(|| {
            sessions.push(Session { key: delivery.session.to_vec(), ..Session::default() });
            sessions.len() - 1
        });
        sessions[at].unsettled = delivery.unsettled;
        sessions[at].messages.extend_from_slice(&delivery.packet_id.to_le_bytes());
        sessions[at].messages.extend_from_slice(&delivery.digest);
    }
    Delivered { sealed: sealed.encode_to_vec().into(), sessions }.encode_to_vec()
}

/// What the scan of a spool found: for each session the newest messages that its sender may
/// deliver again.
#[derive(Debug, Default)]
pub(super) struct Known {
    sessions: HashMap<[u8; 16], Messages>,
    total: usize,
    /// Counts messages and records, for their order.
    order: u64,
}

#[derive(Debug, Default)]
struct Messages {
    /// The newest under each number.
    newest: HashMap<u16, (u64, [u8; 16])>,
    arrivals: VecDeque<(u64, u16)>,
    touched: u64,
}

impl Known {
    pub(super) fn add(&mut self, sessions: &[Session]) {
        for session in sessions {
            let Ok(key) = <[u8; 16]>::try_from(session.key.as_slice()) else { continue };
            let known = self.sessions.entry(key).or_default();
            self.total -= known.newest.len();
            for message in session.messages.chunks_exact(MESSAGE_BYTES) {
                self.order += 1;
                let packet_id = u16::from_le_bytes([message[0], message[1]]);
                let mut digest = [0; 16];
                digest.copy_from_slice(&message[2..]);
                known.newest.insert(packet_id, (self.order, digest));
                known.arrivals.push_back((self.order, packet_id));
            }
            known.touched = self.order;
            let most = usize::try_from(session.unsettled).unwrap_or(MESSAGES_MAX).min(MESSAGES_MAX);
            known.shorten(most);
            self.total += known.newest.len();
        }
        while self.total > TOTAL_MAX && self.sessions.len() > 1 {
            // Most likely of a configuration that is no more.
            let stalest = self.sessions.iter().min_by_key(|(_, known)| known.touched).map(|(key, _)| *key);
            let Some(gone) = stalest.and_then(|key| self.sessions.remove(&key)) else { break };
            self.total -= gone.newest.len();
        }
    }

    pub(super) fn take(&mut self, session: [u8; 16]) -> Vec<(u16, [u8; 16])> {
        let Some(known) = self.sessions.remove(&session) else { return Vec::new() };
        self.total -= known.newest.len();
        known.newest.into_iter().map(|(packet_id, (_, digest))| (packet_id, digest)).collect()
    }
}

impl Messages {
    fn shorten(&mut self, most: usize) {
        while self.newest.len() > most || self.arrivals.len() > 2 * MESSAGES_MAX {
            let Some((order, packet_id)) = self.arrivals.pop_front() else { return };
            if self.newest.get(&packet_id).is_some_and(|(newest, _)| *newest == order) {
                self.newest.remove(&packet_id);
            }
        }
    }
}
