//! What becomes of consents and of what stands beside them, as people do it: over HTTP, with the
//! tokens of officers and members, or at the host. Each step is noted before it begins and when it is done.

use anyhow::{Context, bail};
use sandan_ingest::consent::{Actor, Membership, Role};
use sandan_ingest::id::{ConsentId, MemberId};
use sandan_ingest::store::control::{Change, ControlError, SharingChange};
use sandan_proto::id::GroupId;
use serde_json::json;

use super::draw;
use super::http::{Order, Refused};
use super::reference::{Book, Deal, Group, Mark, Paper, Reader, State, Timeline};
use super::world::{FIRMS, GROUPS, World, firm, numbered};
use crate::chance::Chance;

/// Consents that a firm has open at most.
const MOST: usize = 12;
/// An amendment is in force for so long at least, µs.
const LASTS_US: i64 = 60_000_000;
/// Runs that a firm keeps.
const MOST_RUNS: usize = 24;

/// What came of a step.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Consents that came into force.
    pub(super) granted: u64,
    /// Consents that were taken back, by either side.
    pub(super) revoked: u64,
    /// Consents that were narrowed, widened, held or let go.
    pub(super) changed: u64,
    /// What was refused or carried out and should not have been.
    pub(super) faults: Vec<String>,
}

/// One who acts.
pub(super) struct Life<'a> {
    pub(super) world: &'a World,
    pub(super) chance: &'a mut Chance,
    pub(super) done: Done,
    /// What is in force of the consent that is dealt with.
    papers: Vec<Paper>,
}

/// What is not in force.
fn nothing() -> State {
    State { paper: None, mark: None, stands: false }
}

impl<'a> Life<'a> {
    pub(super) fn new(world: &'a World, chance: &'a mut Chance) -> Self {
        Self { world, chance, done: Done::default(), papers: Vec::new() }
    }

    /// Lets another firm read, or a group: at once and short, or by all the steps.
    pub(super) async fn agree(&mut self, grantor: usize) -> anyhow::Result<()> {
        let world = self.world;
        let busy = world.busy[grantor].lock().await;
        if self.open(grantor).len() >= MOST {
            drop(busy);
            return self.change(grantor, true).await;
        }
        let paper = draw::paper(self.chance, world.data, world.now_us());
        let grantee = (grantor + 1 + draw::number(self.chance, FIRMS - 1)) % FIRMS;
        if paper.more.is_none() {
            return self.grant(grantor, grantee, paper).await;
        }
        let terms = json!(draw::terms(&paper)?);
        let people = &world.people;
        // Who begins: whoever asks, for itself or for its group, or the owner.
        let group = draw::number(self.chance, GROUPS.len());
        let (token, body) = match self.chance.below(4) {
            0 => (&people[grantor].officers[0], json!({ "grantee": firm(grantee), "terms": terms })),
            1 => (&people[grantor].officers[0], json!({ "grantee_group": GROUPS[group].0, "terms": terms })),
            // The first firm coordinates both.
            2 if grantor != 0 => {
                (&people[0].member, json!({ "grantor": firm(grantor), "for_group": GROUPS[group].0, "terms": terms }))
            }
            _ => (&people[grantee].member, json!({ "grantor": firm(grantor), "terms": terms })),
        };
        let drafted = world.desk.post(Some(token), "/v1/consents", &body)?;
        if drafted.status != 201 {
            bail!("a draft was answered {} {:?}", drafted.status, drafted.body);
        }
        let drafted = drafted.json()["consents"][0].clone();
        let id = drafted["id"].as_str().context("a draft has no id")?.to_owned();
        let reader = match &drafted["grantee"] {
            it if it["firm"].is_string() => {
                let number = it["firm"].as_str().and_then(numbered);
                Reader::Firm(number.context("a draft has another grantee")?)
            }
            it => Reader::Group(group, usize::try_from(it["roster"].as_u64().context("no roster")?)?),
        };
        let deal = Deal { id: id.clone(), reader, states: Timeline::new(nothing()), spent: (0, 0) };
        world.books()[grantor].deals.push(deal);
        let is_offer = drafted["as"] == "grantor";
        if !self.step(token, &id, "send", None, Some(&paper))? {
            return Ok(());
        }
        if is_offer && !self.step(self.asker(reader), &id, "accept", None, Some(&paper))? {
            return Ok(());
        }
        self.settle(grantor, reader, &id, paper)
    }

