//! What has to be remembered of alerts: short texts under names, whose form is that of
//! `crate::alert` alone.

use async_trait::async_trait;

use super::ControlError;
use crate::audit::Draft;

/// Texts by name; none takes the name away.
pub type AlertRows = Vec<(String, Option<String>)>;

/// The part of the control data that alerts stand in.
#[async_trait]
pub trait Alerting: Send + Sync {
    /// All whose names begin so, which ends in `/`, in the order of their names.
    async fn alerting(&self, prefix: &str) -> Result<Vec<(String, String)>, ControlError>;
    /// Puts texts in the place of those of the same name, with entries of the audit log: all of it or nothing.
    async fn keep_alerting(&self, rows: AlertRows, drafts: Vec<Draft>, now_us: i64) -> Result<(), ControlError>;
}

/// The first name behind all that begin so.
pub(in crate::store) fn behind(prefix: &str) -> String {
    // `0` is what follows `/`.
    format!("{}0", prefix.trim_end_matches('/'))
}
