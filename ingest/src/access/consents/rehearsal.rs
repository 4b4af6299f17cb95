//! A dry run: what the other side would see under a draft, on the grantor's real data. Nothing
//! is granted by it, nobody but an officer of the grantor sees it, and the firm's log says
//! that it was made.

use std::collections::BTreeSet;
use std::sync::Arc;

use sandan_proto::id::{AssetId, FirmId, MetricId, SeriesKey};

use super::ConsentError;
use crate::access::{Access, AccessError, Bucket, Chain, Kind, ReadCursor, ReadSlot, Rows, SeriesInfo, StoredReading};
use crate::audit::Draft;
use crate::consent::{
    self, Actor, Address, Agreement, Decision, Form, Function, Grant, Grantee, Holds, Identity, Manner, Mark, Purpose,
    Refusal, Request, Role, SharedForm, Snapshot, Status, StoredTerms, Terms, Why,
};
use crate::id::ConsentId;
use crate::time::{DAY_US, rfc3339};

/// Rows shown of each series.
pub(super) const MAX_EXAMPLES: usize = 3;
/// Series that are looked at; the rest is only counted. What a page shows at a glance.
const MAX_SERIES: usize = 100;
/// Rows counted of one series: a week of minutes, or some hours of every second.
const MAX_ROWS: usize = 20_000;
/// Rows counted in all, well within the time that an answer may take.
const MAX_ALL_ROWS: usize = 200_000;
/// Longest range: the store is read as for any other question, and a year of a draft says no more.
const MAX_RANGE_US: i64 = 366 * DAY_US;

/// What is tried.
#[derive(Debug, Clone)]
pub struct Trial {
    /// Other terms than those of the draft, such as a counter would have; none: the draft's.
    pub terms: Option<Terms>,
    /// First observation time, µs since 1970.
    pub from_us: i64,
    /// Last observation time, exclusive.
    pub to_us: i64,
    /// What for; none: the first purpose of the draft.
    pub purpose: Option<Purpose>,
}

/// What the other side would see.
#[derive(Debug)]
pub struct Rehearsal {
    /// As which firm it was asked; one of the group's where it is for a group.
    pub grantee: FirmId,
    /// What was tried.
    pub trial: Trial,
    /// Each series that is there and named.
    pub series: Vec<Rehearsed>,
    /// How many more there are that were not looked at.
    pub not_looked_at: usize,
    /// Machines of the draft that have no series.
    pub assets_without_series: Vec<AssetId>,
    /// Metrics of the draft that no series is about.
    pub metrics_without_series: Vec<MetricId>,
}

/// One series of it.
#[derive(Debug)]
pub struct Rehearsed {
    /// Which, and its names.
    pub info: SeriesInfo,
    /// The statistics of each row; empty when raw.
    pub functions: BTreeSet<Function>,
    /// The ranges that would be served, µs since 1970, half-open.
    pub ranges: Vec<(i64, i64)>,
    /// How many rows that is.
    pub rows: usize,
    /// Whether there are more, which were not counted.
    pub more: bool,
    /// The first of them.
    pub examples: Rows,
    /// Why there is nothing; empty where there is something.
    pub reasons: Vec<Why>,
}

