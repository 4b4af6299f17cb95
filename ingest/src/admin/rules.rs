//! Who decides, and what is ruled over all consents, as far as the host has a say in it.

use std::collections::BTreeSet;

use sandan_proto::id::{FirmId, GroupId};

use super::{Admin, Answer, Refused};
use crate::auth::{Secret, TokenKind};
use crate::consent::{AllianceRule, Group, GroupKind, Layer, table};
use crate::store::control::{RunEntry, SharingChange};

/// Most runs of one list: a year of a machine's charges, one every half hour.
const MAX_RUNS: usize = 20_000;

impl Admin {
    /// A link for a firm's first officer. A firm that has one who is confirmed needs none.
    pub(super) async fn officer_link(&self, firm: FirmId, life_us: i64) -> Result<Answer, Refused> {
        if self.control.officers(&firm).await?.approving() > 0 {
            let what = format!("firm `{firm}` has a data officer");
            return Err(Refused::new(&what, "an officer of the firm mints further ones"));
        }
        let link = Secret::mint(TokenKind::OfficerLink)?;
        let expires_us = self.access.now_us().saturating_add(life_us);
        self.apply(SharingChange::LinkOfficer { firm, link: link.hash(), expires_us }.into()).await?;
        Ok(Answer::Line(link.reveal()))
    }

    pub(super) async fn add_group(
        &self,
        id: GroupId,
        kind: GroupKind,
        coordinator: FirmId,
        firms: BTreeSet<FirmId>,
    ) -> Result<Answer, Refused> {
        let after = Group::new(kind, coordinator, firms);
        self.apply(SharingChange::SaveGroup { id, before: None, after }.into()).await
    }

    /// What the alliance rules, or a new rule.
    pub(super) async fn alliance_rule(&self, rule: Option<Box<AllianceRule>>) -> Result<Answer, Refused> {
        let Some(rule) = rule else { return shown(&self.control.alliance_rule().await?) };
        let floors = [rule.layer.floor_us, Some(rule.sensitive.floor_us)];
        sound(floors.into_iter().flatten(), [rule.layer.minimum_age_us, rule.sensitive.minimum_age_us])?;
        self.apply(SharingChange::SetAllianceRule(rule).into()).await
    }

    /// A firm's floor, or a new one.
    pub(super) async fn firm_rule(&self, firm: FirmId, rule: Option<Layer>) -> Result<Answer, Refused> {
        let Some(rule) = rule else {
            self.known(&firm).await?;
            return shown(&self.control.house_rule(&firm).await?);
        };
        sound(rule.floor_us, [rule.minimum_age_us])?;
        self.apply(SharingChange::SetHouseRule { firm, rule }.into()).await
    }

    pub(super) async fn put_run(&self, firm: FirmId, run: RunEntry) -> Result<Answer, Refused> {
        if let Some(fault) = run.run.fault(&run.id, self.access.now_us()) {
            return Err(Refused::new(fault, ""));
        }
        self.apply(SharingChange::PutRuns { firm, runs: vec![run] }.into()).await
    }

    /// A table of runs, whole or not at all.
    pub(super) async fn import_runs(&self, firm: FirmId, text: &str) -> Result<Answer, Refused> {
        let hint = "the first line is asset,id,customer,from,to; nothing of the table was noted";
        let runs = table(text, self.access.now_us()).map_err(|fault| Refused::new(&fault, hint))?;
        if runs.len() > MAX_RUNS {
            return Err(Refused::new(&format!("a table has at most {MAX_RUNS} runs"), "cut it"));
        }
        let runs: Vec<_> = runs.into_iter().map(|(id, run)| RunEntry { id, run }).collect();
        self.apply(SharingChange::PutRuns { firm, runs }.into()).await
    }

    pub(super) async fn runs(&self, firm: &FirmId) -> Result<Answer, Refused> {
        self.known(firm).await?;
        Ok(Answer::Runs(self.control.runs(firm, None, i64::MIN, i64::MAX, None, MAX_RUNS).await?))
    }
}

fn shown<T: serde::Serialize>(rule: &T) -> Result<Answer, Refused> {
    let text = serde_json::to_string(rule).map_err(|error| Refused::new(&error, ""))?;
    Ok(Answer::Line(text))
}

/// A floor of nothing would be none, and an age below nothing lies in the future.
fn sound(floors: impl IntoIterator<Item = i64>, ages: impl IntoIterator<Item = i64>) -> Result<(), Refused> {
    if floors.into_iter().any(|floor_us| floor_us <= 0) || ages.into_iter().any(|age_us| age_us < 0) {
        return Err(Refused::new(
            "a floor is above 0 µs, and an age not below it",
            "leave out what is not to be ruled",
        ));
    }
    Ok(())
}
