//! One member: asks, grants and revokes at random, and judges each answer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use sandan_ingest::access::{AccessError, Reader, Receipt, Rows};
use sandan_ingest::auth::Member;
use sandan_ingest::consent::{
    AccessWindow, Agreed, EventWindow, Form, Function, Identity, Manner, OnwardUse, Purpose, Relation, Request,
    SharedForm, Terms,
};
use sandan_ingest::id::ConsentId;
use sandan_ingest::store::control::Change;
use sandan_proto::reading::Value;

use super::Until;
use super::reference::{Cell, Deal, Question, Stretch, lateness_us, may_be_ended, must_be_served};
use super::world::{ASSETS, DATA, FIRMS, METRICS, SECOND_US, SECONDS, World, firm, series, value};
use crate::chance::Chance;

/// Widths of buckets and of floors, s.
const WIDTHS: [i64; 7] = [1, 2, 5, 10, 20, 30, 60];
const FUNCTIONS: [Function; 4] = [Function::Mean, Function::Min, Function::Max, Function::Count];
const PURPOSES: [Purpose; 2] = [Purpose::Quality, Purpose::Energy];
/// Consents that a firm has in force at most.
const MOST: usize = 12;

/// One answer about another firm's readings.
pub(super) struct Told {
    pub(super) question: Question,
    pub(super) actor: String,
    pub(super) receipt: Receipt,
    pub(super) is_denial: bool,
}

/// What a member saw.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) decisions: u64,
    pub(super) complete: u64,
    pub(super) withdrawn: u64,
    pub(super) left: u64,
    pub(super) revoked: u64,
    pub(super) denied: u64,
    pub(super) unknown: u64,
    pub(super) cells: u64,
    pub(super) grants: u64,
    pub(super) revocations: u64,
    pub(super) latest_us: i64,
    /// By owner: rows that were taken of other firms' readings.
    pub(super) rows: [i64; FIRMS],
    pub(super) told: Vec<Told>,
    pub(super) faults: Vec<String>,
}

pub(super) struct Client {
    world: Arc<World>,
    firm: usize,
    member: Member,
    chance: Chance,
    /// What was asked before.
    last: Option<Question>,
    heard: Heard,
}

impl Client {
    pub(super) async fn new(world: &Arc<World>, number: usize, chance: Chance) -> anyhow::Result<Self> {
        let firm = number % FIRMS;
        let member = world.member(firm).await?;
        Ok(Self { world: world.clone(), firm, member, chance, last: None, heard: Heard::default() })
    }

    pub(super) async fn work(mut self, until: Until) -> anyhow::Result<Heard> {
        // Something to read from the beginning.
        self.grant().await?;
        loop {
            let ends = match until {
                Until::Decisions(count) => self.world.decisions() >= count,
                Until::Time(time) => Instant::now() >= time,
            };
            if ends {
                return Ok(self.heard);
            }
            match self.chance.below(1_000) {
                0..15 => self.grant().await?,
                15..25 => self.revoke().await?,
                25..27 => self.lose_token().await?,
                _ => self.ask().await?,
            }
        }
    }

    fn some<T: Copy>(&mut self, of: &[T]) -> Vec<T> {
        let mut some: Vec<T> = of.iter().copied().filter(|_| self.chance.percent(60)).collect();
        if some.is_empty() {
            some.push(*self.chance.one(of));
        }
        some
    }

    /// Seconds of the readings, in order.
    fn window(&mut self, longest: u64) -> (i64, i64) {
        let from = self.chance.below(SECONDS.unsigned_abs() - 1).cast_signed();
        let length = 1 + self.chance.below(longest).cast_signed();
        (DATA.0 + from * SECOND_US, (DATA.0 + (from + length) * SECOND_US).min(DATA.1))
    }

