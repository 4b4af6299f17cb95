//! Consents with their whole life in `control.db`, who decides on them, and what stands beside
//! them.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use sandan_proto::id::{AssetId, FirmId, GroupId};

use super::rows::consent;
use super::{
    STATEMENTS, SqliteControl, append, engine, epoch, firm_exists, in_force, insert, parsed, rows, signed, statement,
    unsigned,
};
use crate::audit::{Chain, Draft, Kind};
use crate::auth::TokenHash;
use crate::consent::{
    Agreement, AllianceRule, Grantee, Group, Hold, Layer, OfficerEvent, Officers, Role, Run, Snapshot, Status,
};
use crate::id::{ConsentId, MemberId, PersonId};
use crate::store::control::{
    self, Agreements, ControlError, Documents, Held, Means, OfficerLink, Pulse, RunEntry, RunPlace, Sharing,
    SharingChange, Stamp, parsed_agreement, parsed_groups,
};
use crate::time::DAY_US;

/// Days of quotas that are kept for people to look at.
const QUOTA_DAYS: i64 = 7;

fn execute(tx: &Transaction<'_>, sql: &str, args: impl rusqlite::Params) -> Result<usize, ControlError> {
    Ok(tx.prepare_cached(sql)?.execute(args)?)
}

/// A text or nothing, of one row; nothing where there is no row.
fn text(tx: &Transaction<'_>, sql: &str, args: impl rusqlite::Params) -> Result<Option<String>, ControlError> {
    Ok(tx.prepare_cached(sql)?.query_row(args, |row| row.get(0)).optional()?.flatten())
}

fn held(row: &Row<'_>) -> Result<Held, ControlError> {
    let maybe = |at| Ok::<_, ControlError>(row.get::<_, Option<String>>(at)?.is_some());
    Ok(Held {
        id: parsed(row, 0, "consent id")?,
        grantor: parsed(row, 1, "firm id")?,
        grantee: maybe(2)?.then(|| parsed(row, 2, "firm id")).transpose()?,
        group: maybe(3)?.then(|| parsed(row, 3, "group id")).transpose()?,
        document: row.get(4)?,
        revoked_us: row.get(5)?,
    })
}

fn run(row: &Row<'_>) -> Result<RunEntry, ControlError> {
    let (asset, customer) = (parsed(row, 1, "asset id")?, row.get(2)?);
    Ok(RunEntry { id: row.get(0)?, run: Run { asset, customer, from_us: row.get(3)?, to_us: row.get(4)? } })
}

fn group(row: &Row<'_>) -> Result<(GroupId, String), ControlError> {
    Ok((parsed(row, 0, "group id")?, row.get(1)?))
}

fn one(tx: &Transaction<'_>, id: ConsentId) -> Result<Option<Held>, ControlError> {
    Ok(rows(tx, sql!("agreement"), [id.to_string()], held)?.pop().filter(|it| !it.is_erased()))
}

fn officers(tx: &Transaction<'_>, firm: &FirmId) -> Result<Officers, ControlError> {
    control::parsed(text(tx, sql!("officers"), [firm.as_str()])?.as_deref(), "officers", firm.as_str())
}

fn closed(tx: &Transaction<'_>) -> Result<BTreeSet<FirmId>, ControlError> {
    Ok(rows(tx, sql!("closed_firms"), [], |row| parsed(row, 0, "firm id"))?.into_iter().collect())
}

fn raise_epoch(tx: &Transaction<'_>, firm: &FirmId) -> Result<(), ControlError> {
    execute(tx, sql!("raise_epoch"), [firm.as_str()]).map(drop)
}

fn document<T: serde::Serialize>(it: &T) -> Result<String, ControlError> {
    serde_json::to_string(it).map_err(engine)
}

/// The columns that go with a document.
fn columns(it: &Agreement) -> (Option<i64>, Option<i64>, Option<i64>) {
    let revoked_us = it.grant().and_then(|grant| match grant.status {
        Status::Revoked { at_us } => Some(at_us),
        _ => None,
    });
    let until_us = it.in_force.as_ref().map(|now| now.terms.access.until_us);
    (revoked_us, it.holds.get(&Hold::Restored).copied(), until_us)
}

fn update(tx: &Transaction<'_>, it: &Agreement) -> Result<(), ControlError> {
    let (revoked_us, restored_us, until_us) = columns(it);
    let args = params![it.id.to_string(), document(it)?, revoked_us, restored_us, until_us];
    execute(tx, sql!("save_agreement"), args).map(drop)
}

