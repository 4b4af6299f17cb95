//! Modbus: polls the units of one line at a fixed cadence.
//!
//! It promises: only function codes 1 to 4; one connection and one request in flight;
//! a late cycle is skipped and counted, never queued; an exception costs the readings
//! of its request alone, and one about an address those of that address alone, for the
//! request is halved until it is found; a unit that does not answer costs its neighbours
//! a bounded share of the line's time; and when contact is lost, every signal concerned
//! is told so once.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sandan_proto::reading::Quality;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Closed, Outlet, Reading, Tickets, arrival_us};
use crate::config::{Modbus, Part};
use crate::health::Health;

mod breaker;
mod learned;
mod link;
pub mod load;
pub mod plan;

use breaker::Breaker;
pub use learned::{Learned, remembered};
use link::Link;
pub use link::{Answer, LinkFault, dry};
use plan::{Assembly, Poll, Request};

/// Silences in a row after which a unit is left alone for a while. One lost answer is
/// ordinary on a serial line behind a converter; three are not.
const UNIT_PATIENCE: u32 = 3;
/// A connection that cannot be made is not tried again at once.
const ENDPOINT_PATIENCE: u32 = 1;
/// Of a line that others use, probes of lost units take one part in so many.
const PROBE_SHARE: u32 = 25;
/// Most requests that one poll adds to find what the device refuses; the next poll goes on.
const MAX_SEARCH: usize = 16;
/// First and longest time until what a device refuses is asked for again.
pub const RETRY_AFTER: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(1));

/// For the answer to what was asked when the stop came. Most come within milliseconds; a
/// line with a longer timeout than this is rare, and what is lost there is declared.
const LAST_ANSWER: Duration = Duration::from_secs(2);

/// Polls until `stop` is cancelled or nobody takes replies any more. What has been asked
/// is still answered: the reading is kept, and the line is quiet for whoever uses it next.
pub async fn run(endpoint: Modbus, outlet: Outlet, health: Health, stop: CancellationToken) {
    let mut driver = Driver::new(endpoint, outlet, health, stop.clone());
    tokio::select! {
        Closed = driver.poll_until_stop() => {}
        () = async {
            stop.cancelled().await;
            sleep(LAST_ANSWER).await;
        } => {}
    }
}

/// What one request of a single sweep gave.
#[derive(Debug)]
pub struct Outcome {
    /// Index into the configuration's devices.
    pub device: usize,
    /// What was asked.
    pub request: Request,
    /// When the answer was there.
    pub at_us: i64,
    /// From the moment at which it was sent until the answer was there: without the connecting
    /// and the pause before it. `None` of what was not answered.
    pub took: Option<Duration>,
    /// The answer.
    pub answer: Result<Answer, LinkFault>,
    /// The readings that are complete with it.
    pub readings: Vec<Reading>,
    /// The signals that have no value because of it.
    pub failed: Vec<u32>,
}

/// Asks every device that `wanted` names everything once. A unit that does not answer
/// is asked nothing more, and neither is any when there is no connection. What is refused
/// for its address is halved, so that the rest comes.
pub async fn sweep(endpoint: &Modbus, wanted: impl Fn(&str) -> bool) -> Vec<Outcome> {
    let mut link = Link::new(endpoint);
    let mut outcomes = Vec::new();
    let mut unreachable = None;
    for device in endpoint.devices.iter().filter(|device| wanted(&device.name)) {
        let mut given_up: Option<LinkFault> = unreachable.clone();
        for poll in plan::polls(device, &Learned::nothing()) {
            let mut assembly = Assembly::default();
            let mut waiting: VecDeque<Request> = poll.requests.into();
            while let Some(request) = waiting.pop_front() {
                let answer = match &given_up {
                    Some(fault) => Err(fault.clone()),
                    None => link.read(device.unit, &request).await,
                };
                if let Err(fault) = &answer
                    && !fault.is_answer()
                {
                    given_up = Some(fault.clone());
                    if fault.is_unreachable() {
                        unreachable = Some(fault.clone());
                    }
                }
                if let Err(LinkFault::Exception { code }) = &answer
                    && learned::is_about_addresses(*code)
                    && let Some((left, right)) = request.halves()
                {
                    waiting.push_front(right);
                    waiting.push_front(left);
                    continue;
                }
                let (readings, failed) = match &answer {
                    Ok(answer) => (assembly.take(&request, answer), Vec::new()),
                    Err(_) => (Vec::new(), assembly.refuse(&request)),
                };
                let is_answered = answer.as_ref().map_or_else(LinkFault::is_answer, |_| true);
                let (at_us, took) = (arrival_us(), is_answered.then(|| link.took()));
                outcomes.push(Outcome { device: device.device, request, at_us, took, answer, readings, failed });
            }
        }
    }
    outcomes
}

