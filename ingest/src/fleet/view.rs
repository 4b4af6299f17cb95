//! What is shown of a gateway at a moment: its state, its figures, what is wrong, and the way
//! from its machines to the store with the hop that is broken.

use sandan_proto::id::GatewayId;
use serde::{Deserialize, Serialize};

use super::figure::Judged;
use super::state::{ConditionId, Hop, Level, LinkState, Parent, SignalState, State};

/// One gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Which.
    pub id: GatewayId,
    /// How it is.
    pub state: State,
    /// Whether it has a session at this process. One that lost it a moment ago is still as it was.
    pub connected: bool,
    /// Whether its reports are of now. What else is shown of one that is not heard is as last reported.
    pub heard: bool,
    /// The last word from it, µs since 1970.
    pub contact_us: Option<i64>,
    /// Observation time of its newest stored reading, µs since 1970.
    pub newest_us: Option<i64>,
    /// Of its software; empty while it is not known.
    pub software: String,
    /// What it still keeps, as last reported.
    pub spool: Option<Spool>,
    /// Its devices, worst first.
    pub links: Vec<Link>,
    /// What is measured of it and its devices.
    pub figures: Vec<Judged>,
    /// What is wrong, worst first; what something above it hides comes last.
    pub conditions: Vec<Condition>,
    /// The way from its machines to the store.
    pub chain: Hops,
    /// Until when somebody works on it, µs since 1970.
    pub maintenance_until_us: Option<i64>,
}

/// What a gateway still keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spool {
    /// Readings that are not acknowledged.
    pub readings: u64,
    /// Age of the oldest of them, ms.
    pub oldest_ms: u64,
    /// Of the byte cap, percent.
    pub percent: u64,
    /// When a backlog will have drained, ms; none where it does not, or the gateway does not say.
    pub drains_in_ms: Option<u64>,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its name at the gateway.
    pub device: String,
    /// Protocol and address.
    pub endpoint: String,
    /// How it is; unknown while its gateway is not heard.
    pub state: LinkState,
    /// How it was when its gateway was last heard.
    pub reported: LinkState,
    /// In the gateway's words; empty while all is well.
    pub words: String,
    /// Its last good reading, µs since 1970.
    pub last_good_us: Option<i64>,
    /// Of 1,000 requests of the last 5 minutes; none without any.
    pub success_permille: Option<u32>,
    /// Of the last 5 minutes, ms; none where nothing was asked.
    pub latency_p99_ms: Option<u32>,
    /// How often a value is expected, ms.
    pub interval_ms: u32,
    /// How many of its signals are how; none where its gateway does not count them.
    pub signals: Option<Signals>,
    /// The worst few of them, worst first.
    pub worst_signals: Vec<Signal>,
}

/// Signals of a device by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Signals {
    pub good: u32,
    pub uncertain: u32,
    pub stale: u32,
    pub bad: u32,
    pub never_seen: u32,
}

/// One signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// Its name in the gateway's configuration.
    pub signal: String,
    /// How it is.
    pub state: SignalState,
    /// When its last value came, µs since 1970.
    pub last_us: Option<i64>,
}

/// Something is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// What.
    pub id: ConditionId,
    /// How bad; warn or critical.
    pub level: Level,
    /// Since when, µs since 1970. A worse level of the same condition has the same beginning.
    pub since_us: i64,
    /// Of which gateway; none for the ingest itself.
    pub gateway: Option<GatewayId>,
    /// Of which device.
    pub device: Option<String>,
    /// The figure, where it is one; its unit stands beside each id.
    pub value: Option<f64>,
    /// The bound that it is beyond.
    pub bound: Option<f64>,
    /// Something above it is wrong, and that is what somebody should be told.
    pub inhibited_by: Option<Parent>,
}

impl Condition {
    /// Greater is worse; what is inhibited is never worse than what is not.
    pub fn badness(&self) -> (bool, Level, std::cmp::Reverse<ConditionId>) {
        (self.inhibited_by.is_none(), self.level, std::cmp::Reverse(self.id))
    }
}

/// The way from the machines to the store, how each part is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hops {
    /// The worst device, where one is not well.
    pub worst_device: Option<String>,
    /// How many further devices are not well.
    pub other_devices: usize,
    /// From the machines to the gateway.
    pub device: Level,
    /// The gateway and the network behind it.
    pub gateway: Level,
    /// Its buffer.
    pub spool: Level,
    /// This service.
    pub ingest: Level,
    /// The part that is to be mended; none while all is well.
    pub broken: Option<Hop>,
}

impl Hops {
    /// How a part is.
    pub fn level(&self, hop: Hop) -> Level {
        match hop {
            Hop::Device => self.device,
            Hop::Gateway => self.gateway,
            Hop::Spool => self.spool,
            Hop::Ingest => self.ingest,
        }
    }

    /// From what is wrong. `in_contact` says whether the gateway's reports are of now.
    pub(super) fn of(conditions: &[Condition], in_contact: bool, is_storing: bool) -> Self {
        let mine = || conditions.iter().filter(|it| it.inhibited_by.is_none());
        let level = |hop: Hop| mine().filter(|it| it.id.hop() == hop).map(|it| it.level).max();
        let reported = |hop| level(hop).unwrap_or(if in_contact { Level::Well } else { Level::Unknown });
        let mut devices: Vec<_> = Vec::new();
        for device in mine().filter_map(|it| it.device.as_ref()) {
            if !devices.contains(&device) {
                devices.push(device);
            }
        }
        let mut chain = Self {
            worst_device: devices.first().map(|device| (*device).clone()),
            other_devices: devices.len().saturating_sub(1),
            device: reported(Hop::Device),
            gateway: reported(Hop::Gateway),
            spool: reported(Hop::Spool),
            ingest: if is_storing { level(Hop::Ingest).unwrap_or(Level::Well) } else { Level::Critical },
            broken: None,
        };
        // Of two that are as bad the one nearer to the machines: the rest may follow from it.
        chain.broken = [Hop::Ingest, Hop::Gateway, Hop::Spool, Hop::Device]
            .into_iter()
            .filter(|hop| chain.level(*hop) >= Level::Warn)
            .max_by_key(|hop| chain.level(*hop));
        chain
    }
}

impl View {
    /// The one thing to say about it; none while all is well.
    pub fn worst(&self) -> Option<&Condition> {
        self.conditions.first().filter(|condition| condition.inhibited_by.is_none())
    }

    /// Whether somebody has to do something: not for what has yet to begin, nor for what
    /// mends itself, nor while somebody does.
    pub fn needs_attention(&self) -> bool {
        self.worst().is_some()
    }

    /// Smaller is worse: to be shown first.
    pub fn rank(&self) -> impl Ord + use<> {
        (std::cmp::Reverse(self.worst().map(Condition::badness)), self.state)
    }
}