fn save(tx: &Transaction<'_>, before: Option<&Agreement>, after: &Agreement) -> Result<(), ControlError> {
    let id = after.id.to_string();
    match (one(tx, after.id)?, before) {
        (None, None) => {
            firm_exists(tx, &after.grantor)?;
            let (grantee, group) = match &after.grantee {
                Grantee::Firm(firm) => (Some(firm), None),
                Grantee::Group { group, .. } => (None, Some(group)),
            };
            grantee.map_or(Ok(()), |firm| firm_exists(tx, firm))?;
            if let Some(group) = group
                && text(tx, sql!("group"), [group.as_str()])?.is_none()
            {
                return Err(ControlError::Missing { kind: "group", id: group.to_string() });
            }
            let (revoked_us, restored_us, until_us) = columns(after);
            let (grantee, group) = (grantee.map(FirmId::as_str), group.map(GroupId::as_str));
            let args = params![
                id,
                after.grantor.as_str(),
                grantee,
                group,
                document(after)?,
                revoked_us,
                restored_us,
                until_us
            ];
            insert(tx, sql!("add_agreement"), args, "agreement", &id)?;
        }
        (None, Some(_)) => return Err(ControlError::Missing { kind: "agreement", id }),
        (Some(_), None) => return Err(ControlError::Exists { kind: "agreement", id }),
        (Some(found), Some(before)) => {
            if parsed_agreement(&found)? != *before {
                return Err(ControlError::Raced { kind: "agreement", id });
            }
            update(tx, after)?;
        }
    }
    if before.and_then(Agreement::grant) != after.grant() {
        raise_epoch(tx, &after.grantor)?;
    }
    Ok(())
}

/// Makes one change; `by` is who is named in entries that the change itself does not give.
pub(super) fn change(tx: &Transaction<'_>, change: &SharingChange, by: &Stamp) -> Result<(), ControlError> {
    let now_us = by.now_us;
    match change {
        SharingChange::SaveAgreement { before, after, .. } => save(tx, before.as_deref(), after),
        SharingChange::LinkOfficer { firm, link, expires_us } => {
            firm_exists(tx, firm)?;
            execute(tx, sql!("end_links"), params![firm.as_str(), now_us])?;
            execute(tx, sql!("add_link"), params![link.as_bytes(), firm.as_str(), now_us, expires_us]).map(drop)
        }
        SharingChange::Officer { firm, before, after, event, person, means } => {
            firm_exists(tx, firm)?;
            if officers(tx, firm)? != *before {
                return Err(ControlError::Raced { kind: "officers", id: firm.to_string() });
            }
            give_means(tx, firm, *person, means, now_us)?;
            let id = MemberId::from(*person);
            match event {
                OfficerEvent::Confirmed | OfficerEvent::Reset => {
                    in_force(tx, sql!("member_revoked"), params![id.to_string(), firm.as_str()], "officer", &id)?;
                }
                OfficerEvent::Removed => {
                    execute(tx, sql!("revoke_member"), params![id.to_string(), now_us])?;
                }
                OfficerEvent::FirstAgain => hold_all(tx, firm, by)?,
                OfficerEvent::First | OfficerEvent::Minted => {}
            }
            execute(tx, sql!("set_officers"), params![firm.as_str(), document(after)?]).map(drop)
        }
        SharingChange::SaveGroup { id, before, after } => {
            let found = text(tx, sql!("group"), [id.as_str()])?;
            let unreadable = |_| ControlError::Unreadable { kind: "group", id: id.to_string() };
            let found: Option<Group> = found.map(|json| serde_json::from_str(&json).map_err(unreadable)).transpose()?;
            match (found, before) {
                (Some(_), None) => return Err(ControlError::Exists { kind: "group", id: id.to_string() }),
                (found, before) if found != *before => {
                    return Err(ControlError::Raced { kind: "group", id: id.to_string() });
                }
                _ => {}
            }
            let newest = after.newest().map(|(_, firms)| firms.clone()).unwrap_or_default();
            newest.iter().chain([&after.coordinator]).try_for_each(|firm| firm_exists(tx, firm))?;
            execute(tx, sql!("save_group"), params![id.as_str(), document(after)?])?;
            execute(tx, sql!("raise_epochs"), []).map(drop)
        }
        SharingChange::SetAllianceRule(rule) => {
            execute(tx, sql!("set_alliance_rule"), [document(rule)?])?;
            execute(tx, sql!("raise_epochs"), []).map(drop)
        }
        SharingChange::SetHouseRule { firm, rule } => {
            firm_exists(tx, firm)?;
            execute(tx, sql!("set_house_rule"), params![firm.as_str(), document(rule)?])?;
            raise_epoch(tx, firm)
        }
        SharingChange::CloseFirm(firm) => {
            firm_exists(tx, firm)?;
            if execute(tx, sql!("close_firm"), params![firm.as_str(), now_us])? != 1 {
                return Err(ControlError::Closed { id: firm.clone() });
            }
            execute(tx, sql!("raise_epochs"), []).map(drop)
        }
        SharingChange::PutRuns { firm, runs } => {
            firm_exists(tx, firm)?;
            for RunEntry { id, run } in runs {
                let args = params![firm.as_str(), run.asset.as_str(), id, run.customer, run.from_us, run.to_us];
                execute(tx, sql!("put_run"), args)?;
            }
            raise_epoch(tx, firm)
        }
    }
}

