//! Everything known of one gateway, and what is made of it at a moment.

use std::collections::{BTreeMap, VecDeque};

use sandan_proto::id::GatewayId;
use sandan_proto::v1;

use super::figure::{Bounds, Figure, Judged, Pair};
use super::report::Report;
use super::state::{ConditionId, Level, LinkState, Parent, SignalState, State};
use super::view::{Condition, Hops, View};
use crate::time::SECOND_US;

/// Backlog older than this is being caught up, as for the lanes of the wire.
const CATCHING_UP_MS: u64 = 30_000;
/// A copy that was refused beside the gateway's session is said for this long after it last tried.
pub(super) const FENCED_SHOWN_US: i64 = 3_600 * SECOND_US;
/// A second record under a number that was stored is said for this long after the last one.
const FORKED_SHOWN_US: i64 = 24 * 3_600 * SECOND_US;
/// That a firm sends faster than it may is said for this long after it was held back last.
const HELD_BACK_SHOWN_US: i64 = 60 * SECOND_US;
/// The clock is that of the report that was on its way for the shortest time, of so many: a
/// report that waited makes a clock look late, and none makes it look early.
const OFFSETS: usize = 6;

/// A count that grows now and then.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Since it was quiet last.
    count: u64,
    last_us: Option<i64>,
    /// When it grew the time before.
    before_us: Option<i64>,
}

impl Tally {
    /// `more` than before; counting begins anew after `shown_us` of quiet.
    pub(super) fn add(&mut self, more: u64, now_us: i64, shown_us: i64) {
        if more == 0 {
            return;
        }
        if !self.is_shown(now_us, shown_us) {
            *self = Self::default();
        }
        self.count = self.count.saturating_add(more);
        (self.before_us, self.last_us) = (self.last_us, Some(now_us));
    }

    fn is_shown(&self, now_us: i64, shown_us: i64) -> bool {
        self.last_us.is_some_and(|last| now_us - last < shown_us)
    }

    /// How many, and how bad: critical while it grows.
    fn judge(&self, now_us: i64, bounds: &Bounds) -> (u64, Level) {
        if !self.is_shown(now_us, bounds.loss_shown_us) {
            return (0, Level::Well);
        }
        let near = |(a, b): (i64, i64)| b - a < bounds.growing_us;
        let again = self.before_us.zip(self.last_us).is_some_and(near);
        let grows = again && self.last_us.is_some_and(|last| near((last, now_us)));
        (self.count, if grows { Level::Critical } else { Level::Warn })
    }
}

/// Everything known of one gateway.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The epoch of its session.
    pub(super) session: Option<u64>,
    /// The last epoch, also of a session that has ended.
    pub(super) epoch: u64,
    /// Its last session ended in order.
    pub(super) has_left: bool,
    /// When its spool was last refused, unless it was let in since.
    pub(super) fenced_us: Option<i64>,
    pub(super) contact_us: Option<i64>,
    pub(super) newest_us: Option<i64>,
    pub(super) software: String,
    /// SHA-256, hexadecimal; empty while it is not known.
    pub(super) config_hash: String,
    pub(super) report: Option<Report>,
    /// Its wall clock less ours, µs, by its last reports.
    pub(super) offsets_us: VecDeque<i64>,
    pub(super) dropped: Tally,
    pub(super) unusable: Tally,
    pub(super) dead: Tally,
    pub(super) undeclared: Tally,
    pub(super) forked_us: Option<i64>,
    pub(super) held_back_us: Option<i64>,
    pub(super) maintenance_until_us: Option<i64>,
    /// Since when what is wrong now is so.
    pub(super) open: BTreeMap<(ConditionId, Option<String>), Open>,
}

/// A condition that holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Open {
    since_us: i64,
    level: Level,
    value: Option<f64>,
    bound: Option<f64>,
}