    /// The short form, at the host.
    async fn grant(&mut self, grantor: usize, grantee: usize, paper: Paper) -> anyhow::Result<()> {
        let id = ConsentId::random();
        let terms = draw::terms(&paper)?;
        let mut deal =
            Deal { id: id.to_string(), reader: Reader::Firm(grantee), states: Timeline::new(nothing()), spent: (0, 0) };
        deal.states.begin(self.world.now_us(), State { paper: Some(paper), mark: None, stands: true });
        self.world.books()[grantor].deals.push(deal);
        self.world.apply(Change::Grant { id, grantor: firm(grantor), grantee: firm(grantee), terms }).await?;
        self.finish(grantor, &id.to_string());
        self.done.granted += 1;
        Ok(())
    }

    /// What was sent is countered, turned down or approved.
    fn settle(&mut self, grantor: usize, reader: Reader, id: &str, mut paper: Paper) -> anyhow::Result<()> {
        let [first, second, waiting] = &self.world.people[grantor].officers;
        match self.chance.below(10) {
            0 => {
                self.step(first, id, "reject", None, None)?;
                return Ok(());
            }
            1..3 => {
                let counter = draw::narrower(self.chance, &paper);
                if !self.step(first, id, "counter", Some(&counter), Some(&counter))?
                    || !self.step(self.asker(reader), id, "accept", None, Some(&counter))?
                {
                    return Ok(());
                }
                paper = counter;
            }
            _ => {}
        }
        if self.chance.percent(20) {
            self.refused(waiting, id, "approve", "waiting_officer", &paper)?;
        }
        if draw::terms(&paper)?.is_raw() {
            if !self.step(first, id, "approve", None, Some(&paper))? {
                return Ok(());
            }
            if self.chance.percent(30) {
                self.refused(first, id, "approve", "second_officer", &paper)?;
            }
        }
        self.begin(grantor, id, |book, now_us| {
            let done = book.deliveries.iter().filter(|(_, done)| done.is_some()).count();
            let mark = Some(Mark { at: (now_us, i64::MAX), deliveries: (done, usize::MAX) });
            State { paper: Some(paper.clone()), mark, stands: true }
        });
        let approved = self.world.desk.act(second, &Order { id, word: "approve", terms: None })?;
        match approved {
            Ok(_) => {
                self.mark(grantor, id);
                self.finish(grantor, id);
                self.done.granted += 1;
            }
            Err(refused) => {
                self.take_back(grantor, id);
                self.excuse(&refused, "approve", Some(&paper));
            }
        }
        Ok(())
    }

    /// Something is done to a consent in force; it is ended where `ends`.
    pub(super) async fn change(&mut self, grantor: usize, ends: bool) -> anyhow::Result<()> {
        let world = self.world;
        let _busy = world.busy[grantor].lock().await;
        let open = self.open(grantor);
        if open.is_empty() {
            return Ok(());
        }
        let (id, reader, state) = self.chance.one(&open).clone();
        let Some(paper) = state.paper.clone() else { return Ok(()) };
        self.papers = vec![paper.clone()];
        let officer = &world.people[grantor].officers[draw::number(self.chance, 2)];
        if paper.more.is_none() {
            if let (true, Reader::Firm(grantee)) = (ends, reader) {
                self.begin(grantor, &id, |_, _| State { stands: false, ..state.clone() });
                let change = Change::Revoke { id: id.parse()?, grantor: firm(grantor), grantee: firm(grantee) };
                world.apply(change).await?;
                self.finish(grantor, &id);
                self.done.revoked += 1;
            }
            return Ok(());
        }
        let ended = State { stands: false, ..state.clone() };
        if ends {
            let (actor, verb) =
                if self.chance.percent(70) { (officer.as_str(), "revoke") } else { (self.asker(reader), "relinquish") };
            self.done.revoked += u64::from(self.turn(grantor, &id, actor, verb, None, ended)?);
            return Ok(());
        }
        let changed = match self.chance.below(5) {
            0 => {
                // Held by the owner, and let go; a while lies between.
                let held = self.turn(grantor, &id, officer, "suspend", None, ended)?;
                tokio::task::yield_now().await;
                held && self.turn(grantor, &id, officer, "resume", None, state)?
            }
            1 => {
                // Held by the alliance, which puts nothing in force again.
                let held = self.turn(grantor, &id, &world.alliance, "suspend", None, ended.clone())?;
                self.refused(officer, &id, "resume", "not_now", &paper)?;
                let released = self.turn(grantor, &id, &world.alliance, "resume", None, ended)?;
                held && released && self.turn(grantor, &id, officer, "resume", None, state)?
            }
            2 | 3 => {
                let less = draw::narrower(self.chance, &paper);
                let after = State { paper: Some(less.clone()), ..state };
                self.turn(grantor, &id, officer, "narrow", Some(&less), after)?
            }
            _ => return self.amend(grantor, reader, &id),
        };
        self.done.changed += u64::from(changed);
        Ok(())
    }