fn give_means(
    tx: &Transaction<'_>,
    firm: &FirmId,
    person: PersonId,
    means: &Means,
    now_us: i64,
) -> Result<(), ControlError> {
    let id = MemberId::from(person);
    let add = |name: &str, token: &TokenHash| {
        let role = Role::DataOfficer.as_str();
        let args = params![id.to_string(), firm.as_str(), name, token.as_bytes(), now_us, role, None::<i64>];
        insert(tx, sql!("add_member"), args, "officer", &id)
    };
    match means {
        Means::Unchanged => Ok(()),
        Means::ByLink { link, name, token } => {
            if execute(tx, sql!("use_link"), params![link.as_bytes(), firm.as_str(), now_us])? != 1 {
                return Err(ControlError::Spent);
            }
            add(name, token)
        }
        Means::New { name, token } => add(name, token),
        Means::Token(token) => execute(tx, sql!("set_token"), params![id.to_string(), token.as_bytes()]).map(drop),
    }
}

/// Holds every consent of a firm that is in force, as after a restore.
fn hold_all(tx: &Transaction<'_>, firm: &FirmId, by: &Stamp) -> Result<(), ControlError> {
    suspend(tx, Some(firm), by)?;
    let short = rows(tx, sql!("suspend_consents_of"), params![firm.as_str(), by.now_us], suspended)?;
    for (id, grantor, grantee) in short {
        say_suspended(tx, id, [&grantor], grantee.as_str(), by)?;
    }
    raise_epoch(tx, firm)
}

/// Consent, grantor and grantee.
pub(super) fn suspended(row: &Row<'_>) -> Result<(ConsentId, FirmId, FirmId), ControlError> {
    Ok((parsed(row, 0, "consent id")?, parsed(row, 1, "firm id")?, parsed(row, 2, "firm id")?))
}

/// Entries in the logs of firms that a consent waits for its grantor.
pub(super) fn say_suspended<'a>(
    tx: &Transaction<'_>,
    id: ConsentId,
    logs: impl IntoIterator<Item = &'a FirmId>,
    grantee: &str,
    by: &Stamp,
) -> Result<(), ControlError> {
    for firm in logs {
        let draft = Draft::new(Chain::Firm(firm.clone()), Kind::ConsentSuspended, &by.actor);
        append(tx, draft.with("consent", id.to_string()).with("grantee", grantee), by.now_us)?;
    }
    Ok(())
}

/// Holds the agreements in force of one firm, or of all, until their grantors resume them. One
/// that cannot be read covers nothing, and stays as it is.
pub(super) fn suspend(tx: &Transaction<'_>, firm: Option<&FirmId>, by: &Stamp) -> Result<u64, ControlError> {
    let mut count = 0;
    for row in rows(tx, sql!("agreements_in_force"), params![by.now_us, firm.map(FirmId::as_str)], held)? {
        let Ok(before) = parsed_agreement(&row) else { continue };
        let after = before.restored(by.now_us);
        if after.holds == before.holds {
            continue;
        }
        update(tx, &after)?;
        let logs = [Some(&after.grantor), row.grantee.as_ref()].into_iter().flatten();
        say_suspended(tx, after.id, logs, &after.grantee.to_string(), by)?;
        count += 1;
    }
    Ok(count)
}

