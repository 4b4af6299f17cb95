//! Dead letters from the host: counts, reasons and what becomes of them, never a value.

use sandan_proto::id::{FirmId, GatewayId};
use serde::{Deserialize, Serialize};

use super::{ACTOR, Admin, Answer, Refused, missing};
use crate::access::{AccessError, Choice, DeadRecord, Deed, Handled, parse_reason, reason_word};

/// Which dead records of a firm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// Whose.
    pub firm: FirmId,
    /// By number; empty: all.
    pub ids: Vec<i64>,
    /// Of one gateway.
    pub gateway: Option<GatewayId>,
    /// With a letter of this reason, in a word.
    pub reason: Option<String>,
    /// Behind this number.
    pub after: i64,
}

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Line {
    pub id: i64,
    pub gateway: GatewayId,
    /// µs since 1970.
    pub received_us: i64,
    pub reasons: Vec<String>,
    pub readings: u64,
    pub bytes: u64,
    /// Of the first letter. Never a value.
    pub detail: String,
}

/// What came of a retry or of a discarding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Outcome {
    pub records: usize,
    pub stored_readings: u64,
    pub discarded_readings: u64,
    pub kept_records: usize,
}

impl Chosen {
    fn choice(&self) -> Result<Choice, Refused> {
        let reason = match &self.reason {
            None => None,
            Some(word) => Some(parse_reason(word).ok_or_else(|| {
                Refused::new(&format!("there is no reason `{word}`"), "`dead-letter list` shows those that there are")
            })?),
        };
        Ok(Choice { ids: self.ids.clone(), gateway: self.gateway.clone(), reason })
    }
}

impl From<DeadRecord> for Line {
    fn from(record: DeadRecord) -> Self {
        let mut reasons: Vec<_> = record.letters.iter().map(|(letter, _)| reason_word(letter.reason)).collect();
        reasons.sort();
        reasons.dedup();
        Self {
            id: record.id,
            gateway: record.gateway,
            received_us: record.received_us,
            reasons,
            readings: record.letters.iter().filter_map(|(letter, _)| letter.readings).sum(),
            bytes: record.bytes,
            detail: record.letters.first().map(|(letter, _)| letter.detail.clone()).unwrap_or_default(),
        }
    }
}

impl From<AccessError> for Refused {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Store(error) => error.into(),
            AccessError::Control(error) => error.into(),
            other => Self::new(&other, ""),
        }
    }
}

impl Admin {
    /// One page; empty at the end.
    pub(super) async fn dead_letters(&self, chosen: &Chosen) -> Result<Answer, Refused> {
        self.known(&chosen.firm).await?;
        let records = self.access.dead_letters_of(&chosen.firm, &chosen.choice()?, chosen.after).await?;
        Ok(Answer::DeadLetters(records.into_iter().map(Line::from).collect()))
    }

    /// Everything that was chosen, piece by piece.
    pub(super) async fn handle_dead(&self, chosen: &Chosen, deed: Deed) -> Result<Answer, Refused> {
        self.known(&chosen.firm).await?;
        let choice = chosen.choice()?;
        let mut sum = Handled::default();
        let mut after = Some(chosen.after);
        while let Some(from) = after {
            let done = self.access.handle_dead_as(ACTOR, &chosen.firm, &choice, from, deed).await?;
            sum.records += done.records;
            sum.stored = sum.stored.saturating_add(done.stored);
            sum.discarded = sum.discarded.saturating_add(done.discarded);
            sum.kept += done.kept;
            after = done.next;
        }
        Ok(Answer::DeadLettersHandled(Outcome {
            records: sum.records,
            stored_readings: sum.stored,
            discarded_readings: sum.discarded,
            kept_records: sum.kept,
        }))
    }

    pub(super) async fn known(&self, firm: &FirmId) -> Result<(), Refused> {
        let known = self.control.firms().await?.iter().any(|it| it.id == *firm);
        if known { Ok(()) } else { Err(missing("firm", firm)) }
    }
}
