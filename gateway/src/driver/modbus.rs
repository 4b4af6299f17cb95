//! Modbus TCP: polls the units of one endpoint at a fixed cadence.
//!
//! It promises: only function codes 1 to 4; one connection and one request in flight;
//! a late cycle is skipped and counted, never queued; an exception costs the readings
//! of its request alone; a unit that does not answer costs its neighbours one timeout
//! a probe; and when contact is lost, every signal concerned is told so once.

use std::time::Duration;

use sandan_proto::reading::Quality;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Closed, Outlet, Tickets, arrival_us};
use crate::config::Modbus;
use crate::health::Health;

mod breaker;
mod link;
mod overheard;
pub mod plan;

use breaker::Breaker;
use link::Link;
pub use link::{Answer, LinkFault};
use plan::{Poll, Request};

/// Silences in a row after which a unit is left alone for a while. One lost answer is
/// ordinary on a serial line behind a converter; three are not.
const UNIT_PATIENCE: u32 = 3;
/// A connection that cannot be made is not tried again at once.
const ENDPOINT_PATIENCE: u32 = 1;

/// Polls until `stop` is cancelled or nobody takes replies any more.
pub async fn run(endpoint: Modbus, outlet: Outlet, health: Health, stop: CancellationToken) {
    let mut driver = Driver::new(endpoint, outlet, health);
    tokio::select! {
        () = stop.cancelled() => {}
        Closed = driver.poll_forever() => {}
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
    /// The answer.
    pub answer: Result<Answer, LinkFault>,
}

/// Asks every device that `wanted` names everything once. A unit that does not answer
/// is asked nothing more, and neither is any when there is no connection.
pub async fn sweep(endpoint: &Modbus, wanted: impl Fn(&str) -> bool) -> Vec<Outcome> {
    let mut link = Link::new(endpoint);
    let mut outcomes = Vec::new();
    let mut unreachable = None;
    for device in endpoint.devices.iter().filter(|device| wanted(&device.name)) {
        let mut given_up: Option<LinkFault> = unreachable.clone();
        for request in plan::polls(device).into_iter().flat_map(|poll| poll.requests) {
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
            outcomes.push(Outcome { device: device.device, request, at_us: arrival_us(), answer });
        }
    }
    outcomes
}

/// A poll and when it is due.
#[derive(Debug)]
struct Scheduled {
    /// Index into the endpoint's devices.
    device: usize,
    poll: Poll,
    /// Number of its first request among the device's requests.
    first_part: usize,
    due: Instant,
}

#[derive(Debug)]
struct Driver {
    endpoint: Modbus,
    link: Link,
    tickets: Tickets,
    health: Health,
    schedule: Vec<Scheduled>,
    /// One for each device, beside the one of the endpoint.
    units: Vec<Breaker>,
    reach: Breaker,
}

impl Driver {
    fn new(endpoint: Modbus, outlet: Outlet, health: Health) -> Self {
        let now = Instant::now();
        let mut schedule = Vec::new();
        for (device, unit) in endpoint.devices.iter().enumerate() {
            let mut first_part = 0;
            for poll in plan::polls(unit) {
                let parts = poll.requests.len();
                schedule.push(Scheduled { device, poll, first_part, due: now });
                first_part += parts;
            }
        }
        Self {
            link: Link::new(&endpoint),
            tickets: Tickets::new(outlet),
            health,
            schedule,
            units: endpoint.devices.iter().map(|_| Breaker::new(UNIT_PATIENCE)).collect(),
            reach: Breaker::new(ENDPOINT_PATIENCE),
            endpoint,
        }
    }

    async fn poll_forever(&mut self) -> Closed {
        loop {
            let Some(next) = (0..self.schedule.len()).min_by_key(|index| self.schedule[*index].due) else {
                // No signals, no polls; a checked configuration has some.
                return std::future::pending().await;
            };
            sleep_until(self.schedule[next].due).await;
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

    async fn poll(&mut self, index: usize) -> Result<(), Closed> {
        let Self { endpoint, link, tickets, health, schedule, units, reach } = self;
        let Scheduled { device, poll, first_part, .. } = &schedule[index];
        let (unit, breaker) = (&endpoint.devices[*device], &mut units[*device]);
        let now = Instant::now();
        if !reach.allows(now) || !breaker.allows(now) {
            return Ok(());
        }
        for (index, request) in poll.requests.iter().enumerate() {
            let asked = Instant::now();
            let answer = link.read(unit.unit, request).await;
            let (at_us, latency) = (arrival_us(), asked.elapsed());
            let part = first_part + index;
            let is_reached = !answer.as_ref().is_err_and(LinkFault::is_unreachable);
            if is_reached && reach.is_open() {
                reach.answered();
                health.reachable(tickets.outlet.source);
                tracing::info!(endpoint = %endpoint.address, "endpoint is reached again");
            }
            match answer {
                Ok(answer) => {
                    breaker.answered();
                    health.answered(unit.device, part, Some(latency));
                    tickets.send(at_us, request.readings(&answer)).await?;
                }
                Err(fault) if fault.is_answer() => {
                    breaker.answered();
                    health.refused(unit.device, part, Some(latency), &fault.sentence(request));
                    tickets.fail(request.signals(), Quality::BAD_EXCEPTION).await?;
                }
                Err(fault) if fault.is_unreachable() => {
                    health.unreachable(tickets.outlet.source, &fault.sentence(request));
                    if reach.silent(Instant::now()) {
                        tracing::warn!(endpoint = %endpoint.address, %fault, "endpoint cannot be reached");
                        let all = endpoint.devices.iter().flat_map(|unit| &unit.points).map(|point| point.signal);
                        tickets.fail(all, Quality::BAD_NO_ANSWER).await?;
                    }
                    return Ok(());
                }
                Err(fault) => {
                    let sentence = fault.sentence(request);
                    health.silent(unit.device, &sentence);
                    if breaker.silent(Instant::now()) {
                        tracing::warn!(device = unit.name, fault = sentence, "device is lost");
                        let all = unit.points.iter().map(|point| point.signal);
                        tickets.fail(all, Quality::BAD_NO_ANSWER).await?;
                    } else if !breaker.is_open() {
                        let unread = poll.requests[index..].iter().flat_map(Request::signals);
                        tickets.fail(unread, Quality::BAD_NO_ANSWER).await?;
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }
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