/// What all gateways have in common at a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment<'a> {
    pub(super) now_us: i64,
    pub(super) bounds: &'a Bounds,
    /// Nothing could be heard before: the process began, or its store came back.
    pub(super) listens_since_us: i64,
    pub(super) is_storing: bool,
}

/// Something that is wrong, before it is known since when.
struct Found {
    id: ConditionId,
    device: Option<String>,
    level: Level,
    value: Option<f64>,
    bound: Option<f64>,
    inhibited_by: Option<Parent>,
}

impl Found {
    fn new(id: ConditionId, level: Level) -> Self {
        Self { id, device: None, level, value: None, bound: None, inhibited_by: None }
    }
}

impl Seen {
    /// Its clock said `wall_us` at `now_us`. One that does not say is an old gateway.
    pub(super) fn clock(&mut self, wall_us: i64, now_us: i64) {
        if wall_us == 0 {
            return;
        }
        if self.offsets_us.len() == OFFSETS {
            self.offsets_us.pop_front();
        }
        self.offsets_us.push_back(wall_us.saturating_sub(now_us));
    }

    pub(super) fn is_fenced(&self, now_us: i64) -> bool {
        self.fenced_us.is_some_and(|at| self.session.is_none() || now_us - at < FENCED_SHOWN_US)
    }

    /// For how long nothing came, µs; none where nothing ever did.
    fn silence_us(&self, moment: Moment<'_>) -> Option<i64> {
        match (self.contact_us, self.newest_us) {
            (Some(contact_us), _) => Some(moment.now_us - contact_us),
            // Before this process began.
            (None, Some(_)) => Some(moment.now_us - moment.listens_since_us),
            (None, None) => None,
        }
    }

    fn state(&self, moment: Moment<'_>, conditions: &[Condition]) -> State {
        if self.is_fenced(moment.now_us) && self.session.is_none() {
            return State::Fenced;
        }
        if self.maintenance_until_us.is_some_and(|until| moment.now_us < until) {
            return State::Maintenance;
        }
        let Some(silence_us) = self.silence_us(moment) else { return State::Enrolled };
        let (level, _) = moment.bounds.contact().most(seconds(silence_us));
        match level {
            Level::Critical => State::Offline,
            _ if self.has_left && self.session.is_none() => State::Offline,
            Level::Warn => State::Silent,
            _ if self.contact_us.is_none() => State::Enrolled,
            _ if conditions.iter().any(|it| it.inhibited_by.is_none()) => State::Degraded,
            _ if self.report.as_ref().is_some_and(|report| report.spool.oldest_ms > CATCHING_UP_MS) => {
                State::CatchingUp
            }
            _ => State::Online,
        }
    }

    /// Whether its reports are of now.
    fn is_heard(&self, moment: Moment<'_>) -> bool {
        let left = self.has_left && self.session.is_none();
        let silence_us = self.contact_us.map(|contact_us| moment.now_us - contact_us);
        !left && silence_us.is_some_and(|us| moment.bounds.contact().most(seconds(us)).0 == Level::Well)
    }

    /// What is shown of it. Conditions that began or ended since the last look are written down.
    pub(super) fn look(&mut self, id: &GatewayId, moment: Moment<'_>) -> View {
        let heard = self.is_heard(moment);
        let figures = self.figures(id, moment, heard);
        let conditions = self.conditions(id, moment, heard, &figures);
        let chain = Hops::of(&conditions, heard, moment.is_storing);
        let mut links = self.report.as_ref().map(|report| report.links.clone()).unwrap_or_default();
        if !heard {
            for link in &mut links {
                link.state = LinkState::Unknown;
                link.worst_signals.iter_mut().for_each(|signal| signal.state = SignalState::Unknown);
            }
        }
        View {
            id: id.clone(),
            state: self.state(moment, &conditions),
            connected: self.session.is_some(),
            heard,
            contact_us: self.contact_us,
            newest_us: self.newest_us,
            software: self.software.clone(),
            spool: self.report.as_ref().map(|report| report.spool),
            links,
            figures,
            conditions,
            chain,
            maintenance_until_us: self.maintenance_until_us.filter(|until| moment.now_us < *until),
        }
    }