impl Access {
    /// What the other side would see under what is proposed, or else under what is in force.
    pub async fn rehearse_consent(
        self: &Arc<Self>,
        by: &Actor,
        id: ConsentId,
        trial: Trial,
    ) -> Result<Rehearsal, ConsentError> {
        let groups = self.control.groups().await?;
        let it = self.seen_agreement(by, id, &groups).await?;
        let officers = self.control.officers(&it.grantor).await?;
        let officer = by.role == Role::DataOfficer && by.firm.as_ref() == Some(&it.grantor);
        if !officer || officers.standing(by.person).is_none() {
            return Err(Refusal::NoSay.into());
        }
        let terms = it.proposal.as_ref().map(|it| &it.terms).or(it.in_force.as_ref().map(|it| &it.terms));
        let terms = trial.terms.as_ref().or(terms).ok_or(ConsentError::NoPage)?.clone();
        let faults = terms.own_faults();
        if !faults.is_empty() {
            return Err(Refusal::Faults(faults).into());
        }
        if trial.from_us >= trial.to_us || trial.to_us.saturating_sub(trial.from_us) > MAX_RANGE_US {
            return Err(ConsentError::Trial("a dry run is of a range of 366 days at most, and `from` is before `to`"));
        }
        let first = terms.agreed.as_ref().and_then(|agreed| agreed.purposes.first().copied());
        let trial = Trial { purpose: trial.purpose.or(first), ..trial };
        let grantee = match &it.grantee {
            Grantee::Firm(firm) => firm.clone(),
            Grantee::Group { group, roster } => {
                let group = groups.get(group).ok_or_else(|| ConsentError::NoSuchGroup(group.clone()))?;
                let firms = group.rosters.get(roster).into_iter().flatten();
                let mut reached = firms.filter(|firm| group.reaches(*roster, firm) && **firm != it.grantor);
                reached.next().cloned().ok_or(ConsentError::Trial("the group has no firm that would see anything"))?
            }
        };
        let entry = Draft::new(Chain::Firm(it.grantor.clone()), Kind::ConsentRehearsed, &by.to_string())
            .with("consent", id.to_string())
            .with("grantee", grantee.as_str())
            .with("from", rfc3339(trial.from_us))
            .with("to", rfc3339(trial.to_us));
        self.control.append(entry, self.now_us()).await?;
        self.rehearsed(&it, terms, grantee, trial).await
    }

    async fn rehearsed(
        self: &Arc<Self>,
        it: &Agreement,
        mut terms: Terms,
        grantee: FirmId,
        trial: Trial,
    ) -> Result<Rehearsal, ConsentError> {
        let slot = ReadSlot::take(self, &it.grantor)?;
        let now_us = self.now_us();
        // It is tried as if it held already.
        terms.access.not_before_us = terms.access.not_before_us.min(now_us);
        let mark = Mark { at_us: now_us, commit: self.newest_commit(&it.grantor).await? };
        let snapshot = self.decided_on(&it.grantor).await?;
        let draft = Grant {
            id: it.id,
            grantee: it.grantee.clone(),
            status: Status::Active,
            terms: StoredTerms::Known(terms.clone()),
            mark: Some(mark),
        };
        let mut all = self.readings.series(&it.grantor).await?;
        all.retain(|info| terms.names(&info.key));
        let there = |wanted: &dyn Fn(&SeriesKey) -> bool| all.iter().any(|info| wanted(&info.key));
        let assets_without_series =
            terms.assets.iter().filter(|asset| !there(&|key| key.asset == **asset)).cloned().collect();
        let metrics_without_series =
            terms.metrics.iter().filter(|metric| !there(&|key| key.metric == **metric)).cloned().collect();
        let not_looked_at = all.len().saturating_sub(MAX_SERIES);
        all.truncate(MAX_SERIES);
        let mut series = Vec::with_capacity(all.len());
        let mut left = MAX_ALL_ROWS;
        for info in all {
            let request = request(&terms, it.id, &grantee, &info.key, &trial);
            let one = self.rehearse_one(&slot, (&snapshot, &draft, now_us), info, request, left.min(MAX_ROWS)).await?;
            left -= one.rows;
            series.push(one);
        }
        Ok(Rehearsal { grantee, trial, series, not_looked_at, assets_without_series, metrics_without_series })
    }

