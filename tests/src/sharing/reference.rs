//! Who may see what, said as slowly and as plainly as it can be: cell by cell, consent by consent.
//!
//! Nothing of the product's own reasoning is in here. What goes on at the same time has no one
//! order: while something changes, both what it was and what it becomes may hold. So a cell *may* be served
//! where any of what can have held lets it be seen, and *must* be served where all of it does.

use sandan_ingest::consent::{Function, Purpose};

/// A reading's time twice, or a bucket's begin and end.
pub type Cell = (i64, i64);
/// A stretch of time in which something happened, both ends included, µs.
pub type Stretch = (i64, i64);

/// What something was from when on.
#[derive(Debug, Clone)]
pub struct Timeline<T>(Vec<Step<T>>);

#[derive(Debug, Clone)]
struct Step<T> {
    begun: i64,
    /// None while it is being done.
    done: Option<i64>,
    is: T,
}

impl<T> Timeline<T> {
    /// It was always like this.
    pub fn new(is: T) -> Self {
        Self(vec![Step { begun: i64::MIN, done: Some(i64::MIN), is }])
    }

    /// Somebody sets about making it something else.
    pub fn begin(&mut self, begun: i64, is: T) {
        self.0.push(Step { begun, done: None, is });
    }

    /// It is done.
    pub fn done(&mut self, done: i64) {
        if let Some(step) = self.0.last_mut() {
            step.done = Some(done);
        }
    }

    /// It was refused.
    pub fn take_back(&mut self) {
        self.0.pop();
    }

    /// What it is now, or is being made.
    pub fn newest(&self) -> &T {
        &self.0[self.0.len() - 1].is
    }

    /// Everything that it can have been at some moment of the stretch.
    pub fn possible(&self, (begin, end): Stretch) -> Vec<&T> {
        let mut all = Vec::new();
        for (at, step) in self.0.iter().enumerate() {
            let is_over = self.0.get(at + 1).is_some_and(|next| next.done.is_some_and(|done| done < begin));
            if step.begun <= end && !is_over {
                all.push(&step.is);
            }
        }
        all
    }

    /// Whether it was the same all the time.
    pub fn stood_still(&self, when: Stretch) -> bool {
        self.possible(when).len() == 1
    }

    fn ends(&self) -> impl Iterator<Item = i64> {
        self.0.iter().filter_map(|step| step.done)
    }
}

impl Timeline<State> {
    /// The approval that is being noted was done by then, with at most so many deliveries begun.
    pub fn marked(&mut self, at: i64, deliveries: usize) {
        if let Some(mark) = self.0.last_mut().and_then(|step| step.is.mark.as_mut()) {
            (mark.at.1, mark.deliveries.1) = (at, deliveries);
        }
    }
}

/// What is shared, how coarse.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Shared {
    Raw,
    /// Smallest bucket, µs, and its statistics.
    Bucketed(i64, Vec<Function>),
    Benchmark,
}

/// What was agreed to. Firms, machines and metrics are numbers; times are µs.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Paper {
    pub assets: Vec<usize>,
    pub metrics: Vec<usize>,
    pub shared: Shared,
    pub event: (Option<i64>, Option<i64>),
    pub access: (i64, i64),
    /// None in the short form.
    pub more: Option<More>,
}

/// What the full form says beyond the short one.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct More {
    pub dictionary: u32,
    pub is_named: bool,
    pub is_competitor: bool,
    pub age_us: i64,
    /// Number of a customer.
    pub runs_of: Option<usize>,
    pub late: bool,
    pub purposes: Vec<Purpose>,
    pub quota: Option<u64>,
    pub return_by: i64,
}

/// Where the owner's readings stood at an approval: when, and how many late deliveries there were, both as
/// far as it is known.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)]
pub struct Mark {
    pub at: Stretch,
    pub deliveries: (usize, usize),
}

/// A consent at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// None before it was agreed to.
    pub paper: Option<Paper>,
    /// None of the short form.
    pub mark: Option<Mark>,
    /// Whether it is neither held nor ended.
    pub stands: bool,
}

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Reader {
    Firm(usize),
    /// And the version of its roster that was agreed to, from 1 on.
    Group(usize, usize),
}