/// Withdraws an agreement that an older state does not know to be withdrawn; its grantor and who
/// may read, where there is such a one.
pub(super) fn revoke_again(
    tx: &Transaction<'_>,
    id: ConsentId,
    at_us: i64,
) -> Result<Option<(FirmId, String)>, ControlError> {
    let found = rows(tx, sql!("revoke_agreement_again"), params![id.to_string(), at_us], held)?.pop();
    let Some(row) = found else { return Ok(None) };
    let Ok(agreement) = parsed_agreement(&row) else {
        let grantee = row.grantee.map(|it| it.to_string()).or(row.group.map(|it| it.to_string()));
        return Ok(Some((row.grantor, grantee.unwrap_or_default())));
    };
    update(tx, &agreement)?;
    Ok(Some((agreement.grantor, agreement.grantee.to_string())))
}

/// Everything of a firm but its id.
pub(super) fn erase(tx: &Transaction<'_>, firm: &FirmId, now_us: i64) -> Result<(), ControlError> {
    execute(tx, sql!("erase_quota"), [firm.as_str()])?;
    // Whoever it let read, and all for whom it is closed now.
    execute(tx, sql!("raise_epochs"), [])?;
    execute(tx, sql!("erase_agreements"), params![firm.as_str(), now_us])?;
    execute(tx, sql!("erase_runs"), [firm.as_str()])?;
    execute(tx, sql!("erase_links"), [firm.as_str()])?;
    execute(tx, sql!("erase_rules"), params![firm.as_str(), now_us]).map(drop)
}

/// An officer whose token was revoked approves nothing any more.
pub(super) fn without_means(
    tx: &Transaction<'_>,
    firm: &FirmId,
    id: MemberId,
    now_us: i64,
) -> Result<(), ControlError> {
    let Some(before) = text(tx, sql!("officers"), [firm.as_str()])? else { return Ok(()) };
    // Officers that cannot be read approve nothing either.
    let Ok(before) = serde_json::from_str::<Officers>(&before) else { return Ok(()) };
    let after = before.without_means(id.into(), now_us);
    execute(tx, sql!("set_officers"), params![firm.as_str(), document(&after)?]).map(drop)
}

fn newest_us(tx: &Transaction<'_>) -> Result<i64, ControlError> {
    let newest = tx.prepare_cached(sql!("newest_audit"))?.query_row([], |row| row.get::<_, Option<i64>>(0))?;
    Ok(newest.unwrap_or(0))
}

pub(super) fn pulse(
    tx: &Transaction<'_>,
    grantor: &FirmId,
    quotas: &[ConsentId],
    now_us: i64,
) -> Result<Pulse, ControlError> {
    let today = now_us.div_euclid(DAY_US);
    let mut used = BTreeMap::new();
    for consent in quotas {
        let rows = rows(tx, sql!("quota_used_of"), params![consent.to_string(), today], |row| Ok(row.get(0)?))?;
        used.extend(rows.first().map(|rows| (*consent, unsigned(*rows))));
    }
    Ok(Pulse { epoch: epoch(tx, grantor)?, newest_us: newest_us(tx)?, used })
}

pub(super) fn snapshot(tx: &Transaction<'_>, grantor: &FirmId, now_us: i64) -> Result<Snapshot, ControlError> {
    let of = [grantor.as_str()];
    let grants =
        control::grants(rows(tx, sql!("consents_of"), of, consent)?, &rows(tx, sql!("agreements_by"), of, held)?);
    let mut runs = Vec::new();
    for customer in control::customers(&grants) {
        runs.extend(rows(tx, sql!("runs_for"), params![grantor.as_str(), customer], |row| Ok(run(row)?.run))?);
    }
    let used = |row: &Row<'_>| Ok((parsed(row, 0, "consent id")?, unsigned(row.get(1)?)));
    let today = now_us.div_euclid(DAY_US);
    let documents = Documents {
        epoch: epoch(tx, grantor)?,
        newest_us: newest_us(tx)?,
        alliance: text(tx, sql!("alliance_rule"), [])?,
        house: text(tx, sql!("house_rule"), of)?,
        groups: rows(tx, sql!("groups"), [], group)?,
        closed: closed(tx)?,
        runs,
        used: rows(tx, sql!("quota_used"), params![grantor.as_str(), today], used)?.into_iter().collect(),
    };
    documents.snapshot(grantor.clone(), grants)
}

