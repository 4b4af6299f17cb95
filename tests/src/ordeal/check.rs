//! Whether what is stored is what the registers held.
//!
//! A number of the plant tells its register and the tick at which it was read
//! ([`pattern`]). So of each stored value is asked: is there a tick, within seconds before its
//! time, at which this register held it? If not it is wrong. And how old was it when it came?
//! An answer is at most as old as the time-out; one that was taken for a later request's is
//! older than that and the drain time together, for as long is waited before that request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use sandan_gateway::clock;
use sandan_proto::reading::Value;
use serde::Serialize;

use super::plan::{BITS, DRAIN, NUMBERS, metric, timeout};
use super::{FIRM, PUBLISHER};
use crate::harness::Use;
use crate::harness::account::{EVER, published};
use crate::harness::http::{Asker, Read, Series};
use crate::plcsim::machine::Area;
use crate::plcsim::pattern::{self, TICK_US};
use crate::plcsim::{Listen, Plant, Scenario};

/// A value is looked for so far before its time, and so far after it, where clocks differ.
const LOOKED_BACK_US: i64 = 10_000_000;
const LOOKED_AHEAD_US: i64 = 1_000_000;
/// Beside the time-out and the drain time: a tick, and times that are rounded to 1 ms.
const SLACK_US: i64 = TICK_US + 5_000;
/// Faults that are told in words.
const TOLD: usize = 20;

/// What the stored values came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Verdict {
    /// Numbers that their register held.
    pub numbers: u64,
    /// Readings without a value, each with a reason.
    pub bad: u64,
    /// Groups of eight bits that their inputs held.
    pub bits: u64,
    /// Messages whose values are all as they were published.
    pub messages: u64,
    /// Values that nobody gave away at that place within seconds.
    pub wrong: u64,
    /// Values of an earlier request.
    pub stale: u64,
    /// The oldest answer that was taken, ms.
    pub oldest_ms: i64,
    /// What is wrong, in words.
    pub faults: Vec<String>,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { numbers, bad, bits, messages, wrong, stale, oldest_ms, .. } = self;
        write!(
            f,
            "stored: {numbers} numbers, {bits} groups of bits, {messages} messages, {bad} readings without a value; \
             {wrong} wrong, {stale} of an earlier request; the oldest answer taken was {oldest_ms} ms old"
        )
    }
}

impl Verdict {
    fn fault(&mut self, words: impl FnOnce() -> String) {
        if self.faults.len() < TOLD {
            self.faults.push(words());
        }
    }
}

/// A unit of the plant that should be read.
struct Unit {
    name: String,
    seed: u64,
    is_dead: bool,
    /// An answer that is taken is younger.
    fresh_us: i64,
}

pub(super) struct Checker {
    units: Vec<Unit>,
    owner: Asker,
    lag: Lag,
    /// From the boot clock to the wall clock, µs.
    offset_us: i64,
}

impl Checker {
    pub(super) fn new(scenario: &Scenario, owner: Asker) -> Self {
        let mut units = Vec::new();
        for line in &scenario.modbus {
            let drain = if matches!(line.listen, Listen::Tcp(_)) { Duration::ZERO } else { DRAIN };
            let fresh_us = micros(timeout(&line.listen) + drain) + SLACK_US;
            units.extend(line.device.iter().map(|device| Unit {
                name: device.name.clone(),
                seed: pattern::seed(scenario.seed, &device.name),
                is_dead: device.fault != crate::plcsim::fault::Fault::None,
                fresh_us,
            }));
        }
        Self { units, owner, lag: Lag::start(), offset_us: clock::wall_us() - clock::monotonic_us() }
    }