    /// Other terms are proposed, by either side, while those in force go on.
    fn amend(&mut self, grantor: usize, reader: Reader, id: &str) -> anyhow::Result<()> {
        let mut other = draw::paper(self.chance, self.world.data, self.world.now_us());
        // One whose own window ends before it is approved would stay open, and be in the way of the next.
        while other.more.is_none() || other.access.1 - other.access.0 < LASTS_US {
            other = draw::paper(self.chance, self.world.data, self.world.now_us());
        }
        let owner = &self.world.people[grantor].officers[0];
        let by_owner = self.chance.percent(50);
        let author = if by_owner { owner } else { self.asker(reader) };
        if !self.step(author, id, "amend", Some(&other), Some(&other))?
            || (by_owner && !self.step(self.asker(reader), id, "accept", None, Some(&other))?)
        {
            return Ok(());
        }
        self.done.changed += 1;
        self.settle(grantor, reader, id, other)
    }

    /// The rules of a firm, of all, or who is in a group; a lot is put down.
    pub(super) async fn rule(&mut self, of: usize) -> anyhow::Result<()> {
        let world = self.world;
        match self.chance.below(8) {
            0 => {
                let _busy = world.busy[of].lock().await;
                let house = draw::house(self.chance);
                world.books()[of].house.begin(world.now_us(), house.clone());
                let change = SharingChange::SetHouseRule { firm: firm(of), rule: draw::layer(&house) };
                world.apply(change.into()).await?;
                let now_us = world.now_us();
                world.books()[of].house.done(now_us);
            }
            1 => {
                let _ruling = world.ruling.lock().await;
                let strict = self.chance.percent(40);
                let alliance = draw::alliance(self.chance, strict);
                let now_us = world.now_us();
                world.books().iter_mut().for_each(|book| book.alliance.begin(now_us, alliance.clone()));
                let change = SharingChange::SetAllianceRule(Box::new(draw::real_alliance(&alliance)?));
                world.apply(change.into()).await?;
                let now_us = world.now_us();
                world.books().iter_mut().for_each(|book| book.alliance.done(now_us));
            }
            2 => self.roster().await?,
            _ => {
                let _busy = world.busy[of].lock().await;
                let mut runs = world.books()[of].runs.newest().clone();
                let run = draw::run(self.chance, world.data);
                let number = if runs.len() < MOST_RUNS { runs.len() } else { draw::number(self.chance, runs.len()) };
                if number == runs.len() {
                    runs.push(run.clone());
                } else {
                    // Its own machine's number: of another machine it would be another lot.
                    runs[number] = super::reference::Run { asset: runs[number].asset, ..run };
                }
                let entry = draw::real_run(number, &runs[number])?;
                world.books()[of].runs.begin(world.now_us(), runs);
                world.apply(SharingChange::PutRuns { firm: firm(of), runs: vec![entry] }.into()).await?;
                let now_us = world.now_us();
                world.books()[of].runs.done(now_us);
            }
        }
        Ok(())
    }

    /// A firm joins a group, or leaves it.
    async fn roster(&mut self) -> anyhow::Result<()> {
        let world = self.world;
        let _ruling = world.ruling.lock().await;
        let number = draw::number(self.chance, GROUPS.len());
        let id = GroupId::new(GROUPS[number].0)?;
        let of = 1 + draw::number(self.chance, FIRMS - 1);
        let mut group: Group = world.books()[0].groups[number].newest().clone();
        let mut firms = group.rosters.last().cloned().unwrap_or_default();
        let change = if firms.contains(&of) { Membership::Leave(firm(of)) } else { Membership::Join(firm(of)) };
        if firms.contains(&of) {
            firms.retain(|it| *it != of);
        } else {
            firms.push(of);
        }
        group.rosters.push(firms);
        let before = world.control.groups().await?.remove(&id).context("a group has gone")?;
        let by = Actor { person: MemberId::random().into(), role: Role::AllianceAdministrator, firm: None };
        let after = before.after(&change, &by)?;
        let now_us = world.now_us();
        world.books().iter_mut().for_each(|book| book.groups[number].begin(now_us, group.clone()));
        match world.apply(SharingChange::SaveGroup { id, before: Some(before), after }.into()).await {
            Err(error @ ControlError::Raced { .. }) => bail!("nobody else changes groups: {error}"),
            done => done?,
        }
        let now_us = world.now_us();
        world.books().iter_mut().for_each(|book| book.groups[number].done(now_us));
        Ok(())
    }

