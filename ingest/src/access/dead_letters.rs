//! What was put aside of a firm: seen, exported, tried again and discarded by its own
//! members. Whoever has a shell on the host may do the same but for the export.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::try_join_all;
use sandan_proto::id::{FirmId, GatewayId};

use super::{Access, AccessError, ReadSlot};
use crate::audit::{Chain, Draft, Kind};
use crate::auth::Member;
use crate::store::dead_letters::word;
use crate::store::{Choice, DeadContent, DeadLetterCount, DeadRecord};

/// Most dead records of one page, and of one request that acts on them.
pub const MAX_DEAD_RECORDS: usize = 200;
/// Records that are acted on at once, so that they share a commit.
const AT_ONCE: usize = 16;

/// What is done with dead records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Decide on them again, and store what may be stored.
    Retry,
    /// Delete their bytes; they stay counted.
    Discard,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Handled {
    /// Records that were acted on.
    pub records: usize,
    /// Readings that are stored now.
    pub stored: u64,
    /// Readings that were discarded.
    pub discarded: u64,
    /// Records of which something stays put aside.
    pub kept: usize,
    /// To go on behind, where there may be more.
    pub next: Option<i64>,
}

/// The dead records of a firm, one after the other, with their readings.
pub struct DeadExport {
    slot: ReadSlot,
    asker: Member,
    choice: Choice,
    after: i64,
    /// Numbers that come next.
    ids: std::vec::IntoIter<i64>,
}

impl Access {
    /// A page of a firm's dead records, in the order of their numbers.
    pub async fn dead_letters(
        self: &Arc<Self>,
        asker: &Member,
        firm: &FirmId,
        choice: &Choice,
        after: i64,
        limit: usize,
    ) -> Result<Vec<DeadRecord>, AccessError> {
        own(asker, firm)?;
        let slot = ReadSlot::take(self, firm)?;
        let _turn = slot.turn().await;
        Ok(self.readings.dead_records(firm, choice, after, limit.min(MAX_DEAD_RECORDS)).await?)
    }

    /// The same for whoever has a shell on the host. Never a value.
    pub async fn dead_letters_of(
        &self,
        firm: &FirmId,
        choice: &Choice,
        after: i64,
    ) -> Result<Vec<DeadRecord>, AccessError> {
        Ok(self.readings.dead_records(firm, choice, after, MAX_DEAD_RECORDS).await?)
    }

    /// Writes the firm's log, and gives the records of the choice with their readings.
    pub async fn export_dead(
        self: &Arc<Self>,
        asker: &Member,
        firm: &FirmId,
        choice: Choice,
    ) -> Result<DeadExport, AccessError> {
        own(asker, firm)?;
        let slot = ReadSlot::take(self, firm)?;
        let draft = Draft::new(Chain::Firm(firm.clone()), Kind::DeadLettersExported, &asker.actor());
        // No log, no export.
        self.control.append(described(draft, &choice), self.now_us()).await?;
        Ok(DeadExport { slot, asker: asker.clone(), choice, after: 0, ids: Vec::new().into_iter() })
    }

    /// Acts on the first records of a choice behind `after`, as a member of the firm.
    pub async fn handle_dead(
        self: &Arc<Self>,
        asker: &Member,
        firm: &FirmId,
        choice: &Choice,
        after: i64,
        deed: Deed,
    ) -> Result<Handled, AccessError> {
        own(asker, firm)?;
        let _slot = ReadSlot::take(self, firm)?;
        self.still_a_member(asker).await?;
        self.handle_dead_as(&asker.actor(), firm, choice, after, deed).await
    }