/// Asks single questions over one connection.
#[derive(Debug)]
pub struct Prober(Link);

impl Prober {
    /// Nothing is opened yet.
    pub fn new(endpoint: &Modbus) -> Self {
        Self(Link::new(endpoint))
    }
    /// Asks one unit for one run of registers or bits.
    pub async fn ask(&mut self, unit: u8, part: Part) -> Result<Answer, LinkFault> {
        self.0.read(unit, &request(part)).await
    }
}

/// A request for which no signal waits.
fn request(part: Part) -> Request {
    Request { area: part.area, address: part.address, count: part.width, pieces: Vec::new() }
}

/// A poll and when it is due.
#[derive(Debug)]
struct Scheduled {
    /// Index into the endpoint's devices.
    device: usize,
    /// Which of the device's polls.
    number: usize,
    poll: Poll,
    due: Instant,
    /// When its turn came last.
    turn: Instant,
}

/// What is known of a device beyond its configuration.
#[derive(Debug)]
struct Knowledge {
    learned: Learned,
    /// Refused ranges to ask for once more, one a poll.
    retry: VecDeque<Part>,
    retry_at: Instant,
    retry_after: Duration,
}

#[derive(Debug)]
struct Driver {
    endpoint: Modbus,
    link: Link,
    tickets: Tickets,
    health: Health,
    schedule: Vec<Scheduled>,
    /// One for each device.
    known: Vec<Knowledge>,
    /// One for each unit id, beside the one of the endpoint.
    units: BTreeMap<u8, Breaker>,
    reach: Breaker,
    /// No lost unit is probed earlier, for the sake of the others.
    probe_at: Instant,
    /// Not to fill the log when the disk does not take what was learnt.
    is_save_told: bool,
    stop: CancellationToken,
}

/// How a device names a refused part to `Health`: by where it begins.
fn part_number(part: Part) -> usize {
    usize::from(part.area.function_code()) << 16 | usize::from(part.address)
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Its values are sent.
    Values,
    /// The device answered with this exception.
    Exception(u8),
    /// The device was silent, or not reached: the rest of its poll is not asked.
    Silent,
}

impl Driver {
    fn new(endpoint: Modbus, outlet: Outlet, health: Health, stop: CancellationToken) -> Self {
        let now = Instant::now();
        let units = || endpoint.devices.iter().map(|device| device.unit);
        let known = learned::remembered(&endpoint).into_iter().map(|learned| Knowledge {
            learned,
            retry: VecDeque::new(),
            retry_at: now + RETRY_AFTER.0,
            retry_after: RETRY_AFTER.0,
        });
        let mut driver = Self {
            link: Link::new(&endpoint),
            tickets: Tickets::new(outlet),
            health,
            schedule: Vec::new(),
            known: known.collect(),
            units: units().map(|unit| (unit, Breaker::new(UNIT_PATIENCE))).collect(),
            reach: Breaker::new(ENDPOINT_PATIENCE),
            probe_at: now,
            is_save_told: false,
            stop,
            endpoint,
        };
        for device in 0..driver.endpoint.devices.len() {
            let polls = plan::polls(&driver.endpoint.devices[device], &driver.known[device].learned);
            let scheduled = polls.into_iter().enumerate();
            driver.schedule.extend(scheduled.map(|(number, poll)| Scheduled {
                device,
                number,
                poll,
                due: now,
                turn: now,
            }));
        }
        driver
    }

    async fn poll_until_stop(&mut self) -> Closed {
        loop {
            let Some(first) = self.schedule.iter().map(|scheduled| scheduled.due).min() else {
                // No signals, no polls; a checked configuration has some.
                return std::future::pending().await;
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Closed,
                () = sleep_until(first) => {}
            }
            let Some(next) = next(&self.schedule, Instant::now()) else { continue };
            panic_point!("driver.poll");
            self.schedule[next].turn = Instant::now();
            if let Err(closed) = self.poll(next).await {
                return closed;
            }
            let scheduled = &mut self.schedule[next];
            let late = advance(&mut scheduled.due, scheduled.poll.interval, Instant::now());
            if late > 0 {
                self.health.skipped(self.endpoint.devices[scheduled.device].device, late);
            }
        }
    }