    fn figures(&self, id: &GatewayId, moment: Moment<'_>, heard: bool) -> Vec<Judged> {
        let Moment { now_us, bounds, .. } = moment;
        let mut all = Vec::new();
        let mut judged = |figure, device: Option<&String>, value: Option<f64>, (level, bound)| {
            all.push(Judged { figure, device: device.cloned(), value, bound, level });
        };
        let of = |value: Option<f64>, judge: &dyn Fn(f64) -> (Level, f64)| {
            value.map_or((Level::Unknown, None), |value| {
                let (level, bound) = judge(value);
                (level, Some(bound))
            })
        };
        // What only reports tell is of nobody's knowledge while none come.
        let reported = |value: Option<f64>, judge: &dyn Fn(f64) -> (Level, f64)| {
            if heard { of(value, judge) } else { (Level::Unknown, of(value, judge).1) }
        };

        let silence = self.silence_us(moment).map(seconds);
        judged(Figure::LastContact, None, silence, of(silence, &|value| bounds.contact().most(value)));

        let report = self.report.as_ref();
        for link in report.map(|report| report.links.as_slice()).unwrap_or_default() {
            let (device, interval_ms) = (Some(&link.device), f64::from(link.interval_ms));
            let success = link.success_permille.map(|permille| f64::from(permille) / 1_000.0);
            let intervals = |ms: Option<f64>| ms.filter(|_| interval_ms > 0.0).map(|ms| ms / interval_ms);
            let time = intervals(link.latency_p99_ms.map(f64::from));
            let told_us = self.contact_us.unwrap_or(now_us);
            let age = intervals(link.last_good_us.map(|us| seconds(told_us - us) * 1_000.0));
            let (success_at, time_at) = (bounds.poll_success, bounds.poll_time);
            judged(Figure::PollSuccess, device, success, reported(success, &|value| success_at.least(value)));
            judged(Figure::PollTime, device, time, reported(time, &|value| time_at.most(value)));
            judged(Figure::Freshness, device, age, reported(age, &|value| bounds.freshness.most(value)));
        }

        let oldest = report.map(|report| report.spool.oldest_ms as f64 / 1_000.0);
        let shrinks = report.is_some_and(|report| report.shrinks(now_us, bounds.heartbeat_us));
        let old = |value| match bounds.spool_oldest.most(value) {
            (_, bound) if shrinks => (Level::Well, bound),
            judged => judged,
        };
        judged(Figure::SpoolOldest, None, oldest, reported(oldest, &old));
        let (full_in, is_known) =
            report.map_or((None, false), |report| report.full_in(heard, seconds(silence_since(self, now_us))));
        let filled = match full_in {
            Some(value) if heard => of(Some(value), &|value| bounds.spool_full_in.least(value)),
            Some(_) => (Level::Unknown, Some(bounds.spool_full_in.warn)),
            None if is_known && heard => (Level::Well, Some(bounds.spool_full_in.warn)),
            None => (Level::Unknown, None),
        };
        judged(Figure::SpoolFullIn, None, full_in, filled);

        let offset = self.offsets_us.iter().max().map(|us| seconds(*us));
        judged(Figure::ClockOffset, None, offset, reported(offset, &|value| bounds.clock_offset.most(value.abs())));

        let approved = bounds.approved.get(id).filter(|_| !self.config_hash.is_empty());
        let differs = approved.map(|hash| f64::from(u8::from(!hash.eq_ignore_ascii_case(&self.config_hash))));
        let other = |value| (if value > 0.0 { Level::Warn } else { Level::Well }, 1.0);
        judged(Figure::ConfigHash, None, differs, reported(differs, &other));

        let (left, renewal_late) = report.map_or((None, None), |report| report.certificate(now_us));
        let certificate = |left: f64| {
            let is_late = renewal_late.is_some_and(|late| late >= bounds.renewal_late);
            let pair = Pair::new(if is_late { f64::INFINITY } else { 0.0 }, bounds.certificate_left);
            let (level, _) = pair.least(left);
            // It is renewed this long before its end, if it is not late.
            let warned = renewal_late.map_or(bounds.certificate_left, |late| left + late - bounds.renewal_late);
            (level, if level == Level::Critical { bounds.certificate_left } else { warned })
        };
        // Its end comes whether it is heard or not.
        judged(Figure::Certificate, None, left, of(left, &certificate));

        for (figure, tally) in [(Figure::DeadLetters, &self.dead), (Figure::UndeclaredGaps, &self.undeclared)] {
            let (count, level) = tally.judge(now_us, bounds);
            judged(figure, None, Some(count as f64), (level, Some(1.0)));
        }
        all
    }

