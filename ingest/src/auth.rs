//! Who calls: random tokens, shown once, stored as SHA-256.
//!
//! It promises that a token's text is in no log, no `Debug` and no store, and that
//! each kind of token opens only its own door. It must not know what the caller may
//! then do; that is consent's.

mod key;
pub mod route;
mod session;
mod token;

use std::sync::Arc;

use sandan_proto::id::FirmId;

pub use self::key::KeyHash;
pub use self::session::{LINK_LIFE_US, Sessions};
pub use self::token::{Secret, TokenHash, TokenKind};
use crate::id::{MemberId, OperatorId};
use crate::store::control::Control;
/// Why a token could not be looked up.
pub use crate::store::control::ControlError as LookupError;

/// Whom a token belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A person or program that reads for a firm.
    Member(Member),
    /// A person at the console.
    Operator(OperatorId),
}

/// Someone who reads for a firm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub id: MemberId,
    /// For which firm.
    pub firm: FirmId,
    /// For people.
    pub name: String,
}

impl Member {
    /// As the audit log names them.
    pub fn actor(&self) -> String {
        format!("member {} of {}", self.id, self.firm)
    }
}

/// Looks tokens up.
#[derive(Clone)]
pub struct Auth {
    control: Arc<dyn Control>,
}

impl Auth {
    /// Over the store's control data.
    pub fn new(control: Arc<dyn Control>) -> Self {
        Self { control }
    }

    async fn principal(&self, kind: TokenKind, bearer: &str) -> Result<Option<Principal>, LookupError> {
        if !kind.shapes(bearer) {
            return Ok(None);
        }
        let hash = TokenHash::of(bearer);
        let found = self.control.principal(&hash).await?;
        // The index found it by equality already; the comparison that counts takes the same time wherever it differs.
        Ok(found.filter(|(stored, _)| stored.matches(&hash)).map(|(_, principal)| principal))
    }

    /// The member that `bearer` belongs to.
    pub async fn member(&self, bearer: &str) -> Result<Option<Member>, LookupError> {
        Ok(match self.principal(TokenKind::Member, bearer).await? {
            Some(Principal::Member(member)) => Some(member),
            _ => None,
        })
    }

    /// The operator that `bearer` belongs to.
    pub async fn operator(&self, bearer: &str) -> Result<Option<OperatorId>, LookupError> {
        Ok(match self.principal(TokenKind::Operator, bearer).await? {
            Some(Principal::Operator(id)) => Some(id),
            _ => None,
        })
    }

    /// Whether an operator's token was not revoked since they signed in, by whichever process.
    pub async fn is_operator(&self, operator: OperatorId) -> Result<bool, LookupError> {
        self.control.is_operator(operator).await
    }
}
