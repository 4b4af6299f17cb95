//! What runs over all that a firm has stored.

use sandan_proto::id::FirmId;
use serde::{Deserialize, Serialize};

use super::{ACTOR, Admin, Answer, Refused};
use crate::audit::{Chain, Draft, Kind};
use crate::store::{Pass, Retained};

/// What retention took of a firm, or would take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionLine {
    /// Whose.
    pub firm: FirmId,
    /// How much.
    #[serde(flatten)]
    pub gone: Retained,
}

impl Admin {
    /// One pass over a firm, or over all of them one after the other.
    pub(super) async fn retention(&self, firm: Option<FirmId>, pass: Pass) -> Result<Answer, Refused> {
        let firms = match firm {
            Some(firm) => {
                self.known(&firm).await?;
                vec![firm]
            }
            None => self.control.firms().await?.into_iter().map(|firm| firm.id).collect(),
        };
        let mut lines = Vec::new();
        for firm in firms {
            let gone = self.readings.retain(&firm, pass).await?;
            if pass == Pass::Apply && !gone.is_nothing() {
                let count = |number| i64::try_from(number).unwrap_or(i64::MAX);
                let entry = Draft::new(Chain::Firm(firm.clone()), Kind::RetentionApplied, ACTOR)
                    .with("readings", count(gone.readings))
                    .with("days", count(gone.days));
                self.control.append(entry, self.access.now_us()).await?;
            }
            lines.push(RetentionLine { firm, gone });
        }
        Ok(Answer::Retention(lines))
    }
}