    /// The same for whoever has a shell on the host.
    pub async fn handle_dead_as(
        &self,
        actor: &str,
        firm: &FirmId,
        choice: &Choice,
        after: i64,
        deed: Deed,
    ) -> Result<Handled, AccessError> {
        let records = self.readings.dead_records(firm, choice, after, MAX_DEAD_RECORDS).await?;
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(Handled::default()) };
        let next = (records.len() == MAX_DEAD_RECORDS).then_some(last.id);
        let kind = match deed {
            Deed::Retry => Kind::DeadLettersRetried,
            Deed::Discard => Kind::DeadLettersDiscarded,
        };
        let count = i64::try_from(records.len()).unwrap_or(i64::MAX);
        let draft = Draft::new(Chain::Firm(firm.clone()), kind, actor)
            .with("records", count)
            .with("first", first.id)
            .with("last", last.id);
        // Before anything changes: what is done is in the log, whatever happens in between.
        self.control.append(described(draft, choice), self.now_us()).await?;
        let mut sum = Handled { next, ..Handled::default() };
        for records in records.chunks(AT_ONCE) {
            let mut acts = Vec::with_capacity(records.len());
            for record in records {
                acts.push(self.handle_one(firm, record.id, deed));
            }
            for one in try_join_all(acts).await? {
                sum.records += one.records;
                sum.stored = sum.stored.saturating_add(one.stored);
                sum.discarded = sum.discarded.saturating_add(one.discarded);
                sum.kept += one.kept;
            }
        }
        Ok(sum)
    }

    async fn handle_one(&self, firm: &FirmId, id: i64, deed: Deed) -> Result<Handled, AccessError> {
        Ok(match deed {
            // Somebody else was faster where it is not there any more.
            Deed::Retry => self.readings.retry_dead(firm, id).await?.map_or_else(Handled::default, |retried| Handled {
                records: 1,
                stored: retried.stored,
                kept: usize::from(!retried.letters.is_empty()),
                ..Handled::default()
            }),
            Deed::Discard => self.readings.discard_dead(firm, id).await?.map_or_else(Handled::default, |readings| {
                Handled { records: 1, discarded: readings, ..Handled::default() }
            }),
        })
    }

    /// Counts and reasons of every gateway, for operators. Never a value.
    pub async fn dead_totals(&self) -> Result<BTreeMap<GatewayId, Vec<DeadLetterCount>>, AccessError> {
        Ok(self.readings.dead_totals().await?)
    }
}

impl DeadExport {
    /// Fails unless who asked is a member still. To be asked before each piece of a record is
    /// handed on: a record is large, and whoever takes it slowly may be revoked meanwhile.
    pub async fn check(&self) -> Result<(), AccessError> {
        // A revocation that is under way is waited for.
        let _unchanged = self.slot.access.consents.read().await;
        self.slot.access.still_a_member(&self.asker).await
    }

    /// The next record; none at the end. It is not checked who asks.
    pub async fn next(&mut self) -> Result<Option<DeadContent>, AccessError> {
        let access = self.slot.access.clone();
        let firm = self.slot.firm.clone();
        loop {
            let _turn = self.slot.turn().await;
            let Some(id) = self.ids.next() else {
                if !self.choice.ids.is_empty() && self.after > 0 {
                    return Ok(None);
                }
                let page = access.readings.dead_records(&firm, &self.choice, self.after, MAX_DEAD_RECORDS).await?;
                let Some(last) = page.last() else { return Ok(None) };
                self.after = last.id;
                self.ids = page.iter().map(|record| record.id).collect::<Vec<_>>().into_iter();
                continue;
            };
            // One that was discarded meanwhile is passed over.
            if let Some(content) = access.readings.dead_content(&firm, id).await? {
                return Ok(Some(content));
            }
        }
    }
}

fn own(asker: &Member, firm: &FirmId) -> Result<(), AccessError> {
    // The same answer whether or not there is such a firm.
    if asker.firm == *firm { Ok(()) } else { Err(AccessError::OtherFirm) }
}

fn described(mut draft: Draft, choice: &Choice) -> Draft {
    if let Some(gateway) = &choice.gateway {
        draft = draft.with("gateway", gateway.as_str());
    }
    if let Some(reason) = choice.reason {
        draft = draft.with("reason", word(reason));
    }
    if !choice.ids.is_empty() {
        draft = draft.with("ids", choice.ids.iter().map(ToString::to_string).collect::<Vec<_>>());
    }
    draft
}
