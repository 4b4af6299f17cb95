//! Tags: raw values become readings with type, scale and quality, and only those
//! worth a record pass.
//!
//! ```text
//! raw ─ decode ─ judge ─ counter ─ bucket ─ gate ─▶ reading
//! ```
//! `judge` holds a value against its ranges, `counter` marks resets and wraps, `bucket` puts
//! one reading in the place of many where the upload policy says so, and `gate` lets pass
//! what says something new. A signal of which nothing is to leave the plant ends here.
//!
//! Pure: no I/O and no clock; a reading's time is its reply's. It promises that
//! every change of quality passes, that times of one signal go up as its replies do,
//! and that a value of a series always has the series' type. It knows no protocol.

use std::collections::BTreeMap;
use std::time::Duration;

use sandan_proto::reading::{Quality, Value};

use crate::config::{Config, Signal, Upload};
use crate::driver::{Raw, Reading, Reply};

mod bucket;
mod counter;
mod decode;
mod gate;

use bucket::Bucket;
use counter::Counter;
pub use decode::decode;
use gate::{Gate, Seen};

/// The tag stage of one gateway: one tag a signal, each with the last reading that passed.
#[derive(Debug)]
pub struct Tags {
    /// In the order of the configuration's signals.
    all: Vec<Tag>,
    wall_offset_us: i64,
    /// By driver: where the signals of the configuration that it began under are now. None for
    /// one that began under the current one.
    places: BTreeMap<usize, Vec<Option<u32>>>,
}

/// Takes a reading: series, monotonic microseconds, value and quality.
pub type Emit<'a> = &'a mut dyn FnMut(u32, i64, Value, Quality);

#[derive(Debug)]
struct Tag {
    signal: Signal,
    counter: Option<Counter>,
    bucket: Option<Bucket>,
    gate: Gate,
    /// The latest time that was told, monotonic microseconds.
    newest_us: i64,
    /// When the last value came, whether it passed or not, and how good it was.
    seen: Option<(i64, Quality)>,
}

impl Tags {
    /// Tags for every signal, with nothing seen yet: the first reading of each passes.
    /// `wall_offset_us` is the wall clock less the boot clock as it is believed now, 0 when
    /// nobody knows: buckets begin at full minutes, or whatever they span, of it.
    pub fn new(config: &Config, wall_offset_us: i64) -> Self {
        let all = config.signals.iter().map(|signal| Tag::new(signal, wall_offset_us)).collect();
        Self { all, wall_offset_us, places: BTreeMap::new() }
    }

    /// Emits the readings of a reply that are worth a record. A signal that the configuration
    /// does not have is passed over.
    pub fn apply(&mut self, reply: &Reply, emit: Emit<'_>) {
        let places = self.places.get(&reply.source);
        for reading in &reply.readings {
            let place =
                places.map_or(Some(reading.signal), |places| places.get(reading.signal as usize).copied().flatten());
            let Some(tag) = place.and_then(|place| self.all.get_mut(place as usize)) else { continue };
            tag.take(reading.at_us.unwrap_or(reply.at_us), reply.at_us, reading, emit);
        }
    }

    /// Each signal of the configuration in its order, with when its last value came, monotonic
    /// microseconds, and how good that was; none where none came since the start.
    pub fn last(&self) -> impl Iterator<Item = (&Signal, Option<(i64, Quality)>)> {
        self.all.iter().map(|tag| (&tag.signal, tag.seen))
    }

    /// Emits what became due without a reply: buckets that are over, changes that had come too
    /// early. Now, in monotonic microseconds.
    pub fn tick(&mut self, now_us: i64, emit: Emit<'_>) {
        for tag in &mut self.all {
            tag.tick(now_us, emit);
        }
    }

    /// Emits what would become due, when there is no later any more. Buckets that are not over
    /// are given up.
    pub fn close(&mut self, emit: Emit<'_>) {
        for tag in &mut self.all {
            tag.close(emit);
        }
    }

