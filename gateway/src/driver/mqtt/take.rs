//! From a message to a reply: what it says, when that was so, and what is wrong with it.

use sha2::{Digest as _, Sha256};

use super::client::Message;
use super::ledger::Verdict;
use super::{Driver, map, shortened};
use crate::config::{MqttDevice, TopicMatch};
use crate::driver::message::{Outcome, Sample};
use crate::driver::{Closed, Delivery, Raw, Reading, arrival_us};
use sandan_proto::reading::{Quality, QualityClass};

/// Most text that one message may bring, over all signals that pick it: what the
/// recorder has room for even when the disk begins to fail in the middle of it.
const MAX_TEXT_BYTES: usize = 1 << 20;
/// Topics whose retained message is remembered, so that it is not taken twice.
const MAX_RETAINED: usize = 10_000;

impl Message {
    /// Tells a redelivery from another message under the same packet id.
    pub(super) fn digest(&self) -> [u8; 16] {
        shortened(Sha256::new().chain_update(&self.topic).chain_update([0]).chain_update(&self.payload))
    }
}

impl Driver {
    pub(super) async fn message(&mut self, message: &Message) -> Result<(), Closed> {
        let at_us = arrival_us();
        let digest = message.digest();
        if let Some(packet_id) = message.packet_id
            && self.ledger.arrived(packet_id, message.dup, digest) == Verdict::Known
        {
            return Ok(());
        }
        let readings = self.readings(message, digest);
        let delivery = message.packet_id.map(|packet_id| Delivery {
            session: self.session,
            packet_id,
            digest,
            unsettled: self.ledger.unsettled(packet_id),
        });
        let ticket = if readings.is_empty() { 0 } else { self.tickets.deliver(at_us, readings, delivery).await? };
        if let Some(packet_id) = message.packet_id {
            self.ledger.sent(packet_id, digest, ticket);
        }
        Ok(())
    }

    /// The readings of a message for all devices whose topic it fits; what is wrong
    /// with it goes to health.
    fn readings(&mut self, message: &Message, digest: [u8; 16]) -> Vec<Reading> {
        if message.retain && self.retained.get(&message.topic) == Some(&digest) {
            // It came with an earlier subscription too.
            return Vec::new();
        }
        let mut readings: Vec<Reading> = Vec::new();
        let mut text_bytes = 0;
        for device in &self.endpoint.devices {
            let metric = match device.topic.matches(&message.topic) {
                TopicMatch::This(metric) => metric,
                TopicMatch::OtherAsset(_) | TopicMatch::No => continue,
            };
            let Outcome { mut samples, dead, .. } = map::message(device, metric, &message.payload);
            if message.retain {
                // Without a time of its own it says what was, not when: no reading.
                samples.retain(|sample| sample.wall_us.is_some());
                for sample in &mut samples {
                    sample.quality = doubted(sample.quality, Quality::UNCERTAIN_RETAINED);
                }
                if samples.is_empty() {
                    self.health.ignored(device.device);
                    continue;
                }
            }
            text_bytes += samples.iter().map(|sample| text_len(&sample.raw)).sum::<usize>();
            if text_bytes > MAX_TEXT_BYTES {
                self.refused(device, message, "brings more text than one message may");
                continue;
            }
            match dead {
                Some(reason) => self.refused(device, message, &reason),
                None => self.health.answered(device.device, 0, None),
            }
            readings.extend(samples.into_iter().map(|sample| self.dated(sample)));
        }
        if message.retain && !readings.is_empty() && self.retained.len() < MAX_RETAINED {
            self.retained.insert(message.topic.clone(), digest);
        }
        readings
    }

    /// A sample on the clock of this boot. Where its own time cannot be told on it, it was so
    /// when it came, which is marked.
    fn dated(&self, sample: Sample) -> Reading {
        let offset = self.tickets.outlet.offset.known_us();
        let (at_us, quality) = match (sample.wall_us, offset) {
            (Some(wall_us), Some(offset_us)) => (Some(wall_us.saturating_sub(offset_us)), sample.quality),
            (Some(_), None) => (None, doubted(sample.quality, Quality::UNCERTAIN_CLOCK)),
            (None, _) => (None, sample.quality),
        };
        Reading { at_us, quality, ..Reading::new(sample.signal, sample.raw) }
    }

    fn refused(&self, device: &MqttDevice, message: &Message, what: &str) {
        let topic: String = message.topic.chars().take(80).flat_map(char::escape_debug).collect();
        self.health.refused(device.device, 0, None, &format!("a message on {topic} {what}"));
    }
}

/// A quality with a doubt, unless something worse is known already.
fn doubted(known: Quality, doubt: Quality) -> Quality {
    if known.class() == QualityClass::Good { doubt } else { known }
}

fn text_len(raw: &Raw) -> usize {
    if let Raw::Text(text) = raw { text.len() } else { 0 }
}
