//! A firm's runs: lots and charges, as its own people note them, or as a tag of the machine says.

use std::sync::Arc;

use sandan_proto::id::{AssetId, FirmId, MetricId, SeriesKey};
use sandan_proto::reading::Value;

use super::{Access, AccessError, GapMark, Reader, Rows};
use crate::auth::Member;
use crate::consent::{Form, LotRun, Manner, Request, Run, TagRuns};
use crate::store::control::SharingChange;
pub use crate::store::control::{RunEntry, RunPlace};
use crate::time::DAY_US;

/// Most runs of one page, and of one request.
pub const MAX_RUNS: usize = 1_000;
/// The longest time that a tag is looked at once.
pub const MAX_TAG_US: i64 = 31 * DAY_US;

/// Runs that a tag of a machine tells.
#[derive(Debug, Clone)]
pub struct Tag {
    /// The machine, of which also the tag is.
    pub asset: AssetId,
    /// Names the lot while it runs: a text, a whole number or a state. Empty, 0 and false: none.
    pub metric: MetricId,
    /// First time, µs since 1970.
    pub from_us: i64,
    /// The first that is not looked at any more, µs since 1970.
    pub to_us: i64,
    /// Whose order it is.
    pub customer: Customer,
}

/// Whose order a run of a tag is.
#[derive(Debug, Clone)]
pub enum Customer {
    /// Always the same one's.
    Named(String),
    /// Whom a further text of the machine names when the run begins; where it names nobody, the
    /// run is left out.
    Told(MetricId),
}

impl Access {
    /// The own firm's runs, of a machine or of all, that lie at least partly in [from, to), µs
    /// since 1970, by machine and beginning. One that goes on has no end.
    pub async fn runs(
        &self,
        firm: &FirmId,
        asset: Option<&AssetId>,
        (from_us, to_us): (i64, i64),
        after: Option<&RunPlace>,
        limit: usize,
    ) -> Result<Vec<RunEntry>, AccessError> {
        Ok(self.control.runs(firm, asset, from_us, to_us, after, limit.min(MAX_RUNS)).await?)
    }

    /// Notes runs of the own firm, all or none: new ones, the end of one, and what is corrected. Sent
    /// again they change nothing. When this returns, nobody reads under what they were before.
    pub async fn put_runs(&self, by: &Member, runs: Vec<RunEntry>) -> Result<(), AccessError> {
        if runs.is_empty() {
            return Ok(());
        }
        let change = SharingChange::PutRuns { firm: by.firm.clone(), runs };
        Ok(self.apply(change.into(), &by.actor()).await?)
    }

    /// Notes the runs that a tag tells, and gives those that are new or have ended. What was noted
    /// before stays as it is, so that what people corrected is not undone.
    pub async fn take_runs(self: &Arc<Self>, by: &Member, tag: Tag) -> Result<Vec<RunEntry>, AccessError> {
        let gaps = self.tag(by, &tag, &tag.metric, |_, _| {}).await?;
        let (mut told, mut gaps) = (TagRuns::default(), gaps.into_iter().peekable());
        self.tag(by, &tag, &tag.metric, |time_us, value| {
            while let Some(gap) = gaps.next_if(|gap| gap.from_us < time_us) {
                told.push(gap.from_us, None);
            }
            told.push(time_us, value.and_then(lot).as_deref());
        })
        .await?;
        for gap in gaps {
            told.push(gap.from_us, None);
        }
        let runs = told.runs();
        let mut customers = vec![None; runs.len()];
        match &tag.customer {
            Customer::Named(name) => customers.fill(Some(name.clone())),
            Customer::Told(metric) => {
                let mut at = 0;
                let mut named: Option<String> = None;
                self.tag(by, &tag, metric, |time_us, value| {
                    while runs.get(at).is_some_and(|run| run.from_us < time_us) {
                        customers[at].clone_from(&named);
                        at += 1;
                    }
                    named = value.and_then(lot);
                })
                .await?;
                customers[at..].fill(named);
            }
        }
        let now_us = self.now_us();
        let mut fresh = Vec::new();
        for (it, customer) in runs.into_iter().zip(customers) {
            let Some(customer) = customer else { continue };
            let LotRun { from_us, to_us, .. } = it;
            let entry = RunEntry { id: it.id(), run: Run { asset: tag.asset.clone(), customer, from_us, to_us } };
            if entry.run.fault(&entry.id, now_us).is_none()
                && fresh.len() < MAX_RUNS
                && self.is_news(by, &entry).await?
            {
                fresh.push(entry);
            }
        }
        self.put_runs(by, fresh.clone()).await?;
        Ok(fresh)
    }

    /// Whether a run is not noted yet, or goes on as noted and has ended.
    async fn is_news(&self, by: &Member, entry: &RunEntry) -> Result<bool, AccessError> {
        let noted = self.control.run(&by.firm, &entry.run.asset, &entry.id).await?;
        Ok(noted.is_none_or(|noted| {
            noted.to_us.is_none() && entry.run.to_us.is_some() && Run { to_us: None, ..entry.run.clone() } == noted
        }))
    }

    /// Every reading of one of the machine's signals, and what is declared missing among them.
    async fn tag(
        self: &Arc<Self>,
        by: &Member,
        tag: &Tag,
        metric: &MetricId,
        mut see: impl FnMut(i64, Option<&Value>) + Send,
    ) -> Result<Vec<GapMark>, AccessError> {
        let series = SeriesKey { firm: by.firm.clone(), asset: tag.asset.clone(), metric: metric.clone() };
        let request = Request {
            asker: by.firm.clone(),
            series,
            form: Form::Raw,
            functions: std::collections::BTreeSet::new(),
            from_us: tag.from_us,
            to_us: tag.to_us,
            manner: Manner::default(),
        };
        let mut reader: Reader = self.read(by, request, None).await?;
        while let Some(rows) = reader.next(usize::MAX).await? {
            if let Rows::Raw(rows) = rows {
                for row in &rows {
                    see(row.time_us, row.value.as_ref());
                }
            }
        }
        Ok(reader.gaps().iter().cloned().collect())
    }
}

/// The lot that a value names.
fn lot(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::I64(number) => (*number != 0).then(|| number.to_string()),
        Value::F64(number) => (*number != 0.0 && number.is_finite()).then(|| number.to_string()),
        Value::Bool(runs) => runs.then(|| "run".to_owned()),
    }
}

#[cfg(test)]
mod tests;
