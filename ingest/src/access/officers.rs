//! The data officers of a firm: who they are, and how they come and go.

use sandan_proto::id::FirmId;

use super::Access;
use super::consents::ConsentError;
use crate::auth::{Secret, TokenHash, TokenKind};
use crate::consent::{Actor, OfficerDeed, Officers, Role, Standing, has_hidden};
use crate::id::{MemberId, PersonId};
use crate::store::control::{ControlError, Means, SharingChange};

/// Longest name of an officer, in characters: as of everybody else.
const MAX_NAME_CHARS: usize = 100;
/// How often a deed is decided again that raced with another.
const MAX_RACES: usize = 8;

/// An officer in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Officer {
    /// Who.
    pub person: PersonId,
    /// For people.
    pub name: String,
    /// Whether it approves, or waits for another to confirm it.
    pub standing: Standing,
}

/// What is done to an officer of one's own firm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfficerTask {
    /// A further one, of this name, who waits.
    Mint(String),
    /// New means to sign in for one, who waits then.
    Reset(PersonId),
    /// One vouches for another.
    Confirm(PersonId),
    /// An officer no more.
    Remove(PersonId),
}

/// What came of it.
#[derive(Debug)]
pub struct OfficerDone {
    /// To whom.
    pub person: PersonId,
    /// A new token, which is shown once; none where the means are as before.
    pub token: Option<Secret>,
    /// How the officer stands; none who is none any more.
    pub standing: Option<Standing>,
}

impl Access {
    /// The officers of one's own firm; of any, for the alliance.
    pub async fn officers(&self, by: &Actor, firm: Option<&FirmId>) -> Result<Vec<Officer>, ConsentError> {
        let firm = self.firm_of(by, firm, &[Role::DataOfficer, Role::FirmStaff, Role::Member]).await?;
        let officers = self.control.officers(&firm).await?;
        let members = self.control.members().await?;
        let named = |person: PersonId| {
            let id = MemberId::from(person);
            members.iter().find(|it| it.id == id).map(|it| it.name.clone()).unwrap_or_default()
        };
        Ok(officers.iter().map(|(person, standing)| Officer { person, name: named(person), standing }).collect())
    }

    /// Whose officers somebody deals with: a firm's own people with their own, the alliance with
    /// any that is named.
    async fn firm_of(&self, by: &Actor, named: Option<&FirmId>, roles: &[Role]) -> Result<FirmId, ConsentError> {
        match (&by.firm, named) {
            (Some(own), named) if roles.contains(&by.role) && named.is_none_or(|it| it == own) => Ok(own.clone()),
            (None, Some(firm)) if by.role == Role::AllianceAdministrator => {
                self.is_open(firm).await?;
                Ok(firm.clone())
            }
            _ => Err(ConsentError::NoSay),
        }
    }

    /// Carries a deed to an officer out. The firm's log holds it.
    pub async fn deal_with_officer(
        &self,
        by: &Actor,
        firm: Option<&FirmId>,
        deed: OfficerTask,
    ) -> Result<OfficerDone, ConsentError> {
        let firm = self.firm_of(by, firm, &[Role::DataOfficer]).await?;
        let token = match &deed {
            OfficerTask::Mint(_) | OfficerTask::Reset(_) => Some(minted()?),
            OfficerTask::Confirm(_) | OfficerTask::Remove(_) => None,
        };
        let hash = token.as_ref().map(Secret::hash);
        let (deed, means, person) = match (deed, hash) {
            (OfficerTask::Mint(name), Some(token)) => {
                let person = PersonId::from(MemberId::random());
                (OfficerDeed::Mint(person), Means::New { name: readable(name)?, token }, person)
            }
            (OfficerTask::Reset(person), Some(token)) => (OfficerDeed::Reset(person), Means::Token(token), person),
            (OfficerTask::Confirm(person), _) => (OfficerDeed::Confirm(person), Means::Unchanged, person),
            (OfficerTask::Remove(person), _) => (OfficerDeed::Remove(person), Means::Unchanged, person),
            // A token was minted for these above.
            (OfficerTask::Mint(_) | OfficerTask::Reset(_), None) => return Err(ConsentError::Busy),
        };
        let standing = self.decide_on_officer(by, firm, deed, means, person).await?.standing(person);
        Ok(OfficerDone { person, token, standing })
    }

    async fn decide_on_officer(
        &self,
        by: &Actor,
        firm: FirmId,
        deed: OfficerDeed,
        means: Means,
        person: PersonId,
    ) -> Result<Officers, ConsentError> {
        for _ in 0..MAX_RACES {
            let before = self.control.officers(&firm).await?;
            let (after, event) = before.after(deed, by, self.now_us())?;
            let officers = after.clone();
            let (firm, means) = (firm.clone(), means.clone());
            let change = SharingChange::Officer { firm, before, after, event, person, means };
            match self.apply(change.into(), &by.to_string()).await {
                Ok(()) => return Ok(officers),
                Err(ControlError::Raced { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ConsentError::Busy)
    }

    /// Uses a one-off link up: whoever holds it is the firm's first officer.
    pub async fn first_officer(&self, link: &str, name: String) -> Result<(FirmId, OfficerDone), ConsentError> {
        let name = readable(name)?;
        let hash = TokenHash::of(link);
        let known = self.control.officer_link(&hash).await?;
        let now_us = self.now_us();
        let good = known.filter(|it| it.used_us.is_none() && now_us < it.expires_us).ok_or(ConsentError::BadLink)?;
        let (token, person) = (minted()?, PersonId::from(MemberId::random()));
        let by = Actor { person, role: Role::DataOfficer, firm: Some(good.firm.clone()) };
        let means = Means::ByLink { link: hash, name, token: token.hash() };
        let decided = self.decide_on_officer(&by, good.firm.clone(), OfficerDeed::First(person), means, person).await;
        let officers = match decided {
            // Somebody else used it in the same moment.
            Err(ConsentError::Access(super::AccessError::Control(ControlError::Spent))) => Err(ConsentError::BadLink),
            other => other,
        }?;
        Ok((good.firm, OfficerDone { person, token: Some(token), standing: officers.standing(person) }))
    }
}

fn minted() -> Result<Secret, ConsentError> {
    let engine = |error: getrandom::Error| ControlError::Engine(Box::new(error));
    Ok(Secret::mint(TokenKind::Member).map_err(engine)?)
}

fn readable(name: String) -> Result<String, ConsentError> {
    let length = name.trim().chars().count();
    let plain = (1..=MAX_NAME_CHARS).contains(&length) && !name.chars().any(char::is_control) && !has_hidden(&name);
    if plain { Ok(name) } else { Err(ConsentError::Name) }
}
