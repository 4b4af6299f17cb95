//! All that a firm has, for whoever has a shell on the host to hand to the firm.
//!
//! It promises pages of one state, whatever comes meanwhile, and that the firm's log says so before the first of them.

use std::sync::Arc;

use sandan_proto::id::FirmId;

use super::{Access, AccessError, GapFact, ReadCursor, ReadSlot, Rows, SeriesInfo, StoredReading};
use crate::audit::{Chain, Draft, Kind};
use crate::consent::{self, Form, Manner, Permit, Request};
use crate::time::rfc3339;

/// Most readings of one page: about 1 MiB as text.
const PAGE: usize = 10_000;
/// Most gaps, which are held at once: about 10 MiB. A firm that loses something every hour has so many in eleven years.
const MAX_GAPS: usize = 100_000;

/// A firm's series, gaps and readings of one state.
pub struct FirmExport {
    slot: ReadSlot,
    firm: FirmId,
    /// Observation times, µs since 1970, half-open.
    range: (i64, i64),
    series: Vec<SeriesInfo>,
    /// Index of the series that is being read.
    at: usize,
    /// What allows it, and where it goes on; none before its first page.
    begun: Option<(Permit, ReadCursor)>,
    as_of: Option<i64>,
}

impl Access {
    /// Writes the firm's log, and gives what is to be read of the firm.
    pub async fn export_firm(
        self: &Arc<Self>,
        actor: &str,
        firm: &FirmId,
        (from_us, to_us): (i64, i64),
    ) -> Result<FirmExport, AccessError> {
        let slot = ReadSlot::take(self, firm)?;
        let draft = Draft::new(Chain::Firm(firm.clone()), Kind::FirmExported, actor)
            .with("from", rfc3339(from_us))
            .with("to", rfc3339(to_us));
        // No log, no export.
        self.control.append(draft, self.now_us()).await?;
        let series = self.readings.series(firm).await?;
        Ok(FirmExport { slot, firm: firm.clone(), range: (from_us, to_us), series, at: 0, begun: None, as_of: None })
    }
}

impl FirmExport {
    /// Every series of the firm, also those without a reading in the range.
    pub fn series(&self) -> &[SeriesInfo] {
        &self.series
    }

    /// The firm's commit up to which is read; none before the first page.
    pub fn as_of(&self) -> Option<i64> {
        self.as_of
    }

    /// What is declared gone in the range, newest first, and whether that is all of it.
    pub async fn gaps(&self) -> Result<(Vec<GapFact>, bool), AccessError> {
        let _turn = self.slot.turn().await;
        let mut gaps = self.slot.access.readings.gaps(&self.firm, MAX_GAPS).await?;
        let all = gaps.len() < MAX_GAPS;
        let (from_us, to_us) = self.range;
        gaps.retain(|gap| gap.from_us.is_none_or(|it| it < to_us) && gap.to_us.is_none_or(|it| it >= from_us));
        Ok((gaps, all))
    }

    /// The next readings, of one series and in order of time; none at the end.
    pub async fn next(&mut self) -> Result<Option<(&SeriesInfo, Vec<StoredReading>)>, AccessError> {
        while let Some(info) = self.series.get(self.at) {
            let (permit, cursor) = match self.begun.take() {
                Some((permit, cursor)) => (permit, Some(cursor)),
                None => (self.permit(info).await?, None),
            };
            let begin = || ReadCursor::new(0, permit.from_us(), 0);
            let cursor = match self.as_of {
                Some(commit) => Some(cursor.unwrap_or_else(begin).as_of(commit)),
                None => cursor,
            };
            let chunk = {
                let _turn = self.slot.turn().await;
                self.slot.access.readings.read(&permit, cursor, PAGE).await?
            };
            self.as_of = Some(self.as_of.unwrap_or(chunk.as_of));
            let read = self.at;
            match chunk.next {
                Some(next) => self.begun = Some((permit, next)),
                None => self.at += 1,
            }
            if let Rows::Raw(rows) = chunk.rows
                && !rows.is_empty()
            {
                return Ok(Some((&self.series[read], rows)));
            }
        }
        Ok(None)
    }

    /// Whether every series still is what it was called: one that has got another unit, or went,
    /// may have done so amid its pages.
    pub async fn is_sound(&self) -> Result<bool, AccessError> {
        let now = self.slot.access.readings.series(&self.firm).await?;
        let same = |info: &SeriesInfo| now.iter().any(|it| it.key == info.key && it.unit == info.unit);
        Ok(self.series.iter().all(same))
    }

    async fn permit(&self, info: &SeriesInfo) -> Result<Permit, AccessError> {
        let (from_us, to_us) = self.range;
        let request = Request {
            asker: self.firm.clone(),
            series: info.key.clone(),
            form: Form::Raw,
            functions: [].into(),
            from_us,
            to_us,
            manner: Manner::default(),
        };
        let access = &self.slot.access;
        let now_us = access.now_us();
        let snapshot = access.control.snapshot(&self.firm, now_us).await?;
        let decision = consent::decide(&snapshot, &request, now_us);
        decision.ok().and_then(|decision| decision.permits.into_iter().next()).ok_or(AccessError::NotFound)
    }
}
