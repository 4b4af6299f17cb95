//! What is answered where a command is not carried out: what is wrong, and what to do.

use serde::{Deserialize, Serialize};

use crate::audit::Broken;
use crate::ca::CaError;
use crate::store::control::ControlError;
use crate::store::{BackupError, StoreError};
use crate::witness::WitnessError;

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// What is wrong.
    pub message: String,
    /// What to do; empty where there is nothing to say.
    pub hint: String,
}

impl Refused {
    /// With a hint.
    pub fn new(message: &(impl ToString + ?Sized), hint: &str) -> Self {
        Self { message: message.to_string(), hint: hint.to_owned() }
    }
}

impl From<ControlError> for Refused {
    fn from(error: ControlError) -> Self {
        let hint = match &error {
            ControlError::Missing { .. } => "`list` shows what there is",
            ControlError::Exists { kind: "gateway", .. } => {
                "a box that is enrolled renews by itself; --replace invites a new box in its place"
            }
            ControlError::NotSuspended { .. } => "there is nothing to confirm; `consent show` says how it stands",
            ControlError::Raced { .. } => "somebody else was faster; look at it and do it again where it still fits",
            ControlError::Unreadable { .. } => "a newer build may have written it; `check` looks at the store",
            ControlError::Exists { .. }
            | ControlError::Revoked { .. }
            | ControlError::Closed { .. }
            | ControlError::Spent => "",
            ControlError::Engine(source) => {
                return Self::new(&format!("{error}: {source}"), "`check` looks at the store");
            }
        };
        Self::new(&error, hint)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        Self::new(&format!("{error}{source}"), "`check` looks at the store")
    }
}

impl From<BackupError> for Refused {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Store(error) => error.into(),
            other => Self::new(&other, ""),
        }
    }
}

/// After a withdrawal that is done.
pub(super) fn behind(error: &WitnessError) -> Refused {
    let what = format!("it is withdrawn here, and {error}");
    let hint =
        "until the witness is written, a restore would bring back what was withdrawn; the service tries it every 10 s";
    Refused::new(&what, hint)
}

impl From<CaError> for Refused {
    fn from(error: CaError) -> Self {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        let hint = match error {
            CaError::NotOlder(_) => "`ca list` shows them; the newest one signs and stays",
            CaError::Outside => "put the new one first into its file and keep the old one behind it, then restart",
            _ => "",
        };
        Self::new(&format!("{error}{source}"), hint)
    }
}

impl From<getrandom::Error> for Refused {
    fn from(error: getrandom::Error) -> Self {
        Self::new(&format!("the system gives no randomness: {error}"), "")
    }
}

impl From<Broken> for Refused {
    fn from(broken: Broken) -> Self {
        Self::new(&broken, "somebody changed the log; compare it with an earlier `audit export`")
    }
}