/// One consent, and what became of it.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Deal {
    pub id: String,
    pub reader: Reader,
    pub states: Timeline<State>,
    /// Rows that nothing else can have covered, and rows that can have been counted towards its quota.
    pub spent: (u64, u64),
}

/// A group of firms.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Group {
    pub are_competitors: bool,
    pub rosters: Vec<Vec<usize>>,
}

/// A floor under everything.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs)]
pub struct House {
    pub floor_us: Option<i64>,
    pub age_us: i64,
}

/// What the alliance rules.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Alliance {
    pub house: House,
    /// Of the sensitive metric, towards competitors: smallest bucket, age, statistics.
    pub sensitive: (i64, i64, Vec<Function>),
    /// Owner, reader, metric; each of them or whichever.
    pub forbidden: Vec<(Option<usize>, Option<usize>, Option<usize>)>,
}

/// A lot of a customer on a machine.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Run {
    pub asset: usize,
    pub customer: usize,
    pub from: i64,
    /// None while it goes on.
    pub to: Option<i64>,
}

/// By which name a series is called.
#[derive(Debug, Clone, PartialEq)]
pub enum Called {
    /// By its own.
    Name,
    /// By the pseudonym of a consent.
    Pseudonym(String),
}

/// What somebody asks.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Question {
    pub asker: usize,
    pub owner: usize,
    pub asset: usize,
    pub metric: usize,
    /// None for every reading.
    pub bucket: Option<(i64, Vec<Function>)>,
    pub from_us: i64,
    pub to_us: i64,
    pub purpose: Option<Purpose>,
    pub called: Called,
}

impl Question {
    /// Every cell that the question means, of a series with at most a reading each `step_us` in `data`.
    pub fn cells(&self, data: Stretch, step_us: i64) -> Vec<Cell> {
        let mut cells = Vec::new();
        let step = self.bucket.as_ref().map_or(step_us, |(width, _)| *width);
        let mut at = data.0 - data.0.rem_euclid(step);
        while at < data.1 {
            let cell = if self.bucket.is_some() { (at, at + step) } else { (at, at) };
            let ends = if self.bucket.is_some() { cell.1 <= self.to_us } else { at < self.to_us };
            if self.from_us <= at && ends {
                cells.push(cell);
            }
            at += step;
        }
        cells
    }
}

/// Whether what *can* have been is asked for, or what *surely* was.
#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    May,
    Must,
}

/// How many late deliveries are seen of a cell: at least, at most.
type Sight = Option<(usize, usize)>;

/// Everything that judges answers about one owner's readings.
#[derive(Debug, Clone)]
pub struct Book {
    /// Of the owner, also those that have gone.
    pub deals: Vec<Deal>,
    /// The owner's own rule.
    pub house: Timeline<House>,
    /// The owner's runs.
    pub runs: Timeline<Vec<Run>>,
    /// The alliance's rule.
    pub alliance: Timeline<Alliance>,
    /// All groups.
    pub groups: Vec<Timeline<Group>>,
    /// When each late delivery of the owner began and was done, in order.
    pub deliveries: Vec<(i64, Option<i64>)>,
    /// The number of the metric that competition law is about.
    pub sensitive: usize,
}

/// What held at one moment beside a consent.
struct Law<'a> {
    house: &'a House,
    runs: &'a [Run],
    alliance: &'a Alliance,
    group: Option<&'a Group>,
}

impl Book {
    /// The same with those consents alone that were ever about what is asked for.
    #[must_use]
    pub fn about(&self, it: &Question) -> Self {
        let is_about = |deal: &&Deal| {
            let reaches = match deal.reader {
                Reader::Firm(number) => number == it.asker,
                Reader::Group(..) => true,
            };
            let is_called = match &it.called {
                Called::Name => true,
                Called::Pseudonym(id) => *id == deal.id,
            };
            reaches && is_called && deal.states.0.iter().any(|step| lists(&step.is, it))
        };
        let deals = self.deals.iter().filter(is_about).cloned().collect();
        let (house, runs, alliance) = (self.house.clone(), self.runs.clone(), self.alliance.clone());
        Self { deals, house, runs, alliance, groups: self.groups.clone(), deliveries: self.deliveries.clone(), ..*self }
    }