    /// Whether a unit may be asked now. A lost one may be probed when its time has come, and
    /// when earlier probes have not taken more than their share of a line that others use.
    /// A probe that becomes due within `interval` is sent now: the next cycle would be late for it.
    fn allows(&self, unit: u8, now: Instant, interval: Duration) -> bool {
        let Some(breaker) = self.units.get(&unit) else { return true };
        let others_speak = || self.units.iter().any(|(other, breaker)| *other != unit && !breaker.is_open());
        let in_budget = !breaker.is_open() || now >= self.probe_at || !others_speak();
        self.reach.allows(now + interval) && breaker.allows(now + interval) && in_budget
    }

    async fn poll(&mut self, index: usize) -> Result<(), Closed> {
        let device = self.schedule[index].device;
        let (unit, number) = (self.endpoint.devices[device].unit, self.endpoint.devices[device].device);
        let asked = Instant::now();
        if !self.allows(unit, asked, self.schedule[index].poll.interval) {
            return Ok(());
        }
        let is_probe = self.units.get(&unit).is_some_and(Breaker::is_open);
        let mut assembly = Assembly::default();
        for (signal, part) in &self.schedule[index].poll.left_out {
            let code = self.known[device].learned.code(*part).unwrap_or_default();
            let fault = LinkFault::Exception { code }.sentence(&request(*part));
            self.health.refused(number, part_number(*part), None, &fault);
            self.tickets.fail(std::iter::once(*signal), Quality::BAD_EXCEPTION).await?;
        }
        let mut waiting: VecDeque<Request> = self.schedule[index].poll.requests.clone().into();
        let mut budget = MAX_SEARCH;
        let (mut refused, mut answered) = (Vec::new(), Vec::new());
        while let Some(request) = waiting.pop_front() {
            if self.stop.is_cancelled() {
                return Err(Closed);
            }
            match self.ask(device, &request, &mut assembly).await? {
                Asked::Silent => {
                    let breaker = self.units.get(&unit);
                    // When contact was lost, now or earlier, all signals have been told.
                    if !self.reach.is_open() && breaker.is_some_and(|breaker| !breaker.is_open()) {
                        let unread = std::iter::once(&request).chain(&waiting);
                        let signals: Vec<_> = unread.flat_map(|request| assembly.refuse(request)).collect();
                        self.tickets.fail(signals.into_iter(), Quality::BAD_NO_ANSWER).await?;
                    }
                    break;
                }
                Asked::Exception(code) if learned::is_about_addresses(code) => {
                    let halves = if budget >= 2 { request.halves() } else { None };
                    if let Some((left, right)) = halves {
                        budget -= 2;
                        waiting.push_front(right);
                        waiting.push_front(left);
                    } else {
                        self.tickets.fail(assembly.refuse(&request).into_iter(), Quality::BAD_EXCEPTION).await?;
                    }
                    refused.push((request, code));
                }
                Asked::Exception(_) => {
                    self.tickets.fail(assembly.refuse(&request).into_iter(), Quality::BAD_EXCEPTION).await?;
                }
                Asked::Values => answered.push(request.part()),
            }
        }
        if is_probe {
            // Also one that brought an answer: it is over then, and the next one is not near.
            self.probe_at = Instant::now() + asked.elapsed() * (PROBE_SHARE - 1);
        }
        let news = learned::conclude(&refused, &answered);
        let known = &mut self.known[device];
        // All of them, even when the first is new already.
        let new = news.into_iter().fold(false, |new, (part, code)| known.learned.add(part, code) || new);
        if new {
            known.retry_after = RETRY_AFTER.0;
            known.retry_at = Instant::now() + RETRY_AFTER.0;
        }
        if self.ask_again(device).await || new {
            self.replan(device).await;
        }
        Ok(())
    }