    async fn rehearse_one(
        &self,
        slot: &ReadSlot,
        (snapshot, draft, now_us): (&Snapshot, &Grant, i64),
        info: SeriesInfo,
        request: Request,
        most: usize,
    ) -> Result<Rehearsed, ConsentError> {
        let decided = consent::rehearse(snapshot, draft, &request, snapshot.grantor(), now_us);
        let none = match request.form {
            Form::Raw => Rows::Raw(Vec::new()),
            Form::Bucketed { .. } => Rows::Buckets(Vec::new()),
        };
        let mut it = Rehearsed {
            info,
            functions: request.functions.clone(),
            ranges: Vec::new(),
            rows: 0,
            more: false,
            examples: none,
            reasons: Vec::new(),
        };
        let permits = match decided {
            Some(Ok(Decision { permits, .. })) => permits,
            Some(Err(denial)) => {
                it.reasons = denial.reasons.into_iter().map(|reason| reason.why).collect();
                return Ok(it);
            }
            None => return Err(Refusal::NoSay.into()),
        };
        it.ranges = permits.iter().map(|permit| (permit.from_us(), permit.to_us())).collect();
        for permit in &permits {
            let mut at: Option<ReadCursor> = None;
            loop {
                if it.rows >= most {
                    it.more = true;
                    return Ok(it);
                }
                let _turn = slot.turn().await;
                let chunk = self.readings.read(permit, at.take(), most - it.rows).await.map_err(AccessError::from)?;
                let (through, next) = (permit.through_commit(), chunk.next);
                it.take(chunk.rows, through);
                match next {
                    Some(next) => at = Some(next),
                    None => break,
                }
            }
        }
        Ok(it)
    }

    /// The newest commit of a firm's readings; 0 where there is none.
    pub(super) async fn newest_commit(&self, firm: &FirmId) -> Result<u64, ConsentError> {
        let Some(info) = self.readings.series(firm).await?.into_iter().next() else { return Ok(0) };
        let now_us = self.now_us();
        let request = Request {
            asker: firm.clone(),
            series: info.key,
            form: Form::Raw,
            functions: BTreeSet::new(),
            from_us: now_us.saturating_sub(1),
            to_us: now_us,
            manner: Manner::default(),
        };
        let own = Snapshot::of(firm.clone(), 0, Vec::new(), consent::Rules::default());
        let Ok(decision) = consent::decide(&own, &request, now_us) else { return Ok(0) };
        let Some(permit) = decision.permits.first() else { return Ok(0) };
        let chunk = self.readings.read(permit, None, 1).await?;
        Ok(u64::try_from(chunk.as_of).unwrap_or(0))
    }
}

impl Rehearsed {
    fn take(&mut self, rows: Rows, through: Option<u64>) {
        let kept =
            |row: &StoredReading| through.is_none_or(|through| u64::try_from(row.commit).is_ok_and(|it| it <= through));
        match (rows, &mut self.examples) {
            (Rows::Raw(rows), Rows::Raw(examples)) => {
                let rows: Vec<StoredReading> = rows.into_iter().filter(kept).collect();
                self.rows += rows.len();
                let room = MAX_EXAMPLES.saturating_sub(examples.len());
                examples.extend(rows.into_iter().take(room));
            }
            (Rows::Buckets(rows), Rows::Buckets(examples)) => {
                self.rows += rows.len();
                let room = MAX_EXAMPLES.saturating_sub(examples.len());
                examples.extend(rows.into_iter().take(room).collect::<Vec<Bucket>>());
            }
            // The store answers in the form that it is asked in.
            _ => {}
        }
    }
}

/// The finest that the terms let somebody ask.
fn request(terms: &Terms, id: ConsentId, asker: &FirmId, series: &SeriesKey, trial: &Trial) -> Request {
    let (form, functions) = match &terms.form {
        SharedForm::Bucketed { floor_us, functions } => (Form::buckets(*floor_us), functions.clone()),
        SharedForm::Raw | SharedForm::Benchmark => (Form::Raw, BTreeSet::new()),
    };
    let address = match terms.identity() {
        Identity::Named => Address::Name,
        Identity::Pseudonym => Address::Pseudonym(id),
    };
    let holds = Holds { commits: true, quotas: true };
    Request {
        asker: asker.clone(),
        series: series.clone(),
        form,
        functions,
        from_us: trial.from_us,
        to_us: trial.to_us,
        manner: Manner { purpose: trial.purpose, address, holds },
    }
}
