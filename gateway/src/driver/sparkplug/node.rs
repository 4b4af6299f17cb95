//! One edge node: its session, its sequence, and the places that signals come from.
//!
//! What a birth says holds as long as no message of the node was missed since. One that was
//! may have been a birth, with other names behind the same aliases; so after a gap, or when
//! the broker was lost, aliases mean nothing until the next birth. Metrics that come under
//! their names are taken all the same.

use std::collections::HashMap;

use bytes::Bytes;

use super::Now;
use super::payload::{MAX_METRICS, Payload};
use super::place::Place;
use super::rebirth::{self, Asking};
use super::topic::Kind;
use crate::config::SparkplugNode;
use crate::driver::message::{Outcome, Rebirth};

/// Most aliases that are remembered of one node, over all its devices.
const MAX_ALIASES: usize = 4 * MAX_METRICS;

/// The state of one node.
#[derive(Debug)]
pub(super) struct Node {
    group: String,
    name: String,
    places: Vec<Place>,
    /// By the device's id; the node's own place has none.
    by_id: HashMap<Option<String>, usize>,
    /// The sequence number that comes next; none when the last one is not known.
    expected: Option<u8>,
    /// The session of the last birth, as the node counts them.
    session: Option<u64>,
    /// None: this node is never asked.
    asking: Option<Asking>,
}

impl Node {
    pub(super) fn new(configured: &SparkplugNode) -> Self {
        let by_id = configured.devices.iter().enumerate().map(|(index, device)| (device.id.clone(), index));
        Self {
            group: configured.group.clone(),
            name: configured.node.clone(),
            places: configured.devices.iter().map(Place::new).collect(),
            by_id: by_id.collect(),
            expected: None,
            session: None,
            asking: configured.request_rebirth.then(Asking::default),
        }
    }

    /// The broker is reached: what the node says from now on needs its births.
    pub(super) fn connected(&mut self) {
        self.want();
    }

    /// The broker is lost: what comes meanwhile is not heard. Somebody else tells the signals.
    pub(super) fn lost(&mut self, now: Now) {
        (self.expected, self.session) = (None, None);
        self.places.iter_mut().for_each(|place| place.silence(now));
        self.settle();
    }

    pub(super) fn take(&mut self, kind: Kind, device: Option<&str>, payload: &Bytes, now: Now, outcome: &mut Outcome) {
        let payload = Payload::decode(payload);
        if kind == Kind::NodeDeath {
            return self.died(payload.ok().and_then(|payload| payload.session()), now, outcome);
        }
        let place = self.by_id.get(&device.map(Into::into)).copied();
        let payload = match payload {
            Ok(payload) => payload,
            Err(refusal) => {
                self.lose_track("a message of the node cannot be read", outcome);
                if let Some(place) = place {
                    self.places[place].refuse(&format!("a message {refusal}"), outcome);
                }
                outcome.dead = Some(refusal.to_string());
                return;
            }
        };
        if kind == Kind::NodeBirth {
            self.begins(&payload, now, outcome);
        } else {
            self.follow(payload.seq, outcome);
        }
        let Some(place) = place else { return };
        match kind {
            Kind::NodeBirth | Kind::DeviceBirth => self.born(place, &payload, now, outcome),
            Kind::NodeData | Kind::DeviceData => {
                if self.places[place].data(&payload, now, outcome) {
                    self.want();
                }
            }
            Kind::DeviceDeath => {
                self.places[place].down("the node says that it lost the device (DDEATH)", now, outcome);
            }
            // Not subscribed to, and nothing to us.
            Kind::NodeCommand | Kind::DeviceCommand | Kind::NodeDeath => {}
        }
    }

    /// A birth of the node begins its sequence, and with another number its session.
    fn begins(&mut self, payload: &Payload, now: Now, outcome: &mut Outcome) {
        let session = payload.session();
        if self.session.is_some() && session != self.session {
            // The death of the old session may still come, and will be ignored. Of itself the
            // node tells right now.
            let own = self.by_id.get(&None).copied();
            let places = self.places.iter_mut().enumerate();
            for (_, place) in places.filter(|(index, place)| place.is_born() && Some(*index) != own) {
                place.down("the node began a new session and has not told of it yet", now, outcome);
            }
        }
        self.places.iter_mut().for_each(Place::forget);
        self.session = session;
        self.expected = payload.seq.map(|seq| seq.wrapping_add(1));
        self.settle();
    }

    fn born(&mut self, place: usize, payload: &Payload, now: Now, outcome: &mut Outcome) {
        self.places[place].born(payload, now, outcome);
        let aliases: usize = self.places.iter().map(Place::aliases).sum();
        if aliases > MAX_ALIASES {
            self.places[place].forget();
            self.places[place].refuse(&format!("the node has more than {MAX_ALIASES} aliases"), outcome);
        }
    }

    /// The node is gone, unless that is an old tale.
    fn died(&mut self, session: Option<u64>, now: Now, outcome: &mut Outcome) {
        if let (Some(of), Some(current)) = (session, self.session)
            && is_before(of, current)
        {
            return;
        }
        (self.expected, self.session) = (None, None);
        for place in &mut self.places {
            place.down("the node is gone (NDEATH)", now, outcome);
        }
        self.settle();
    }

    /// One more message of the sequence; if one was missed, nothing holds any more.
    fn follow(&mut self, seq: Option<u8>, outcome: &mut Outcome) {
        let expected = std::mem::replace(&mut self.expected, seq.map(|seq| seq.wrapping_add(1)));
        let fault = match (expected, seq) {
            (Some(expected), Some(seq)) if expected == seq => return,
            (Some(expected), Some(seq)) => {
                format!("messages of the node were missed: sequence {seq} came after {}", expected.wrapping_sub(1))
            }
            (_, None) => "a message of the node has no sequence number".into(),
            (None, Some(_)) => "messages of the node may have been missed".into(),
        };
        let expected = self.expected;
        self.lose_track(&fault, outcome);
        self.expected = expected;
    }

    fn lose_track(&mut self, fault: &str, outcome: &mut Outcome) {
        // What was missed may have begun another session, whose death must count.
        (self.expected, self.session) = (None, None);
        for place in &mut self.places {
            if place.is_born() {
                place.forget();
                place.refuse(&format!("{fault}; aliases mean nothing until the next birth"), outcome);
            }
        }
        self.want();
    }

    fn want(&mut self) {
        self.asking.iter_mut().for_each(Asking::want);
    }

    fn settle(&mut self) {
        self.asking.iter_mut().for_each(Asking::settle);
    }

    /// When the node is to be asked for its births, monotonic microseconds.
    pub(super) fn due_us(&self) -> Option<i64> {
        self.asking.as_ref()?.due_us()
    }

    /// Asks it.
    pub(super) fn ask(&mut self, now: Now) -> Option<Rebirth> {
        self.asking.as_mut()?.asked(now.monotonic_us);
        let now_ms = u64::try_from(now.wall_us / 1_000).unwrap_or(0);
        Some(Rebirth { group: self.group.clone(), node: self.name.clone(), payload: rebirth::command(now_ms) })
    }
}

/// Whether one session was before another. Their numbers go round after 255, but some count
/// on. A death of a session that is still to come is no old tale: there are nodes that count
/// before they say goodbye.
fn is_before(one: u64, other: u64) -> bool {
    if one > 255 || other > 255 { one < other } else { (1..128).contains(&((other + 256 - one) % 256)) }
}