    /// What is wrong, worst first.
    fn conditions(&mut self, id: &GatewayId, moment: Moment<'_>, heard: bool, figures: &[Judged]) -> Vec<Condition> {
        let mut found = self.found(moment, heard, figures);
        if !heard {
            // What held when it was last heard may hold still: nobody knows, and nobody is told.
            for ((id, device), open) in &self.open {
                if id.is_reported() {
                    let Open { level, value, bound, .. } = *open;
                    let inhibited_by = Some(Parent::Gateway);
                    found.push(Found { id: *id, device: device.clone(), level, value, bound, inhibited_by });
                }
            }
        }
        if self.maintenance_until_us.is_some_and(|until| moment.now_us < until) {
            for it in &mut found {
                it.inhibited_by = Some(Parent::Maintenance);
            }
        }
        let before = std::mem::take(&mut self.open);
        let mut conditions = Vec::with_capacity(found.len());
        for Found { id: what, device, level, value, bound, inhibited_by } in found {
            let key = (what, device.clone());
            let since_us = before.get(&key).map_or(moment.now_us, |open| open.since_us);
            self.open.insert(key, Open { since_us, level, value, bound });
            let gateway = Some(id.clone());
            conditions.push(Condition { id: what, level, since_us, gateway, device, value, bound, inhibited_by });
        }
        conditions.sort_by(|a, b| b.badness().cmp(&a.badness()).then_with(|| a.device.cmp(&b.device)));
        conditions
    }

    fn found(&self, moment: Moment<'_>, heard: bool, figures: &[Judged]) -> Vec<Found> {
        let Moment { now_us, bounds, .. } = moment;
        let mut found = Vec::new();
        if self.is_fenced(now_us) {
            found.push(Found::new(ConditionId::Fenced, Level::Critical));
        }
        let lately = |at: Option<i64>, shown_us| at.is_some_and(|at| now_us - at < shown_us);
        if lately(self.forked_us, FORKED_SHOWN_US) {
            found.push(Found::new(ConditionId::Forked, Level::Critical));
        }
        if heard {
            let (dropped, level) = self.dropped.judge(now_us, bounds);
            if level >= Level::Warn {
                // Lost for good, however few.
                let lost = Found::new(ConditionId::ReadingsDropped, Level::Critical);
                found.push(Found { value: Some(dropped as f64), bound: Some(1.0), ..lost });
            }
            let (unusable, level) = self.unusable.judge(now_us, bounds);
            if level >= Level::Warn {
                let unused = Found::new(ConditionId::UnusableMessages, Level::Warn);
                found.push(Found { value: Some(unusable as f64), bound: Some(1.0), ..unused });
            }
            if lately(self.held_back_us, HELD_BACK_SHOWN_US) {
                found.push(Found::new(ConditionId::HeldBack, Level::Warn));
            }
            found.extend(self.links_found());
        }
        let is_down = |device: &Option<String>, found: &[Found]| {
            found.iter().any(|it| it.id == ConditionId::LinkDown && it.device == *device)
        };
        for judged in figures.iter().filter(|judged| judged.level >= Level::Warn) {
            // That it does not answer says all of it.
            if judged.device.is_some() && is_down(&judged.device, &found) {
                continue;
            }
            // A refused spool cannot be heard; before this process began nobody listened.
            let (is_contact, hears_for_us) = (judged.figure == Figure::LastContact, now_us - moment.listens_since_us);
            if is_contact && (self.is_fenced(now_us) && self.session.is_none()) {
                continue;
            }
            let deaf =
                is_contact && (!moment.is_storing || bounds.contact().most(seconds(hears_for_us)).0 == Level::Well);
            found.push(Found {
                device: judged.device.clone(),
                value: judged.value,
                bound: judged.bound,
                inhibited_by: deaf.then_some(Parent::Ingest),
                ..Found::new(judged.figure.condition(), judged.level)
            });
        }
        // A device that is flaky by the share of its polls has that said by the figure.
        let by_figure: Vec<_> =
            found.iter().filter(|it| it.id == ConditionId::PollSuccess).map(|it| it.device.clone()).collect();
        found.retain(|it| it.id != ConditionId::LinkFlaky || !by_figure.contains(&it.device));
        found
    }