    fn laws<'a>(&'a self, deal: &Deal, when: Stretch) -> Vec<Law<'a>> {
        let groups: Vec<Option<&Group>> = match deal.reader {
            Reader::Firm(_) => vec![None],
            Reader::Group(number, _) => self.groups[number].possible(when).into_iter().map(Some).collect(),
        };
        let mut laws = Vec::new();
        for house in self.house.possible(when) {
            for runs in self.runs.possible(when) {
                for alliance in self.alliance.possible(when) {
                    laws.extend(groups.iter().map(|group| Law { house, runs, alliance, group: *group }));
                }
            }
        }
        laws
    }

    /// Late deliveries that whoever began to read then sees: at least, at most.
    fn delivered(&self, (begin, end): Stretch) -> (usize, usize) {
        let there = self.deliveries.iter().filter(|(_, done)| done.is_some_and(|done| done < begin));
        (there.count(), self.deliveries.iter().filter(|(begun, _)| *begun <= end).count())
    }

    /// What a deal shows of a cell, by each of what can have held.
    fn sights(&self, deal: &Deal, it: &Question, cell: Cell, when: Stretch, how: How) -> Vec<Sight> {
        let all = self.delivered(when);
        let mut sights = Vec::new();
        for state in deal.states.possible(when) {
            for law in self.laws(deal, when) {
                sights.push(sees(deal, state, &law, self.sensitive, it, cell, when, how, all));
            }
        }
        sights
    }

    /// How many late deliveries the cell may show; empty where it may not be served at all.
    pub fn may(&self, it: &Question, cell: Cell, when: Stretch) -> Vec<usize> {
        let mut may = Vec::new();
        let mut add = |(least, most): (usize, usize)| may.extend(least..=most);
        if it.asker == it.owner {
            add(self.delivered(when));
        }
        for deal in &self.deals {
            self.sights(deal, it, cell, when, How::May).into_iter().flatten().for_each(&mut add);
        }
        may
    }

    /// How many late deliveries it has to show at least; none where it need not be served.
    pub fn must(&self, it: &Question, cell: Cell, when: Stretch) -> Option<usize> {
        let mut must = (it.asker == it.owner && it.called == Called::Name).then(|| self.delivered(when).0);
        for deal in &self.deals {
            if !has_rows(deal, when) {
                continue;
            }
            let sights = self.sights(deal, it, cell, when, How::Must);
            if sights.iter().all(Option::is_some) {
                must = must.max(sights.into_iter().flatten().map(|(least, _)| least).min());
            }
        }
        must
    }

    /// The numbers of the deals that may be the ground of a cell.
    pub fn grounds(&self, it: &Question, cell: Cell, when: Stretch) -> Vec<usize> {
        let mut grounds = Vec::new();
        for (number, deal) in self.deals.iter().enumerate() {
            if self.sights(deal, it, cell, when, How::May).iter().any(Option::is_some) {
                grounds.push(number);
            }
        }
        grounds
    }

    /// Whether the asker may have learnt that there is such a series.
    pub fn may_be_known(&self, it: &Question, when: Stretch) -> bool {
        it.asker == it.owner || self.deals.iter().any(|deal| self.named(deal, it, when).contains(&true))
    }

    /// Whether the asker surely knows that there is such a series.
    pub fn is_known(&self, it: &Question, when: Stretch) -> bool {
        it.asker == it.owner || self.deals.iter().any(|deal| !self.named(deal, it, when).contains(&false))
    }

    fn named(&self, deal: &Deal, it: &Question, when: Stretch) -> Vec<bool> {
        let mut named = Vec::new();
        for state in deal.states.possible(when) {
            for law in self.laws(deal, when) {
                named.push(names(deal, state, &law, it));
            }
        }
        named
    }

    /// Whether something can have ended a read in its middle.
    pub fn may_be_ended(&self, it: &Question, when: Stretch) -> bool {
        let changes = |deal: &Deal| {
            let group = match deal.reader {
                Reader::Firm(_) => true,
                Reader::Group(number, _) => self.groups[number].stood_still(when),
            };
            let edge = |at: i64| when.0 <= at && at <= when.1;
            let papers = deal.states.possible(when);
            let windows = papers.iter().filter_map(|state| state.paper.as_ref());
            let at_an_edge = windows.into_iter().any(|paper| edge(paper.access.0) || edge(paper.access.1));
            !group || !deal.states.stood_still(when) || at_an_edge
        };
        let law = self.house.stood_still(when) && self.runs.stood_still(when) && self.alliance.stood_still(when);
        it.asker != it.owner && (!law || self.deals.iter().any(changes))
    }

    /// Whether a read may end because the rows of a day are used up.
    pub fn may_be_used_up(&self, when: Stretch) -> bool {
        let used_up = |deal: &Deal| {
            deal.states.possible(when).into_iter().any(|state| quota(state).is_some_and(|rows| deal.spent.1 >= rows))
        };
        self.deals.iter().any(used_up)
    }

    /// How long after all that covered it had gone a cell was served, µs; none while something did.
    pub fn lateness_us(&self, it: &Question, cell: Cell, when: Stretch) -> Option<i64> {
        if !self.may(it, cell, when).is_empty() {
            return None;
        }
        let mut ends: Vec<i64> = self.house.ends().chain(self.runs.ends()).chain(self.alliance.ends()).collect();
        ends.extend(self.groups.iter().flat_map(Timeline::ends));
        for deal in &self.deals {
            ends.extend(deal.states.ends());
            ends.extend(deal.states.0.iter().filter_map(|step| Some(step.is.paper.as_ref()?.access.1 - 1)));
        }
        ends.retain(|end| *end <= when.0);
        ends.sort_unstable();
        let since = |end: &i64| !self.may(it, cell, (*end, when.1)).is_empty();
        Some(ends.into_iter().rev().find(since).map_or(i64::MAX, |end| when.0.saturating_sub(end)))
    }
}