    async fn grant(&mut self) -> anyhow::Result<()> {
        let active = self.world.deals(self.firm).iter().filter(|deal| deal.revoked.is_none()).count();
        if active >= MOST {
            return self.revoke().await;
        }
        let grantee = (self.firm + 1 + usize::try_from(self.chance.below(FIRMS as u64 - 1))?) % FIRMS;
        let (assets, metrics) = (self.some(&[0, 1][..ASSETS]), self.some(&[0, 1][..METRICS.len()]));
        let floor = self.chance.percent(60).then(|| (*self.chance.one(&WIDTHS) * SECOND_US, self.some(&FUNCTIONS)));
        let (from, to) = self.window(400);
        let event = (self.chance.percent(70).then_some(from), self.chance.percent(70).then_some(to));
        let agreed = self.chance.percent(50).then(|| {
            let age_s = if self.chance.percent(50) { 0 } else { self.chance.below(400).cast_signed() };
            (self.some(&PURPOSES), age_s * SECOND_US)
        });
        let id = ConsentId::random();
        // Most stand until they are revoked; some begin and end by themselves, within a second or so.
        let (wait, life) = match self.chance.below(10) {
            0 => (self.chance.below(200_000), 1 + self.chance.below(2_000_000)),
            1 => (0, 1 + self.chance.below(500_000)),
            _ => (0, 3_600_000_000),
        };
        let now_us = self.world.now_us();
        let access = (now_us + wait.cast_signed(), now_us + wait.cast_signed() + life.cast_signed());
        let deal = Deal {
            id: id.to_string(),
            grantee,
            assets,
            metrics,
            floor,
            event,
            access,
            agreed,
            granted: (now_us, None),
            revoked: None,
        };
        let change = Change::Grant { id, grantor: firm(self.firm), grantee: firm(grantee), terms: terms(&deal)? };
        self.world.deals(self.firm).push(deal);
        self.world.access.apply(change, &self.member.actor()).await?;
        let now_us = self.world.now_us();
        let mut deals = self.world.deals(self.firm);
        if let Some(deal) = deals.iter_mut().find(|deal| deal.id == id.to_string()) {
            deal.granted.1 = Some(now_us);
        }
        self.heard.grants += 1;
        Ok(())
    }

    async fn revoke(&mut self) -> anyhow::Result<()> {
        let chosen = {
            let mut deals = self.world.deals(self.firm);
            let now_us = self.world.now_us();
            let mut open: Vec<_> =
                deals.iter_mut().filter(|deal| deal.granted.1.is_some() && deal.revoked.is_none()).collect();
            let at = usize::try_from(self.chance.below(open.len() as u64))?;
            open.get_mut(at).map(|deal| {
                deal.revoked = Some((now_us, None));
                (deal.id.clone(), deal.grantee)
            })
        };
        let Some((id, grantee)) = chosen else { return Ok(()) };
        let change = Change::Revoke { id: id.parse()?, grantor: firm(self.firm), grantee: firm(grantee) };
        self.world.access.apply(change, &self.member.actor()).await?;
        let now_us = self.world.now_us();
        if let Some(deal) = self.world.deals(self.firm).iter_mut().find(|deal| deal.id == id) {
            deal.revoked = deal.revoked.map(|(begun, _)| (begun, Some(now_us)));
        }
        self.heard.revocations += 1;
        Ok(())
    }

    /// A token that was revoked opens nothing any more, and its member comes back with another.
    async fn lose_token(&mut self) -> anyhow::Result<()> {
        let change = Change::RevokeMember { id: self.member.id, firm: self.member.firm.clone() };
        self.world.access.apply(change, "command line").await?;
        self.ask_with(true).await?;
        self.member = self.world.member(self.firm).await?;
        Ok(())
    }

    async fn ask(&mut self) -> anyhow::Result<()> {
        self.ask_with(false).await
    }

    fn question(&mut self) -> Question {
        if let Some(last) = self.last.clone().filter(|_| self.chance.percent(15)) {
            return last;
        }
        let owner = usize::try_from(self.chance.below(FIRMS as u64)).unwrap_or(0);
        let bucket = self.chance.percent(50).then(|| {
            let functions = self.some(&FUNCTIONS);
            (*self.chance.one(&WIDTHS) * SECOND_US, functions)
        });
        let (from_us, to_us) = self.window(120);
        let purpose = self.chance.percent(80).then(|| *self.chance.one(&PURPOSES));
        let asset = usize::try_from(self.chance.below(ASSETS as u64)).unwrap_or(0);
        let metric = usize::try_from(self.chance.below(METRICS.len() as u64)).unwrap_or(0);
        Question { asker: self.firm, owner, asset, metric, bucket, from_us, to_us, purpose }
    }