#[async_trait]
impl Sharing for SqliteControl {
    async fn agreement(&self, id: ConsentId) -> Result<Option<Agreement>, ControlError> {
        self.read(move |tx| one(tx, id)?.map(|row| parsed_agreement(&row)).transpose()).await
    }

    async fn agreements(&self, firm: &FirmId) -> Result<Agreements, ControlError> {
        let firm = firm.clone();
        self.read(move |tx| {
            // Through a group that cannot be read nobody is reached.
            let readable = |(id, json): (GroupId, String)| Some((id, serde_json::from_str(&json).ok()?));
            let groups: BTreeMap<_, _> =
                rows(tx, sql!("groups"), [], group)?.into_iter().filter_map(readable).collect();
            let found = rows(tx, sql!("agreements_of"), [firm.as_str()], held)?;
            Ok(found.into_iter().filter(|it| it.concerns(&firm, &groups)).collect())
        })
        .await
    }

    async fn officers(&self, firm: &FirmId) -> Result<Officers, ControlError> {
        let firm = firm.clone();
        self.read(move |tx| officers(tx, &firm)).await
    }

    async fn officer_link(&self, link: &TokenHash) -> Result<Option<OfficerLink>, ControlError> {
        let link = link.clone();
        let of = |row: &Row<'_>| {
            Ok(OfficerLink { firm: parsed(row, 0, "firm id")?, expires_us: row.get(1)?, used_us: row.get(2)? })
        };
        self.read(move |tx| Ok(rows(tx, sql!("link"), [link.as_bytes()], of)?.pop())).await
    }

    async fn groups(&self) -> Result<BTreeMap<GroupId, Group>, ControlError> {
        self.read(|tx| parsed_groups(rows(tx, sql!("groups"), [], group)?)).await
    }

    async fn alliance_rule(&self) -> Result<AllianceRule, ControlError> {
        self.read(|tx| control::parsed(text(tx, sql!("alliance_rule"), [])?.as_deref(), "rule", "alliance")).await
    }

    async fn house_rule(&self, firm: &FirmId) -> Result<Layer, ControlError> {
        let firm = firm.clone();
        self.read(move |tx| {
            control::parsed(text(tx, sql!("house_rule"), [firm.as_str()])?.as_deref(), "rule", firm.as_str())
        })
        .await
    }

    async fn closed_firms(&self) -> Result<BTreeSet<FirmId>, ControlError> {
        self.read(closed).await
    }

    async fn runs(
        &self,
        firm: &FirmId,
        asset: Option<&AssetId>,
        from_us: i64,
        to_us: i64,
        after: Option<&RunPlace>,
        limit: usize,
    ) -> Result<Vec<RunEntry>, ControlError> {
        let (firm, asset, after) = (firm.clone(), asset.cloned(), after.cloned());
        self.read(move |tx| {
            let asset = asset.as_ref().map(AssetId::as_str);
            let limit = signed(limit as u64);
            let after = after.as_ref().map(|it| (it.asset.as_str(), it.from_us, it.id.as_str()));
            let (behind, since_us, id) = after.map_or((None, None, None), |it| (Some(it.0), Some(it.1), Some(it.2)));
            let args = params![firm.as_str(), asset, from_us, to_us, limit, behind, since_us, id];
            rows(tx, sql!("runs"), args, run)
        })
        .await
    }

    async fn run(&self, firm: &FirmId, asset: &AssetId, id: &str) -> Result<Option<Run>, ControlError> {
        let (firm, asset, id) = (firm.clone(), asset.clone(), id.to_owned());
        let found = self.read(move |tx| rows(tx, sql!("run"), params![firm.as_str(), asset.as_str(), id], run)).await?;
        Ok(found.into_iter().next().map(|it| it.run))
    }

    async fn use_quota(&self, consent: ConsentId, day: i64, count: u64) -> Result<u64, ControlError> {
        self.write(move |tx| {
            let id = consent.to_string();
            execute(tx, sql!("forget_quota"), params![id, day.saturating_sub(QUOTA_DAYS)])?;
            let used =
                tx.prepare_cached(sql!("use_quota"))?.query_row(params![id, day, signed(count)], |row| row.get(0))?;
            Ok(unsigned(used))
        })
        .await
    }
}