    /// Devices without a good reading since then, µs since 1970, the dead ones left out.
    pub(super) fn unread_since(&self, since_us: i64) -> anyhow::Result<Vec<&str>> {
        // A register that no device of the plant refuses.
        let first = metric(Area::Holding, 0);
        let alive = self.units.iter().filter(|unit| !unit.is_dead).map(|unit| (unit.name.as_str(), first.as_str()));
        let mut unread = Vec::new();
        for (name, metric) in alive.chain([(PUBLISHER, "x_serial")]) {
            let readings = self.owner.readings(&Series::new(FIRM, name, metric), since_us, EVER.1)?;
            if !readings.iter().any(|reading| reading.value.is_some()) {
                unread.push(name);
            }
        }
        Ok(unread)
    }

    /// Looks at everything that the plant's units became.
    ///
    /// What the plant itself sent too late, or took from a processor that was not given to it, is not
    /// held against the gateway.
    pub(super) fn check(&self, plant: &Plant) -> anyhow::Result<Verdict> {
        let mut verdict = Verdict::default();
        // When, how old, and by what bound.
        let mut ages: Vec<(String, i64, i64, i64)> = Vec::new();
        for unit in &self.units {
            for (area, address) in NUMBERS {
                let series = Series::new(FIRM, &unit.name, &metric(area, address));
                for reading in self.readings(&series)? {
                    let Some(value) = reading.value else {
                        verdict.bad += 1;
                        continue;
                    };
                    let is_it = |tick| {
                        let number = pattern::number(unit.seed, area, address, 2, tick);
                        value == Value::I64(i64::try_from(number).unwrap_or(-1))
                    };
                    if let Some(age) = self.age_us(reading.time_us, is_it) {
                        verdict.numbers += 1;
                        ages.push((series.to_string(), reading.time_us, age, unit.fresh_us));
                    } else {
                        verdict.wrong += 1;
                        verdict.fault(|| format!("{series} at {} is {value:?}, which it never held", reading.time_us));
                    }
                }
            }
            for area in [Area::Coil, Area::Discrete] {
                self.check_bits(unit, area, &mut verdict)?;
            }
        }
        // The gateway's clock and the plant's differ by as much for all: the youngest is new.
        let newest = ages.iter().map(|(_, _, age, _)| *age).min().unwrap_or(0);
        let overdue = plant.truth().overdue();
        for (series, time_us, age, bound) in ages {
            let age = age - newest;
            verdict.oldest_ms = verdict.oldest_ms.max(age / 1_000);
            if age > bound && age > bound + self.lag.before(&overdue, time_us - self.offset_us, age) {
                verdict.stale += 1;
                verdict.fault(|| {
                    format!("{series} at {time_us} was {} ms old: an answer to an earlier request", age / 1_000)
                });
            }
        }
        Ok(verdict)
    }

    fn readings(&self, series: &Series) -> anyhow::Result<Vec<Read>> {
        let read = self.owner.readings(series, EVER.0, EVER.1);
        read.with_context(|| format!("{series} cannot be read back"))
    }

    /// The bits of one answer share their time.
    fn check_bits(&self, unit: &Unit, area: Area, verdict: &mut Verdict) -> anyhow::Result<()> {
        let mut moments: BTreeMap<i64, Vec<Option<bool>>> = BTreeMap::new();
        for bit in 0..BITS {
            let series = Series::new(FIRM, &unit.name, &format!("x_{}_{bit}", area.word()));
            for reading in self.readings(&series)? {
                let bits = moments.entry(reading.time_us).or_insert_with(|| vec![None; BITS.into()]);
                match reading.value {
                    Some(Value::Bool(value)) => bits[usize::from(bit)] = Some(value),
                    _ => verdict.bad += 1,
                }
            }
        }
        for (time_us, bits) in moments.iter().filter(|(_, bits)| bits.iter().any(Option::is_some)) {
            let is_it = |tick| {
                (0..BITS)
                    .zip(bits)
                    .all(|(at, bit)| bit.is_none_or(|bit| bit == (pattern::word(unit.seed, area, at, tick) & 1 == 1)))
            };
            if self.age_us(*time_us, is_it).is_some_and(|age| age < 1_000_000) {
                verdict.bits += 1;
            } else {
                verdict.wrong += 1;
                verdict.fault(|| format!("{} {} at {time_us} were never {bits:?}", unit.name, area.word()));
            }
        }
        Ok(())
    }

