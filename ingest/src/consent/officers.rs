//! The data officers of one firm: who may approve for it.
//!
//! Whoever mints or resets an officer could otherwise approve in the firm's name. So an
//! officer who was minted or reset waits, and approves nothing, until another officer of the
//! firm who does not wait confirms it. The first one of a firm comes by a one-off link.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::roles::{Actor, Role};
use crate::id::PersonId;

/// How an officer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Approves.
    Confirmed,
    /// Approves nothing until another officer confirms it.
    Waiting {
        /// Since when, µs since 1970.
        since_us: i64,
    },
}

/// The officers of one firm.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Officers {
    people: BTreeMap<PersonId, Standing>,
}

/// What is done to an officer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OfficerDeed {
    /// The one-off link of the firm's first officer was used by this person.
    First(PersonId),
    /// A further officer.
    Mint(PersonId),
    /// An officer who lost the means to sign in gets new ones.
    Reset(PersonId),
    /// Another officer vouches for one who waits.
    Confirm(PersonId),
    /// An officer no more.
    Remove(PersonId),
}

/// What came of it: an entry of the firm's own log each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfficerEvent {
    /// The firm has its first officer.
    First,
    /// As first, where there was none left: every consent of the firm that is in force is to be
    /// suspended until the new officer resumes it, who cannot know what the old ones decided.
    FirstAgain,
    /// One more, who waits.
    Minted,
    /// New means, and waits.
    Reset,
    /// Waits no more.
    Confirmed,
    /// One less.
    Removed,
}

/// Why nothing was done to an officer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OfficerRefusal {
    /// Not an officer who does not wait, nor whoever may mint.
    #[error("this is for an officer of the firm who is confirmed, or to mint and reset for the alliance")]
    NoSay,
    /// The firm has an officer who can mint the next.
    #[error("the firm has an officer already, who can mint further ones")]
    NotFirst,
    /// There is no such officer.
    #[error("there is no such officer")]
    Unknown,
    /// That person is an officer.
    #[error("that person is an officer already")]
    Exists,
    /// Nobody confirms oneself.
    #[error("an officer is confirmed by another one")]
    Oneself,
    /// There is nothing to confirm.
    #[error("the officer does not wait to be confirmed")]
    NotWaiting,
    /// The firm would be without an officer.
    #[error("the firm's last confirmed officer stays; mint and confirm another first")]
    Last,
}

impl Officers {
    /// Of these standings.
    pub fn new(people: impl IntoIterator<Item = (PersonId, Standing)>) -> Self {
        Self { people: people.into_iter().collect() }
    }

    /// How a person stands; none who is no officer.
    pub fn standing(&self, person: PersonId) -> Option<Standing> {
        self.people.get(&person).copied()
    }

    /// Whether a person approves.
    pub fn approves(&self, person: PersonId) -> bool {
        self.standing(person) == Some(Standing::Confirmed)
    }

    /// How many approve.
    pub fn approving(&self) -> usize {
        self.people.values().filter(|it| **it == Standing::Confirmed).count()
    }

    /// The same after the means of one to sign in were taken away: until another officer confirms
    /// it, it approves nothing.
    #[must_use]
    pub fn without_means(&self, person: PersonId, now_us: i64) -> Self {
        let mut after = self.clone();
        if let Some(standing @ Standing::Confirmed) = after.people.get_mut(&person) {
            *standing = Standing::Waiting { since_us: now_us };
        }
        after
    }

    /// Every officer and how it stands.
    pub fn iter(&self) -> impl Iterator<Item = (PersonId, Standing)> {
        self.people.iter().map(|(person, standing)| (*person, *standing))
    }

    /// The officers after a deed, and what it was. `by` is an officer of this firm, or whoever
    /// runs the alliance.
    pub fn after(&self, deed: OfficerDeed, by: &Actor, now_us: i64) -> Result<(Self, OfficerEvent), OfficerRefusal> {
        let mut after = self.clone();
        let officer = by.role == Role::DataOfficer && self.approves(by.person);
        let alliance = by.role == Role::AllianceAdministrator;
        let waiting = Standing::Waiting { since_us: now_us };
        let event = match deed {
            OfficerDeed::First(person) => {
                // Whoever holds the link is nobody yet: it is the link that speaks.
                if self.approving() > 0 {
                    return Err(OfficerRefusal::NotFirst);
                }
                let again = !self.people.is_empty();
                after.people.insert(person, Standing::Confirmed);
                if again { OfficerEvent::FirstAgain } else { OfficerEvent::First }
            }
            OfficerDeed::Mint(_) | OfficerDeed::Reset(_) if !officer && !alliance => return Err(OfficerRefusal::NoSay),
            OfficerDeed::Mint(person) => {
                if after.people.insert(person, waiting).is_some() {
                    return Err(OfficerRefusal::Exists);
                }
                OfficerEvent::Minted
            }
            OfficerDeed::Reset(person) => {
                *after.people.get_mut(&person).ok_or(OfficerRefusal::Unknown)? = waiting;
                OfficerEvent::Reset
            }
            OfficerDeed::Confirm(_) | OfficerDeed::Remove(_) if !officer => return Err(OfficerRefusal::NoSay),
            OfficerDeed::Confirm(person) => {
                if person == by.person {
                    return Err(OfficerRefusal::Oneself);
                }
                let standing = after.people.get_mut(&person).ok_or(OfficerRefusal::Unknown)?;
                if *standing == Standing::Confirmed {
                    return Err(OfficerRefusal::NotWaiting);
                }
                *standing = Standing::Confirmed;
                OfficerEvent::Confirmed
            }
            OfficerDeed::Remove(person) => {
                after.people.remove(&person).ok_or(OfficerRefusal::Unknown)?;
                if after.approving() == 0 {
                    return Err(OfficerRefusal::Last);
                }
                OfficerEvent::Removed
            }
        };
        Ok((after, event))
    }
}
