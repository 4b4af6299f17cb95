//! Sparkplug B over MQTT: what edge nodes say of themselves and their devices.
//!
//! A state machine for all nodes of one broker, without I/O and without a clock of its own.
//! It promises:
//!
//! - a value goes under the name that its node gave it, or nowhere: an alias is only
//!   understood by a birth since which no message of the node was missed;
//! - a node is asked for its births again only where the configuration says so, and seldom;
//! - what a node calls historical is told as it was then and never as it is now.
//!
//! The format: Eclipse Sparkplug 3.0. Where nodes in use write otherwise and nothing else can
//! be meant, that is taken too; see `payload` and `value`.
//!
//! What it cannot see: as many messages lost as make the sequence fit again, a birth among
//! them. Over one connection to a broker that takes a queue which is full for hundreds of
//! messages, or a node that restarts at just that moment.

use std::collections::HashMap;

use bytes::Bytes;

use super::message::{Outcome, Rebirth};
use crate::config::SparkplugNode;

pub mod dry;
mod node;
pub mod payload;
mod place;
pub mod rebirth;
pub mod topic;
mod value;
mod wire;

use node::Node;
use topic::Topic;

/// The moment at which something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Microseconds of the boot clock: for pauses.
    pub monotonic_us: i64,
    /// Microseconds since 1970 by our own clock: for judging the times of others.
    pub wall_us: i64,
}

/// All nodes of one broker.
#[derive(Debug)]
pub struct Nodes {
    all: Vec<Node>,
    by_name: HashMap<String, HashMap<String, usize>>,
    /// When the last request was made, to whichever node.
    asked_us: Option<i64>,
}

impl Nodes {
    /// Nothing is known of any of them.
    pub fn new(configured: &[SparkplugNode]) -> Self {
        let mut by_name: HashMap<String, HashMap<String, usize>> = HashMap::new();
        for (index, node) in configured.iter().enumerate() {
            by_name.entry(node.group.clone()).or_default().insert(node.node.clone(), index);
        }
        Self { all: configured.iter().map(Node::new).collect(), by_name, asked_us: None }
    }

    /// Whether a topic is one of theirs; what it brings is then for [`take`](Self::take).
    pub fn knows(&self, topic: &str) -> bool {
        self.index(topic).is_some()
    }

    fn index(&self, topic: &str) -> Option<(usize, topic::Kind, Option<String>)> {
        let Topic::Node { group, node, kind, device } = topic::parse(topic)? else { return None };
        let index = *self.by_name.get(group)?.get(node)?;
        Some((index, kind, device.map(Into::into)))
    }

    /// The subscriptions stand: births are needed from now on.
    pub fn connected(&mut self) {
        self.all.iter_mut().for_each(Node::connected);
    }

    /// The connection to the broker ended: what was learnt is void. The driver tells every
    /// signal that it has no value.
    pub fn lost(&mut self, now: Now) {
        self.all.iter_mut().for_each(|node| node.lost(now));
    }

    /// What a message says; nothing where it is none of theirs.
    pub fn take(&mut self, topic: &str, payload: &Bytes, now: Now) -> Outcome {
        let mut outcome = Outcome::default();
        if let Some((index, kind, device)) = self.index(topic) {
            self.all[index].take(kind, device.as_deref(), payload, now, &mut outcome);
        }
        outcome.rebirth = self.ask(now);
        outcome
    }

    /// A request that is due now.
    pub fn ask(&mut self, now: Now) -> Option<Rebirth> {
        if self.due_us()? > now.monotonic_us {
            return None;
        }
        let node = self.all.iter_mut().filter(|node| node.due_us().is_some()).min_by_key(|node| node.due_us())?;
        self.asked_us = Some(now.monotonic_us);
        node.ask(now)
    }

    /// When the next request is due, monotonic microseconds; none while none is wanted.
    pub fn due_us(&self) -> Option<i64> {
        let first = self.all.iter().filter_map(Node::due_us).min()?;
        let spaced = self.asked_us.map_or(0, |asked| asked.saturating_add(rebirth::SPACING_US));
        Some(first.max(spaced))
    }
}

#[cfg(test)]
mod tests;