/// Whether rows are surely left of a quota, where there is one.
fn has_rows(deal: &Deal, when: Stretch) -> bool {
    deal.states.possible(when).iter().all(|state| quota(state).is_none_or(|rows| deal.spent.1 <= rows))
}

fn quota(state: &State) -> Option<u64> {
    state.paper.as_ref()?.more.as_ref()?.quota
}

/// Whether machine and metric are on the list.
fn lists(state: &State, it: &Question) -> bool {
    state.paper.as_ref().is_some_and(|paper| paper.assets.contains(&it.asset) && paper.metrics.contains(&it.metric))
}

/// Whether it tells the asker of the series, in force or not.
fn names(deal: &Deal, state: &State, law: &Law<'_>, it: &Question) -> bool {
    let Some(paper) = &state.paper else { return false };
    let reaches = match deal.reader {
        Reader::Firm(firm) => firm == it.asker,
        // Whoever is on the roster that was agreed to and on every later one. Of the time before the agreed one
        // was made, nothing can have been read.
        Reader::Group(_, agreed) => {
            let since = law.group.and_then(|group| group.rosters.get(agreed - 1..)).unwrap_or_default();
            !since.is_empty() && since.iter().all(|firms| firms.contains(&it.asker))
        }
    };
    let is_named = paper.more.as_ref().is_none_or(|more| more.is_named);
    let is_called = match &it.called {
        Called::Name => is_named,
        Called::Pseudonym(id) => !is_named && *id == deal.id,
    };
    it.asker != it.owner && reaches && is_called && lists(state, it)
}