    /// Goes over to another configuration. `places` says where the signals of the one before
    /// are in it, and `kept` which drivers go on under that one's numbers. A signal that means
    /// the same as before goes on with what was seen of it; of the others that which waits is
    /// emitted, under the series of the configuration before.
    pub fn go_over(&mut self, from: &Config, to: &Config, places: &[Option<u32>], kept: &[usize], emit: Emit<'_>) {
        let fresh = to.signals.iter().map(|signal| Tag::new(signal, self.wall_offset_us)).collect();
        let before = std::mem::replace(&mut self.all, fresh);
        for (mut tag, place) in before.into_iter().zip(places) {
            let place = place.map(|place| place as usize);
            match place.and_then(|place| Some((to.signals.get(place)?, self.all.get_mut(place)?))) {
                Some((signal, now)) if is_same(from, &tag.signal, to, signal) => {
                    tag.signal = signal.clone();
                    *now = tag;
                }
                _ => tag.close(emit),
            }
        }
        let old = std::mem::take(&mut self.places);
        let moved = |source: &usize| {
            let moved = match old.get(source) {
                None => places.to_vec(),
                Some(old) => {
                    old.iter().map(|at| at.and_then(|at| places.get(at as usize).copied().flatten())).collect()
                }
            };
            (*source, moved)
        };
        self.places = kept.iter().map(moved).collect();
    }
}

/// Whether two signals are one, whatever their numbers are.
fn is_same(from: &Config, before: &Signal, to: &Config, now: &Signal) -> bool {
    let unnumbered = |signal: &Signal| Signal { device: 0, asset: 0, series: None, ..signal.clone() };
    from.assets[before.asset].id == to.assets[now.asset].id && unnumbered(before) == unnumbered(now)
}

impl Tag {
    fn new(signal: &Signal, wall_offset_us: i64) -> Self {
        let bucket = match signal.upload {
            Upload::Bucketed { every, function } => {
                Some(Bucket::new(micros(every), wall_offset_us, function, micros(signal.interval), signal.value_type()))
            }
            Upload::Raw | Upload::None => None,
        };
        Self {
            counter: signal.counter.map(Counter::new),
            bucket,
            gate: Gate::new(signal.publish, signal.value_interval()),
            newest_us: i64::MIN,
            seen: None,
            signal: signal.clone(),
        }
    }

    /// Takes a reading of a time that came at another, both monotonic microseconds.
    fn take(&mut self, at_us: i64, came_us: i64, reading: &Reading, emit: Emit<'_>) {
        let (value, mut quality) = match judge(&self.signal, &reading.raw) {
            (Some(_), _) if reading.quality.is_bad() => (None, reading.quality),
            (Some(value), quality) => (Some(value), if quality == Quality::GOOD { reading.quality } else { quality }),
            bad => bad,
        };
        let is_late = reading.is_historical || at_us < self.newest_us;
        if !is_late {
            self.newest_us = at_us;
            self.seen = Some((came_us, quality));
        }
        let Some(series) = self.signal.series else { return };
        if !is_late
            && let Some(counter) = &mut self.counter
            && let Some(count) = value.as_ref().and_then(Value::as_f64)
        {
            let mark = counter.mark(count);
            if quality == Quality::GOOD {
                quality = mark;
            }
        }
        let value = value.unwrap_or_else(|| Value::place_holder(self.signal.decode.value_type()));
        let seen = Seen { at_us, value, quality };
        let passed = match &mut self.bucket {
            // What a source tells late says nothing about what is to come, and passes.
            None if is_late => Some(seen),
            None => self.gate.take(seen),
            Some(bucket) => bucket.take(&seen).and_then(|ended| self.gate.take(ended)),
        };
        send(series, passed, emit);
    }

    fn tick(&mut self, now_us: i64, emit: Emit<'_>) {
        let Some(series) = self.signal.series else { return };
        let ended = self.bucket.as_mut().and_then(|bucket| bucket.due(now_us));
        let passed = ended.and_then(|seen| self.gate.take(seen));
        send(series, passed, emit);
        send(series, self.gate.due(now_us), emit);
    }

    fn close(&mut self, emit: Emit<'_>) {
        let Some(series) = self.signal.series else { return };
        send(series, self.gate.close(), emit);
    }
}

fn send(series: u32, seen: Option<Seen>, emit: Emit<'_>) {
    if let Some(Seen { at_us, value, quality }) = seen {
        emit(series, at_us, value, quality);
    }
}

/// The value of one raw value, and what its ranges say of it. A bad one has none.
pub fn judge(signal: &Signal, raw: &Raw) -> (Option<Value>, Quality) {
    let value = match decode(&signal.decode, raw) {
        Ok(value) => value,
        Err(quality) => return (None, quality),
    };
    let is_within =
        |least: f64, greatest: f64| value.as_f64().is_none_or(|number| least <= number && number <= greatest);
    if signal.valid.is_some_and(|(least, greatest)| !is_within(least, greatest)) {
        return (None, Quality::BAD_OUT_OF_RANGE);
    }
    let is_plausible = signal.plausible.is_none_or(|[least, greatest]| is_within(least, greatest));
    let quality = if is_plausible { Quality::GOOD } else { Quality::UNCERTAIN_IMPLAUSIBLE };
    (Some(value), quality)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