    /// Sends one request and what it brought. An exception comes out as its code.
    async fn ask(&mut self, device: usize, request: &Request, assembly: &mut Assembly) -> Result<Asked, Closed> {
        let Self { endpoint, link, tickets, health, units, reach, .. } = self;
        let unit = &endpoint.devices[device];
        let Some(breaker) = units.get_mut(&unit.unit) else { return Ok(Asked::Silent) };
        let part = part_number(request.part());
        let asked = Instant::now();
        let answer = link.read(unit.unit, request).await;
        let (at_us, latency) = (arrival_us(), asked.elapsed());
        let is_reached = !answer.as_ref().is_err_and(LinkFault::is_unreachable);
        if is_reached && reach.is_open() {
            reach.answered();
            health.reachable(tickets.outlet.source);
            tracing::info!(endpoint = %endpoint.line, "endpoint is reached again");
        }
        match answer {
            Ok(answer) => {
                breaker.answered();
                health.answered(unit.device, part, Some(latency));
                let readings = assembly.take(request, &answer);
                if !readings.is_empty() {
                    tickets.send(at_us, readings).await?;
                }
                Ok(Asked::Values)
            }
            Err(LinkFault::Exception { code }) if (LinkFault::Exception { code }).is_answer() => {
                breaker.answered();
                let sentence = LinkFault::Exception { code }.sentence(request);
                health.refused(unit.device, part, Some(latency), &sentence);
                Ok(Asked::Exception(code))
            }
            Err(fault) if fault.is_unreachable() => {
                health.unreachable(tickets.outlet.source, &fault.sentence(request));
                if reach.silent(Instant::now()) {
                    tracing::warn!(endpoint = %endpoint.line, %fault, "endpoint cannot be reached");
                    let all = endpoint.devices.iter().flat_map(|unit| &unit.points).map(|point| point.signal);
                    tickets.fail(all, Quality::BAD_NO_ANSWER).await?;
                }
                Ok(Asked::Silent)
            }
            Err(fault) => {
                let sentence = fault.sentence(request);
                health.silent(unit.device, &sentence);
                if breaker.silent(Instant::now()) {
                    tracing::warn!(device = unit.name, fault = sentence, "device is lost");
                    let same = endpoint.devices.iter().filter(|other| other.unit == unit.unit);
                    let all = same.flat_map(|unit| &unit.points).map(|point| point.signal);
                    tickets.fail(all, Quality::BAD_NO_ANSWER).await?;
                }
                Ok(Asked::Silent)
            }
        }
    }

    /// Asks once more for one range that the device refused, when it is time. Whether the
    /// device answers it now.
    async fn ask_again(&mut self, device: usize) -> bool {
        let unit = self.endpoint.devices[device].unit;
        let known = &mut self.known[device];
        let now = Instant::now();
        if now >= known.retry_at && known.retry.is_empty() {
            known.retry = known.learned.ranges().collect();
            known.retry_after = (known.retry_after * 2).min(RETRY_AFTER.1);
            known.retry_at = now + known.retry_after;
        }
        if !self.allows(unit, now, Duration::ZERO) || self.stop.is_cancelled() {
            return false;
        }
        let known = &mut self.known[device];
        let Some(part) = known.retry.pop_front() else { return false };
        if self.link.read(unit, &request(part)).await.is_err() {
            return false;
        }
        let known = &mut self.known[device];
        known.retry_after = RETRY_AFTER.0;
        self.health.answered(self.endpoint.devices[device].device, part_number(part), None);
        known.learned.accept(part)
    }

    /// Plans anew around what was learnt, and remembers it.
    async fn replan(&mut self, device: usize) {
        let polls = plan::polls(&self.endpoint.devices[device], &self.known[device].learned);
        for scheduled in self.schedule.iter_mut().filter(|scheduled| scheduled.device == device) {
            if let Some(poll) = polls.get(scheduled.number) {
                scheduled.poll = poll.clone();
            }
        }
        let Some(file) = self.endpoint.memory.clone() else { return };
        let units = self.endpoint.devices.iter().map(|device| device.unit);
        let all: Vec<_> = units.zip(self.known.iter().map(|known| known.learned.clone())).collect();
        let saved = tokio::task::spawn_blocking(move || {
            learned::save(&file, all.iter().map(|(unit, learned)| (*unit, learned))).map_err(|error| (file, error))
        });
        if let Ok(Err((file, error))) = saved.await
            && !std::mem::replace(&mut self.is_save_told, true)
        {
            let file = file.display();
            tracing::warn!(%file, %error, "what devices refuse is not remembered across a restart");
        }
    }
}

/// Of the polls that are due the one that has waited longest for its turn: where a line
/// cannot keep all intervals, all give way alike.
fn next(schedule: &[Scheduled], now: Instant) -> Option<usize> {
    let due = schedule.iter().enumerate().filter(|(_, scheduled)| scheduled.due <= now);
    due.min_by_key(|(_, scheduled)| scheduled.turn).map(|(index, _)| index)
}

/// Moves a due time one interval on, and past every cycle that is over by now. Gives
/// the number of those.
fn advance(due: &mut Instant, interval: Duration, now: Instant) -> u64 {
    *due += interval;
    let late = now.saturating_duration_since(*due);
    let missed = u32::try_from(late.as_nanos() / interval.as_nanos().max(1)).unwrap_or(u32::MAX);
    *due += interval * missed;
    missed.into()
}

#[cfg(test)]
mod tests;
