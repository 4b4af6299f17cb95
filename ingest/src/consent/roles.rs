//! Who acts, and in what capacity.

use std::fmt;

use sandan_proto::id::FirmId;
use serde::{Deserialize, Serialize};

use crate::id::PersonId;

/// What somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Decides for a firm who reads what.
    DataOfficer,
    /// Reads the own firm's data.
    FirmStaff,
    /// Sees one firm's links for a limited time.
    Installer,
    /// Reads for a firm, own data and what is shared with it, and asks for more.
    Member,
    /// Sees links and delays of the complex, never a value.
    Operator,
    /// Reads logs.
    Auditor,
    /// Runs groups and may suspend; never approves, widens or reads a value.
    AllianceAdministrator,
    /// A box. It has no say.
    Gateway,
}

impl Role {
    /// All of them, in the order of the tables.
    pub const ALL: [Role; 8] = [
        Role::DataOfficer,
        Role::FirmStaff,
        Role::Installer,
        Role::Member,
        Role::Operator,
        Role::Auditor,
        Role::AllianceAdministrator,
        Role::Gateway,
    ];

    /// From its word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// Its word in records and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::DataOfficer => "data_officer",
            Role::FirmStaff => "firm_staff",
            Role::Installer => "installer",
            Role::Member => "member",
            Role::Operator => "operator",
            Role::Auditor => "auditor",
            Role::AllianceAdministrator => "alliance_administrator",
            Role::Gateway => "gateway",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// The person, or the program that acts under a token.
    pub person: PersonId,
    /// In what capacity.
    pub role: Role,
    /// For which firm; none for those of the complex and the alliance.
    pub firm: Option<FirmId>,
}

impl fmt::Display for Actor {
    /// As the audit log names them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.firm {
            Some(firm) => write!(f, "{} {} of {firm}", self.role, self.person),
            None => write!(f, "{} {}", self.role, self.person),
        }
    }
}
