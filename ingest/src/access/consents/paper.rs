//! The page of an agreement, and the drafts for a subcontract: with the names that both sides
//! may know.

use std::collections::{BTreeMap, BTreeSet};

use sandan_proto::id::{AssetId, FirmId};

use super::{ConsentError, Seen};
use crate::access::Access;
use crate::consent::{Actor, Agreement, Grantee, Name, Page, PageOf, Papers, Party, Terms, Turn, page, papers};
use crate::id::ConsentId;

/// Which terms a page is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// What is proposed.
    Proposed,
    /// What is in force.
    InForce,
}

/// The page with what stands beside it.
#[derive(Debug, Clone)]
pub struct Paper {
    /// In both languages, with its hash.
    pub page: Page,
    /// Drafts for a subcontract, where the record asks for them.
    pub papers: Option<Papers>,
    /// What it is made of.
    pub version: Version,
    /// Names of the machines, for their owner; not part of the page.
    pub machines: BTreeMap<AssetId, Name>,
}

impl Access {
    /// The page of an agreement, as somebody may read it.
    pub async fn consent_page(&self, by: &Actor, id: ConsentId) -> Result<(Seen, Paper), ConsentError> {
        let seen = self.consent(by, id).await?;
        let mut shown = seen.agreement.clone();
        shown.proposal = seen.proposal().cloned();
        let mut paper = self.paper(&shown).await?;
        if seen.party != Party::Grantor {
            paper.machines.clear();
        }
        Ok((seen, paper))
    }

    /// The page of what is proposed, or else of what is in force.
    pub(super) async fn paper(&self, it: &Agreement) -> Result<Paper, ConsentError> {
        let in_force = it.in_force.as_ref();
        let (terms, version, of) = match (&it.proposal, in_force) {
            (Some(it), now) => (&it.terms, now.map_or(1, |now| now.version.saturating_add(1)), Version::Proposed),
            (None, Some(now)) => (&now.terms, now.version, Version::InForce),
            (None, None) => return Err(ConsentError::NoPage),
        };
        let firms = self.control.firms().await?;
        let firm = |id: &FirmId| {
            let found = firms.iter().find(|firm| firm.id == *id && !firm.is_erased());
            found.map_or_else(
                || Name::new(id.as_str(), id.as_str()),
                |it| Name::new(&format!("{} ({id})", it.name_ko), &format!("{} ({id})", it.name_en)),
            )
        };
        let grantor = firm(&it.grantor);
        let grantee = match &it.grantee {
            Grantee::Firm(id) => firm(id),
            Grantee::Group { group, roster } => {
                Name::new(&format!("모임 {group} (명단 제{roster}판)"), &format!("group {group} (roster {roster})"))
            }
        };
        let machines = self.machines(&it.grantor, terms).await?;
        let settled: BTreeSet<_> = in_force.into_iter().flat_map(|it| it.terms.assets.clone()).collect();
        let known: BTreeMap<_, _> = machines
            .iter()
            .filter(|(id, _)| settled.contains(*id))
            .map(|(id, name)| (id.clone(), name.clone()))
            .collect();
        let of_names = |assets| PageOf { id: it.id, version, grantor: &grantor, grantee: &grantee, terms, assets };
        let named = of_names(&machines);
        // Who asks for machines by their ids learns no name by it.
        let told = if grantor_wrote(it, &named) { named } else { of_names(&known) };
        Ok(Paper { page: page(&told), papers: papers(&told), version: of, machines: machines.clone() })
    }

    async fn machines(&self, firm: &FirmId, terms: &Terms) -> Result<BTreeMap<AssetId, Name>, ConsentError> {
        let all = self.readings.series(firm).await?;
        let ours = all.into_iter().filter(|info| terms.assets.contains(&info.key.asset));
        Ok(ours.map(|info| (info.key.asset.clone(), Name { ko: info.name_ko, en: info.name_en })).collect())
    }
}

/// Whether the terms of the page are the grantor's own words: put up by it, or in force, or put
/// up by it and then accepted.
fn grantor_wrote(it: &Agreement, named: &PageOf<'_>) -> bool {
    match it.proposal.as_ref().map(|it| it.turn) {
        None | Some(Turn::Grantee | Turn::Draft { author: Party::Grantor }) => true,
        Some(Turn::Draft { .. }) => false,
        Some(Turn::Grantor) => {
            let last = it.signatures.iter().rfind(|it| it.party == Party::Grantee);
            last.is_some_and(|it| it.page == page(named).hash)
        }
    }
}
