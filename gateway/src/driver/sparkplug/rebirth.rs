//! Asking a node for its births again: the one thing that the gateway ever publishes, and
//! how seldom it does.

use bytes::Bytes;
use prost::Message as _;

use super::wire;

/// A node is asked again no sooner than this, and each time in a row after twice as long …
pub const MIN_PAUSE_US: i64 = 5_000_000;
/// … up to this. A node that cannot be understood is not made to publish for ever.
pub const MAX_PAUSE_US: i64 = 300_000_000;
/// Pauses start short again after a quiet time of so many of the last one.
const QUIET_PAUSES: i64 = 4;
/// Two nodes of a broker are asked so far apart: their answers are their largest messages.
pub const SPACING_US: i64 = 200_000;
/// The command's only metric.
const METRIC: &str = "Node Control/Rebirth";
/// The type code of a yes or no.
const BOOLEAN: u32 = 11;

/// When one node may be asked. Times are monotonic microseconds.
#[derive(Debug, Default)]
pub(super) struct Asking {
    wanted: bool,
    asked_us: Option<i64>,
    pause_us: i64,
}

impl Asking {
    /// Its births are needed.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// They came, or the node is gone.
    pub(super) fn settle(&mut self) {
        self.wanted = false;
    }

    /// From when on it may be asked, if it is to be.
    pub(super) fn due_us(&self) -> Option<i64> {
        let at = self.asked_us.map_or(0, |asked| asked.saturating_add(self.pause_us));
        self.wanted.then_some(at)
    }

    /// It is asked now.
    pub(super) fn asked(&mut self, now_us: i64) {
        let quiet_us = self.asked_us.map_or(i64::MAX, |asked| now_us.saturating_sub(asked));
        self.pause_us = if quiet_us > self.pause_us.saturating_mul(QUIET_PAUSES) {
            MIN_PAUSE_US
        } else {
            (self.pause_us * 2).clamp(MIN_PAUSE_US, MAX_PAUSE_US)
        };
        self.asked_us = Some(now_us);
        self.wanted = false;
    }
}

/// The command's payload, stamped with the time by our clock, milliseconds since 1970.
pub(super) fn command(now_ms: u64) -> Bytes {
    let metric = wire::Metric {
        name: Some(METRIC.into()),
        timestamp: Some(now_ms),
        datatype: Some(BOOLEAN),
        value: Some(wire::Value::Bool(true)),
        ..wire::Metric::default()
    };
    let metrics = vec![metric.encode_to_vec().into()];
    wire::Payload { timestamp: Some(now_ms), metrics, seq: None }.encode_to_vec().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn pauses_double_up_to_the_cap_and_start_again_after_a_quiet_time() {
        let mut asking = Asking::default();
        assert_eq!(asking.due_us(), None, "nothing is wanted");
        asking.want();
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let due = asking.due_us().unwrap();
            now = due.max(now);
            asking.asked(now);
            assert_eq!(asking.due_us(), None, "once asked, it is wanted no more");
            asking.want();
            pauses.push((asking.due_us().unwrap() - now) / SECOND);
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        now += 4 * MAX_PAUSE_US + 1;
        asking.asked(now);
        asking.want();
        assert_eq!(asking.due_us(), Some(now + MIN_PAUSE_US));
        asking.settle();
        assert_eq!(asking.due_us(), None);
    }

    #[test]
    fn the_command_is_this_to_the_byte() {
        // Field 1, varint 5.
        let mut expected = vec![0x08, 5];
        // Field 2: a metric of 28 bytes: name, timestamp 5, datatype 11, boolean_value true.
        expected.extend([0x12, 28, 0x0a, 20]);
        expected.extend(b"Node Control/Rebirth");
        expected.extend([0x18, 5, 0x20, 11, 0x70, 1]);
        assert_eq!(command(5)[..], expected);
    }
}