    /// The consents of a firm that stand, or will.
    fn open(&self, grantor: usize) -> Vec<(String, Reader, State)> {
        let now_us = self.world.now_us();
        let books = self.world.books();
        let mut open = Vec::new();
        for deal in &books[grantor].deals {
            let state = deal.states.newest();
            let lasts = state.paper.as_ref().is_some_and(|paper| now_us < paper.access.1);
            if state.stands && lasts {
                open.push((deal.id.clone(), deal.reader, state.clone()));
            }
        }
        open
    }

    /// The token of a member who acts for the reader.
    fn asker(&self, reader: Reader) -> &'a str {
        let world: &'a World = self.world;
        match reader {
            Reader::Firm(number) => &world.people[number].member,
            Reader::Group(..) => &world.people[0].member,
        }
    }

    /// A step that changes nothing of what may be read. False where it came too late.
    fn step(
        &mut self,
        token: &str,
        id: &str,
        word: &str,
        terms: Option<&Paper>,
        paper: Option<&Paper>,
    ) -> anyhow::Result<bool> {
        let terms = terms.map(draw::terms).transpose()?.map(|terms| json!(terms));
        match self.world.desk.act(token, &Order { id, word, terms })? {
            Ok(_) => Ok(true),
            Err(refused) => {
                self.excuse(&refused, word, paper);
                Ok(false)
            }
        }
    }

    /// A step that changes what may be read to `after`. False where it came too late.
    fn turn(
        &mut self,
        grantor: usize,
        id: &str,
        token: &str,
        word: &str,
        terms: Option<&Paper>,
        after: State,
    ) -> anyhow::Result<bool> {
        let paper = after.paper.clone();
        let terms = terms.map(draw::terms).transpose()?.map(|terms| json!(terms));
        self.begin(grantor, id, |_, _| after);
        match self.world.desk.act(token, &Order { id, word, terms })? {
            Ok(_) => {
                self.finish(grantor, id);
                Ok(true)
            }
            Err(refused) => {
                self.take_back(grantor, id);
                self.excuse(&refused, word, paper.as_ref());
                Ok(false)
            }
        }
    }

    /// Something that must not be carried out.
    fn refused(&mut self, token: &str, id: &str, word: &str, code: &str, paper: &Paper) -> anyhow::Result<()> {
        match self.world.desk.act(token, &Order { id, word, terms: None })? {
            Ok(done) => self.done.faults.push(format!("`{word}` was carried out and had to be refused: {done}")),
            Err(Refused(said)) if said == code => {}
            Err(refused) => self.excuse(&refused, word, Some(paper)),
        }
        Ok(())
    }

    /// A consent that ended by itself meanwhile is past all commands; nothing else is a reason here.
    fn excuse(&mut self, refused: &Refused, word: &str, paper: Option<&Paper>) {
        let now_us = self.world.now_us();
        let is_over = paper.into_iter().chain(&self.papers).any(|paper| paper.access.1 <= now_us);
        if !(is_over && matches!(refused.0.as_str(), "not_now" | "bad_terms")) {
            self.done.faults.push(format!("`{word}` was refused: {refused:?} of {paper:?}"));
        }
    }

    fn with(&self, grantor: usize, id: &str, change: impl FnOnce(&mut Deal)) {
        if let Some(deal) = self.world.books()[grantor].deals.iter_mut().find(|deal| deal.id == id) {
            change(deal);
        }
    }

    fn begin(&self, grantor: usize, id: &str, state: impl FnOnce(&Book, i64) -> State) {
        let now_us = self.world.now_us();
        let state = state(&self.world.books()[grantor], now_us);
        self.with(grantor, id, |deal| deal.states.begin(now_us, state));
    }

    fn finish(&self, grantor: usize, id: &str) {
        let now_us = self.world.now_us();
        self.with(grantor, id, |deal| deal.states.done(now_us));
    }

    fn take_back(&self, grantor: usize, id: &str) {
        self.with(grantor, id, |deal| deal.states.take_back());
    }

    /// Notes where the readings stood at the end of the approval.
    fn mark(&self, grantor: usize, id: &str) {
        let now_us = self.world.now_us();
        let begun = self.world.books()[grantor].deliveries.len();
        self.with(grantor, id, |deal| deal.states.marked(now_us, begun));
    }
}
