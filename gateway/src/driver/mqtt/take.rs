//! From a message to a reply: what it says, when that was so, and what is wrong with it.

use std::time::Instant;

use sandan_proto::reading::{Quality, QualityClass};
use sha2::{Digest as _, Sha256};

use super::client::Message;
use super::ledger::Verdict;
use super::{Driver, map, shortened};
use crate::config::TopicMatch;
use crate::driver::message::{Link, Outcome, Rebirth, Sample};
use crate::driver::{Closed, DeadLetter, Delivery, Raw, Reading, Reply, arrival_us};

/// Most text that one message may bring, over all signals that pick it: what the
/// recorder has room for even when the disk begins to fail in the middle of it.
const MAX_TEXT_BYTES: usize = 1 << 20;
/// Topics whose retained message is remembered, so that it is not taken twice.
const MAX_RETAINED: usize = 10_000;
/// What a sentence shows of a topic.
const SHOWN_CHARS: usize = 80;

/// What one message comes to.
#[derive(Default)]
struct Taken {
    readings: Vec<Reading>,
    /// Why it, or a part of it, could not be used.
    dead: Option<String>,
    rebirth: Option<Rebirth>,
}

impl Message {
    /// Tells a redelivery from another message under the same packet id.
    pub(super) fn digest(&self) -> [u8; 16] {
        shortened(Sha256::new().chain_update(&self.topic).chain_update([0]).chain_update(&self.payload))
    }

    fn shown_topic(&self) -> String {
        self.topic.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect()
    }
}

impl Driver {
    /// Sends on what a message brings. Gives the node that is to be asked for its births.
    pub(super) async fn message(&mut self, message: &Message) -> Result<Option<Rebirth>, Closed> {
        let at_us = arrival_us();
        let digest = message.digest();
        if let Some(packet_id) = message.packet_id
            && self.ledger.arrived(packet_id, message.dup, digest) == Verdict::Known
        {
            return Ok(None);
        }
        let Taken { readings, dead, rebirth } = self.taken(message, digest);
        let dead = dead.filter(|_| self.letters.has_room(&message.topic, Instant::now())).map(|reason| DeadLetter {
            topic: message.topic.clone(),
            reason,
            payload: message.payload.clone(),
        });
        let ticket = if readings.is_empty() && dead.is_none() {
            0
        } else {
            let delivery = message.packet_id.map(|packet_id| Delivery {
                session: self.session,
                packet_id,
                digest,
                unsettled: self.ledger.unsettled(packet_id),
            });
            self.tickets.deliver(Reply { readings, delivery, dead, ..self.tickets.reply(at_us) }).await?
        };
        if let Some(packet_id) = message.packet_id {
            self.ledger.sent(packet_id, digest, ticket);
        }
        Ok(rebirth)
    }

    /// What a message says to all devices whose topic it fits; what is wrong with it goes to
    /// health.
    fn taken(&mut self, message: &Message, digest: [u8; 16]) -> Taken {
        if self.nodes.knows(&message.topic) {
            return self.of_node(message);
        }
        if message.retain && self.retained.get(&message.topic) == Some(&digest) {
            // It came with an earlier subscription too.
            return Taken::default();
        }
        let mut taken = Taken::default();
        let (mut unknown, mut is_known) = (None, false);
        let mut text_bytes = 0;
        for device in &self.endpoint.devices {
            let metric = match device.topic.matches(&message.topic) {
                TopicMatch::No => continue,
                TopicMatch::OtherAsset(level) => {
                    unknown = Some(format!("names no asset that is configured: `{level}`"));
                    continue;
                }
                TopicMatch::This(Some(metric)) if !device.reads(metric) => {
                    unknown = Some(format!("names no metric that is configured: `{metric}`"));
                    continue;
                }
                TopicMatch::This(metric) => metric,
            };
            is_known = true;
            let Outcome { mut samples, mut dead, .. } = map::message(device, metric, &message.payload);
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
                samples.clear();
                dead = Some("brings more text than one message may".into());
            }
            match &dead {
                Some(reason) => self.refused(device.device, message, reason),
                None => self.health.answered(device.device, 0, None),
            }
            taken.dead = taken.dead.or(dead);
            taken.readings.extend(samples.into_iter().map(|sample| self.dated(sample)));
        }
        if message.retain && !taken.readings.is_empty() && self.retained.len() < MAX_RETAINED {
            self.retained.insert(message.topic.clone(), digest);
        }
        if let (false, Some(reason)) = (is_known, unknown) {
            self.health.unknown_topic(self.tickets.outlet.source, &message.shown_topic());
            // What nobody asked for may come for ever: one of each topic is enough to see it.
            taken.dead = self.letters.is_first(&message.topic, Instant::now()).then_some(reason);
        } else if let Some(reason) = &taken.dead {
            self.told(message, reason);
        }
        taken
    }

    /// What a Sparkplug node says.
    fn of_node(&mut self, message: &Message) -> Taken {
        if message.retain {
            // No message of Sparkplug's nodes may be retained: it is of a session that is over.
            return Taken::default();
        }
        let now = self.now();
        let mut outcome = self.nodes.take(&message.topic, &message.payload, now);
        if self.tickets.outlet.offset.known_us().is_none() {
            let all = outcome.samples.len();
            outcome.samples.retain(|sample| !sample.is_historical);
            if outcome.samples.len() < all {
                // When that was cannot be told, and it is not so now.
                outcome.dead.get_or_insert("holds historical values, and the time is not known here yet".into());
            }
        }
        let mut readings: Vec<_> = outcome.samples.into_iter().map(|sample| self.dated(sample)).collect();
        for (device, link) in outcome.links {
            match link {
                Link::Up => self.health.answered(device, 0, None),
                Link::Refused(why) => self.health.refused(device, 0, None, &why),
                Link::Down(why) => {
                    self.health.silent(device, &why);
                    let devices = self.endpoint.sparkplug.iter().flat_map(|node| &node.devices);
                    let gone = devices.filter(|known| known.device == device).flat_map(|known| &known.tags);
                    readings.extend(gone.map(|tag| Reading::new(tag.signal, Raw::Failed(Quality::BAD_NO_ANSWER))));
                }
            }
        }
        if let Some(reason) = &outcome.dead {
            self.told(message, reason);
        }
        Taken { readings, dead: outcome.dead, rebirth: outcome.rebirth }
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
        let is_historical = sample.is_historical;
        Reading { at_us, quality, is_historical, ..Reading::new(sample.signal, sample.raw) }
    }

    fn refused(&self, device: usize, message: &Message, what: &str) {
        self.health.refused(device, 0, None, &format!("a message on {} {what}", message.shown_topic()));
    }

    /// Counts a message that could not be used.
    fn told(&self, message: &Message, what: &str) {
        let fault = format!("a message on {} {what}", message.shown_topic());
        self.health.dead_letter(self.tickets.outlet.source, &fault);
    }
}

/// A quality with a doubt, unless something worse is known already.
fn doubted(known: Quality, doubt: Quality) -> Quality {
    if known.class() == QualityClass::Good { doubt } else { known }
}

fn text_len(raw: &Raw) -> usize {
    if let Raw::Text(text) = raw { text.len() } else { 0 }
}