/// How many late deliveries one consent shows of one cell.
#[allow(clippy::too_many_arguments)]
fn sees(
    deal: &Deal,
    state: &State,
    law: &Law<'_>,
    sensitive: usize,
    it: &Question,
    (begin, end): Cell,
    when: Stretch,
    how: How,
    all: (usize, usize),
) -> Sight {
    let paper = state.paper.as_ref()?;
    if !names(deal, state, law, it) || !state.stands {
        return None;
    }
    // Its own window.
    let is_open = match how {
        How::May => paper.access.0 <= when.1 && when.0 < paper.access.1,
        How::Must => paper.access.0 <= when.0 && when.1 < paper.access.1,
    };
    if !is_open {
        return None;
    }
    let is_meant = |more: &More| more.dictionary == 1 && it.purpose.is_some_and(|it| more.purposes.contains(&it));
    if !paper.more.as_ref().is_none_or(is_meant) {
        return None;
    }
    for (owner, reader, metric) in &law.alliance.forbidden {
        let is_meant = owner.is_none_or(|owner| owner == it.owner)
            && reader.is_none_or(|reader| reader == it.asker)
            && metric.is_none_or(|metric| metric == it.metric);
        if is_meant {
            return None;
        }
    }
    // Floors, ages and statistics: all of them together.
    let competes = law.group.is_some_and(|group| group.are_competitors)
        || paper.more.as_ref().is_none_or(|more| more.is_competitor);
    let mut floors: Vec<i64> = [law.alliance.house.floor_us, law.house.floor_us].into_iter().flatten().collect();
    let mut age = law.alliance.house.age_us.max(law.house.age_us);
    let mut statistics: Vec<&Vec<Function>> = Vec::new();
    match &paper.shared {
        Shared::Raw => {}
        Shared::Bucketed(floor, functions) => {
            floors.push(*floor);
            statistics.push(functions);
        }
        Shared::Benchmark => return None,
    }
    if it.metric == sensitive && competes {
        let (floor, least_age, functions) = &law.alliance.sensitive;
        floors.push(*floor);
        statistics.push(functions);
        age = age.max(*least_age);
    }
    if let Some(more) = &paper.more {
        age = age.max(more.age_us);
    }
    match &it.bucket {
        None if !floors.is_empty() => return None,
        None => {}
        Some((width, wanted)) => {
            let is_coarse = floors.iter().all(|floor| width % floor == 0);
            let is_shared = wanted.iter().all(|function| statistics.iter().all(|shared| shared.contains(function)));
            if !is_coarse || !is_shared {
                return None;
            }
        }
    }
    // Times: the whole of a bucket lies inside.
    let is_bucket = it.bucket.is_some();
    let inside = |from: i64, to: i64| from <= begin && if is_bucket { end <= to } else { begin < to };
    if !inside(paper.event.0.unwrap_or(i64::MIN), paper.event.1.unwrap_or(i64::MAX)) {
        return None;
    }
    let now = if how == How::May { when.1 } else { when.0 };
    if let Some(customer) = paper.more.as_ref().and_then(|more| more.runs_of) {
        let mine = |run: &&Run| run.asset == it.asset && run.customer == customer;
        let mut mine = law.runs.iter().filter(mine);
        // One that goes on, and be its end foretold, has not ended.
        if !mine.any(|run| run.to.is_some_and(|to| to <= now && inside(run.from, to))) {
            return None;
        }
    }
    if age > 0 || !floors.is_empty() {
        let old = if is_bucket { end <= now - age } else { begin < now - age };
        if !old {
            return None;
        }
    }
    // What arrived late.
    let Some(mark) = state.mark.filter(|_| paper.more.as_ref().is_some_and(|more| !more.late)) else {
        return Some(all);
    };
    // While it is being approved its end is not known.
    let early = (mark.deliveries.0.min(all.1), mark.deliveries.1.min(all.1));
    let can_be_before = if is_bucket { end <= mark.at.1 } else { begin < mark.at.1 };
    let can_be_behind = begin >= mark.at.0;
    let is_surely_one = if is_bucket { end <= mark.at.0 || begin >= mark.at.1 } else { true };
    match (can_be_before, can_be_behind) {
        _ if how == How::Must && !is_surely_one => None,
        (true, false) => Some(early),
        (false, true) => Some(all),
        (true, true) => Some((early.0.min(all.0), all.1)),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests;
