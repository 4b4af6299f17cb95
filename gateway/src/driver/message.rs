//! What a message of a broker says, whatever its payload is written in. Pure types: the
//! client beside them does the talking, and the clock is asked where they meet.
//!
//! A kind of payload that needs no memory is a function from bytes to an [`Outcome`]. One that
//! does, Sparkplug, is a state machine for all the nodes of an endpoint, without I/O and
//! without a clock of its own:
//!
//! - `connected(&mut self)` when the subscriptions stand;
//! - `take(&mut self, topic, payload, now) -> Outcome` for each message;
//! - `due_us(&self)` and `ask(&mut self, now)`: when a request is due, and making it;
//! - `lost(&mut self, now)` when the connection to the broker ended: what was learnt of
//!   aliases and sequences is void, and the driver has told every signal.

use bytes::Bytes;
use sandan_proto::reading::Quality;

use super::Raw;

/// One value as its source told it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Index of the signal in the configuration.
    pub signal: u32,
    /// What was said.
    pub raw: Raw,
    /// When it was so by the source's own clock, microseconds since 1970. `None`: when the
    /// message came.
    pub wall_us: Option<i64>,
    /// What the source says of it beside its value.
    pub quality: Quality,
    /// The source says that it was so then, and nothing of what is so now.
    pub is_historical: bool,
}

impl Sample {
    /// A value of the moment at which its message came, with nothing to say against it.
    pub fn new(signal: u32, raw: Raw) -> Self {
        Self { signal, raw, wall_us: None, quality: Quality::GOOD, is_historical: false }
    }
}

/// What one message brought.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Values, in the order in which the message has them.
    pub samples: Vec<Sample>,
    /// Devices, by their index in the configuration, of which it says more than by values:
    /// each is told to health as it stands here.
    pub links: Vec<(usize, Link)>,
    /// The message cannot be understood without another one that the source is to be asked
    /// for. The one thing that is ever published, and only where the configuration lets it.
    pub rebirth: Option<Rebirth>,
    /// Why it, or a part of it, could not be used: one sentence that goes on from "a message
    /// on …", such as "is not JSON". The message is then kept as a dead letter.
    pub dead: Option<String>,
}

/// What a message says of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// It speaks, and what it says is understood.
    Up,
    /// It cannot be heard; why, in one sentence. Its signals are told `bad(no_answer)` by the
    /// driver.
    Down(String),
    /// It said something that cannot be used; why, in one sentence.
    Refused(String),
}

/// A request to a Sparkplug edge node to say again what its metrics are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebirth {
    /// The node's group.
    pub group: String,
    /// The node.
    pub node: String,
    /// The encoded command, which only `driver::sparkplug` makes.
    pub payload: Bytes,
}

impl Rebirth {
    /// Where it is published: the commands of one node, and nothing else.
    pub fn topic(&self) -> String {
        format!("spBv1.0/{}/NCMD/{}", self.group, self.node)
    }
}