    /// Devices that do not answer, or not as they should.
    fn links_found(&self) -> Vec<Found> {
        let links = self.report.as_ref().map(|report| report.links.as_slice()).unwrap_or_default();
        let mut found: Vec<Found> = Vec::new();
        for link in links {
            let (id, level) = match link.state {
                LinkState::Down => (ConditionId::LinkDown, Level::Critical),
                LinkState::Flaky => (ConditionId::LinkFlaky, Level::Warn),
                LinkState::Unknown | LinkState::Up | LinkState::Disabled => continue,
            };
            // When none of an endpoint answers, its first one stands for all.
            let beside = || links.iter().filter(|it| it.endpoint == link.endpoint && it.state != LinkState::Disabled);
            let all_down = beside().all(|it| it.state == LinkState::Down);
            let is_first = beside().next().is_some_and(|first| first.device == link.device);
            let inhibited_by = (all_down && !is_first).then_some(Parent::Endpoint);
            found.push(Found { device: Some(link.device.clone()), inhibited_by, ..Found::new(id, level) });
        }
        found
    }

    /// Takes a heartbeat.
    pub(super) fn report(&mut self, health: &v1::Health, now_us: i64, bounds: &Bounds) {
        self.contact_us = Some(now_us);
        self.clock(health.wall_time_us, now_us);
        if !health.config_hash.is_empty() {
            self.config_hash = super::report::hexadecimal(&health.config_hash);
        }
        let before = self.report.take();
        let counted = |of: fn(&Report) -> u64| before.as_ref().map_or(0, of);
        // A restarted gateway counts from 0 again: what it lost before is no longer said.
        let (dropped, unusable) = (counted(|it| it.dropped), counted(|it| it.unusable));
        let shown_us = bounds.loss_shown_us;
        if health.readings_dropped_total < dropped {
            self.dropped = Tally::default();
        }
        if health.dead_letters_total < unusable {
            self.unusable = Tally::default();
        }
        self.dropped.add(health.readings_dropped_total.saturating_sub(dropped), now_us, shown_us);
        self.unusable.add(health.dead_letters_total.saturating_sub(unusable), now_us, shown_us);
        self.report = Some(Report::from_wire(health, before.as_ref(), now_us));
    }
}

/// Since the last word, µs; 0 where there was none.
fn silence_since(seen: &Seen, now_us: i64) -> i64 {
    seen.contact_us.map_or(0, |contact_us| now_us - contact_us)
}

fn seconds(us: i64) -> f64 {
    us as f64 / SECOND_US as f64
}