    async fn ask_with(&mut self, is_revoked: bool) -> anyhow::Result<()> {
        let it = self.question();
        self.last = Some(it.clone());
        self.world.decide();
        self.heard.decisions += 1;
        let begun = self.world.now_us();
        let answer = self.world.access.read(&self.member, request(&it)?, None).await;
        let when = |client: &Self| (begun, client.world.now_us());
        let receipt = match &answer {
            Ok(reader) => reader.receipt().cloned(),
            Err(AccessError::Denied(_, receipt)) => receipt.as_deref().cloned(),
            Err(_) => None,
        };
        if let Some(receipt) = receipt {
            let (question, actor) = (it.clone(), self.member.actor());
            self.heard.told.push(Told { question, actor, receipt, is_denial: answer.is_err() });
        } else if it.asker != it.owner && !matches!(answer, Err(AccessError::NotFound)) {
            self.fault(&it, "an answer has no receipt");
        }
        match answer {
            Ok(reader) => self.drain(&it, reader, begun, is_revoked).await,
            Err(AccessError::Denied(..)) => {
                self.heard.denied += 1;
                self.refused(&it, when(self), true);
                Ok(())
            }
            Err(AccessError::NotFound) => {
                self.heard.unknown += 1;
                self.refused(&it, when(self), false);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the rows, in one or in many pieces, and judges them.
    async fn drain(&mut self, it: &Question, mut reader: Reader, begun: i64, is_revoked: bool) -> anyhow::Result<()> {
        let piece = if self.chance.percent(40) { 1 + self.chance.below(10) } else { 10_000 };
        let leaves = self.chance.percent(5);
        let mut served: Vec<(Cell, Stretch)> = Vec::new();
        let ended = loop {
            if leaves && !served.is_empty() {
                break None;
            }
            let asked = self.world.now_us();
            match reader.next(usize::try_from(piece)?).await {
                Ok(Some(rows)) => {
                    let when = (asked, self.world.now_us());
                    for cell in self.cells(it, &rows) {
                        served.push((cell, when));
                    }
                }
                Ok(None) => break Some(Ok(())),
                Err(error) => break Some(Err(error)),
            }
        };
        drop(reader);
        let when = (begun, self.world.now_us());
        self.heard.cells += served.len() as u64;
        if it.asker != it.owner {
            self.heard.rows[it.owner] += i64::try_from(served.len())?;
        }
        if is_revoked {
            let is_right = served.is_empty() && matches!(ended, Some(Err(AccessError::Revoked)));
            self.heard.revoked += 1;
            if !is_right {
                self.fault(it, "a revoked token was served");
            }
            return Ok(());
        }
        let deals = self.world.deals(it.owner).clone();
        for (cell, when) in &served {
            if let Some(late_us) = lateness_us(&deals, it, *cell, *when) {
                self.heard.latest_us = self.heard.latest_us.max(late_us);
                self.fault(
                    it,
                    &format!("{cell:?} was served {late_us} µs after its last consent had gone, or without one"),
                );
            }
        }
        let seen: BTreeSet<Cell> = served.iter().map(|(cell, _)| *cell).collect();
        if seen.len() != served.len() || !served.is_sorted_by_key(|(cell, _)| cell) {
            self.fault(it, "cells came twice or in disorder");
        }
        match ended {
            None => self.heard.left += 1,
            Some(Ok(())) => {
                self.heard.complete += 1;
                let wanted = it.cells(DATA.0, DATA.1, SECOND_US);
                let withheld = |cell: &&Cell| !seen.contains(*cell) && must_be_served(&deals, it, **cell, when);
                let withheld: Vec<_> = wanted.iter().filter(withheld).collect();
                if let Some(first) = withheld.first() {
                    let (count, of) = (withheld.len(), wanted.len());
                    let what = format!("{count} of {of} cells were withheld, in pieces of {piece} in {when:?}");
                    self.fault(it, &format!("{what}, {first:?} first, and a consent covers it"));
                }
            }
            Some(Err(AccessError::Withdrawn)) => {
                self.heard.withdrawn += 1;
                if !may_be_ended(&deals, it, when) {
                    self.fault(it, "it was ended, and no consent went");
                }
            }
            Some(Err(error)) => return Err(error.into()),
        }
        Ok(())
    }

    /// The cells of rows, each with the value that it has to have.
    fn cells(&mut self, it: &Question, rows: &Rows) -> Vec<Cell> {
        let at = |time_us| value(it.owner, it.asset, it.metric, time_us);
        let (cells, is_right): (Vec<Cell>, bool) = match (rows, &it.bucket) {
            (Rows::Raw(rows), None) => (
                rows.iter().map(|row| (row.time_us, row.time_us)).collect(),
                rows.iter().all(|row| row.value == Some(Value::F64(at(row.time_us)))),
            ),
            (Rows::Buckets(rows), Some((width, functions))) => (
                rows.iter().map(|row| (row.start_us, row.end_us)).collect(),
                rows.iter().all(|row| {
                    row.end_us - row.start_us == *width
                        && functions.iter().all(|function| match function {
                            Function::Min => row.min.total_cmp(&at(row.start_us)).is_eq(),
                            Function::Max => row.max.total_cmp(&at(row.end_us - SECOND_US)).is_eq(),
                            _ => row.count.cast_signed() == width / SECOND_US,
                        })
                }),
            ),
            _ => (Vec::new(), false),
        };
        if !is_right {
            self.fault(it, "a value is not the one of its time and series");
        }
        cells
    }

    /// Judges an answer without rows; `is_told` when it gave reasons.
    fn refused(&mut self, it: &Question, when: Stretch, is_told: bool) {
        let deals = self.world.deals(it.owner).clone();
        let mut cells = it.cells(DATA.0, DATA.1, SECOND_US).into_iter();
        if cells.any(|cell| must_be_served(&deals, it, cell, when)) {
            self.fault(it, "it was refused, and a consent covers some of it");
        }
        let mut named = deals.iter().filter(|deal| deal.names(it));
        let is_own = it.asker == it.owner;
        if is_told && !is_own && !named.any(|deal| deal.was_possibly_there(when)) {
            self.fault(it, "the asker learns of a series that was never named to him");
        } else if !is_told && (is_own || named.any(|deal| deal.was_surely_there(when))) {
            self.fault(it, "the asker knows of the series and is told that there is none");
        }
    }

    fn fault(&mut self, it: &Question, what: &str) {
        self.heard.faults.push(format!("{what}: {it:?}"));
    }
}

fn terms(deal: &Deal) -> anyhow::Result<Terms> {
    let agreed = deal.agreed.as_ref().map(|(purposes, age_us)| {
        Box::new(Agreed {
            dictionary: 1,
            identity: Identity::Named,
            relation: Relation::Customer,
            reason: "치수 불량의 원인을 찾기 위해".to_owned(),
            holders: ["품질팀".to_owned()].into(),
            return_by_us: deal.access.1,
            minimum_age_us: *age_us,
            runs_of: None,
            late_data: true,
            purposes: purposes.iter().copied().collect(),
            onward_use: OnwardUse::Holders,
            quota_rows_per_day: None,
            cohort_floor: None,
        })
    });
    Ok(Terms {
        assets: deal.assets.iter().map(|it| super::world::asset(*it).parse()).collect::<Result<_, _>>()?,
        metrics: deal.metrics.iter().map(|it| METRICS[*it].parse()).collect::<Result<_, _>>()?,
        form: match &deal.floor {
            None => SharedForm::Raw,
            Some((floor_us, functions)) => {
                SharedForm::Bucketed { floor_us: *floor_us, functions: functions.iter().copied().collect() }
            }
        },
        event: EventWindow { from_us: deal.event.0, to_us: deal.event.1 },
        access: AccessWindow { not_before_us: deal.access.0, until_us: deal.access.1 },
        agreed,
    })
}

fn request(it: &Question) -> anyhow::Result<Request> {
    Ok(Request {
        asker: firm(it.asker),
        series: series(it.owner, it.asset, it.metric)?,
        form: it.bucket.as_ref().map_or(Form::Raw, |(width, _)| Form::buckets(*width)),
        functions: it.bucket.iter().flat_map(|(_, functions)| functions.iter().copied()).collect(),
        from_us: it.from_us,
        to_us: it.to_us,
        manner: Manner { purpose: it.purpose, ..Manner::default() },
    })
}