    /// How long before a time the register held the value last; none when it did not.
    fn age_us(&self, time_us: i64, is_it: impl Fn(i64) -> bool) -> Option<i64> {
        let mono_us = time_us - self.offset_us;
        let newest = pattern::tick(mono_us + LOOKED_AHEAD_US);
        let oldest = pattern::tick(mono_us - LOOKED_BACK_US);
        (oldest..=newest).rev().find(|tick| is_it(*tick)).map(|tick| mono_us - tick * TICK_US)
    }

    /// Looks at what the publisher's messages became: by serial number, all values of a message.
    pub(super) fn check_published(&self, plant: &Plant, used: &Use, verdict: &mut Verdict) -> anyhow::Result<()> {
        let sent: BTreeMap<i64, String> = plant
            .truth()
            .published_by(PUBLISHER)
            .into_iter()
            .map(|message| (i64::from(message.serial), message.payload))
            .collect();
        let serials = self.readings(&Series::new(FIRM, PUBLISHER, "x_serial"))?;
        let mut columns = Vec::new();
        for point in used.points() {
            let mut values: BTreeMap<i64, Vec<Option<Value>>> = BTreeMap::new();
            for reading in self.readings(&used.series(FIRM, &point))? {
                values.entry(reading.time_us).or_default().push(reading.value);
            }
            columns.push((point, values));
        }
        for reading in serials {
            let Some(Value::I64(serial)) = reading.value else {
                verdict.bad += 1;
                continue;
            };
            let is_right = sent.get(&serial).is_some_and(|payload| {
                columns.iter().all(|(point, values)| {
                    let wanted = published(payload, point);
                    // Messages that were given again may share their moment.
                    values
                        .get(&reading.time_us)
                        .is_some_and(|stored| stored.iter().any(|value| same(value.as_ref(), wanted.as_ref())))
                })
            });
            if is_right {
                verdict.messages += 1;
            } else {
                verdict.wrong += 1;
                verdict.fault(|| format!("message {serial} at {} is not as it was published", reading.time_us));
            }
        }
        Ok(())
    }
}

/// JSON shows 820.0 and 820 alike.
fn same(one: Option<&Value>, other: Option<&Value>) -> bool {
    let number = |value: Option<&Value>| value.and_then(Value::as_f64);
    one == other || (number(one).is_some() && number(one) == number(other))
}

/// How late this machine's processors are: a gateway that was not given one for a while
/// takes an answer that lay there in time. Kept are the times at which it was late only.
struct Lag {
    /// End and length, boot clock, µs.
    late: Arc<Mutex<Vec<(i64, i64)>>>,
    is_over: Arc<AtomicBool>,
}

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

impl Lag {
    fn start() -> Self {
        let lag = Self { late: Arc::default(), is_over: Arc::default() };
        let (late, is_over) = (lag.late.clone(), lag.is_over.clone());
        std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                let began = Instant::now();
                // The pace of the measurement, not a wait for a state.
                std::thread::sleep(PAUSE);
                let by = micros(began.elapsed().saturating_sub(PAUSE));
                if by > 2_000 {
                    late.lock().unwrap_or_else(PoisonError::into_inner).push((clock::monotonic_us(), by));
                }
            }
        });
        lag
    }
    /// By how much it was late in the last so many µs before a moment, and at it, and by how
    /// much the plant's answers were.
    fn before(&self, overdue: &[(i64, i64)], mono_us: i64, within_us: i64) -> i64 {
        let late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |&(end, by): &(i64, i64)| {
            let is_near = end >= mono_us - within_us && end - by - micros(PAUSE) <= mono_us;
            if is_near { by } else { 0 }
        };
        late.iter().chain(overdue).map(of).sum()
    }
}

impl Drop for Lag {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
