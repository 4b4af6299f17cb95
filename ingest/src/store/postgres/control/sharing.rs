//! Consents with their whole life in a database, who decides on them, and what stands beside
//! them.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use sandan_proto::id::{AssetId, FirmId, GroupId};
use tokio_postgres::Row;

use super::rows::{consent, engine, parsed};
use super::{Args, PostgresControl, STATEMENTS, Tx, signed, sql, statement, unsigned};
use crate::audit::{Chain, Draft, Kind};
use crate::auth::TokenHash;
use crate::consent::{
    Agreement, AllianceRule, Grantee, Group, Hold, Layer, OfficerEvent, Officers, Role, Run, Snapshot, Status,
};
use crate::id::{ConsentId, MemberId, PersonId};
use crate::store::control::{
    self, Agreements, Change, ControlError, Documents, Held, Means, OfficerLink, Pulse, RunEntry, RunPlace, Sharing,
    SharingChange, Stamp, parsed_agreement, parsed_groups,
};
use crate::time::DAY_US;

/// Days of quotas that are kept for people to look at.
const QUOTA_DAYS: i64 = 7;

fn held(row: &Row) -> Result<Held, ControlError> {
    Ok(Held {
        id: parsed(row, 0, "consent id")?,
        grantor: parsed(row, 1, "firm id")?,
        grantee: row.get::<_, Option<&str>>(2).is_some().then(|| parsed(row, 2, "firm id")).transpose()?,
        group: row.get::<_, Option<&str>>(3).is_some().then(|| parsed(row, 3, "group id")).transpose()?,
        document: row.get(4),
        revoked_us: row.get(5),
    })
}

fn run(row: &Row) -> Result<RunEntry, ControlError> {
    let (asset, customer) = (parsed(row, 1, "asset id")?, row.get(2));
    Ok(RunEntry { id: row.get(0), run: Run { asset, customer, from_us: row.get(3), to_us: row.get(4) } })
}

fn group(row: &Row) -> Result<(GroupId, String), ControlError> {
    Ok((parsed(row, 0, "group id")?, row.get(1)))
}

fn firm(row: &Row) -> Result<FirmId, ControlError> {
    parsed(row, 0, "firm id")
}

fn all<T, C: FromIterator<T>>(rows: &[Row], of: impl Fn(&Row) -> Result<T, ControlError>) -> Result<C, ControlError> {
    rows.iter().map(of).collect()
}

/// A text or nothing, of one row; nothing where there is no row.
fn text(rows: &[Row]) -> Option<String> {
    rows.first().and_then(|row| row.get(0))
}

fn document<T: serde::Serialize>(it: &T) -> Result<String, ControlError> {
    serde_json::to_string(it).map_err(engine)
}

async fn one(tx: &Tx<'_>, id: ConsentId) -> Result<Option<Held>, ControlError> {
    let found = tx.rows(sql!("agreement"), &[&id.to_string()]).await?;
    Ok(found.first().map(held).transpose()?.filter(|it| !it.is_erased()))
}

async fn officers(tx: &Tx<'_>, firm: &FirmId) -> Result<Officers, ControlError> {
    let found = text(&tx.rows(sql!("officers"), &[&firm.as_str()]).await?);
    control::parsed(found.as_deref(), "officers", firm.as_str())
}

async fn raise_epoch(tx: &Tx<'_>, firm: &FirmId) -> Result<(), ControlError> {
    tx.execute(sql!("raise_epoch"), &[&firm.as_str()]).await.map(drop)
}

async fn raise_epochs(tx: &Tx<'_>) -> Result<(), ControlError> {
    tx.execute(sql!("raise_epochs"), &[]).await.map(drop)
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

async fn update(tx: &Tx<'_>, it: &Agreement) -> Result<(), ControlError> {
    let (revoked_us, restored_us, until_us) = columns(it);
    let args: Args<'_> = &[&it.id.to_string(), &document(it)?, &revoked_us, &restored_us, &until_us];
    tx.execute(sql!("save_agreement"), args).await.map(drop)
}

async fn add(tx: &Tx<'_>, it: &Agreement) -> Result<(), ControlError> {
    tx.firm_exists(&it.grantor).await?;
    let (grantee, group) = match &it.grantee {
        Grantee::Firm(firm) => (Some(firm), None),
        Grantee::Group { group, .. } => (None, Some(group)),
    };
    if let Some(firm) = grantee {
        tx.firm_exists(firm).await?;
    }
    if let Some(group) = group
        && text(&tx.rows(sql!("group"), &[&group.as_str()]).await?).is_none()
    {
        return Err(ControlError::Missing { kind: "group", id: group.to_string() });
    }
    let (revoked_us, restored_us, until_us) = columns(it);
    let (grantee, group) = (grantee.map(FirmId::as_str), group.map(GroupId::as_str));
    let args: Args<'_> = &[
        &it.id.to_string(),
        &it.grantor.as_str(),
        &grantee,
        &group,
        &document(it)?,
        &revoked_us,
        &restored_us,
        &until_us,
    ];
    tx.insert(sql!("add_agreement"), args, "agreement", &it.id).await
}

async fn save(tx: &Tx<'_>, before: Option<&Agreement>, after: &Agreement) -> Result<(), ControlError> {
    let id = after.id.to_string();
    match (one(tx, after.id).await?, before) {
        (None, None) => add(tx, after).await?,
        (None, Some(_)) => return Err(ControlError::Missing { kind: "agreement", id }),
        (Some(_), None) => return Err(ControlError::Exists { kind: "agreement", id }),
        (Some(found), Some(before)) => {
            if parsed_agreement(&found)? != *before {
                return Err(ControlError::Raced { kind: "agreement", id });
            }
            update(tx, after).await?;
        }
    }
    if before.and_then(Agreement::grant) != after.grant() {
        raise_epoch(tx, &after.grantor).await?;
    }
    Ok(())
}

/// Makes one change, but for what [`held_by`] does.
pub(super) async fn change(tx: &Tx<'_>, change: &SharingChange, by: &Stamp) -> Result<(), ControlError> {
    let now_us = by.now_us;
    match change {
        SharingChange::SaveAgreement { before, after, .. } => save(tx, before.as_deref(), after).await,
        SharingChange::LinkOfficer { firm, link, expires_us } => {
            tx.firm_exists(firm).await?;
            tx.execute(sql!("end_links"), &[&firm.as_str(), &now_us]).await?;
            let args: Args<'_> = &[&link.as_bytes().as_slice(), &firm.as_str(), &now_us, expires_us];
            tx.execute(sql!("add_link"), args).await.map(drop)
        }
        SharingChange::Officer { firm, before, after, event, person, means } => {
            tx.firm_exists(firm).await?;
            if officers(tx, firm).await? != *before {
                return Err(ControlError::Raced { kind: "officers", id: firm.to_string() });
            }
            give_means(tx, firm, *person, means, now_us).await?;
            let id = MemberId::from(*person);
            match event {
                OfficerEvent::Confirmed | OfficerEvent::Reset => {
                    let args: Args<'_> = &[&id.to_string(), &firm.as_str()];
                    tx.in_force(sql!("member_revoked"), args, "officer", &id).await?;
                }
                OfficerEvent::Removed => {
                    tx.execute(sql!("revoke_member"), &[&id.to_string(), &now_us]).await?;
                }
                OfficerEvent::First | OfficerEvent::FirstAgain | OfficerEvent::Minted => {}
            }
            tx.execute(sql!("set_officers"), &[&firm.as_str(), &document(after)?]).await.map(drop)
        }
        SharingChange::SaveGroup { id, before, after } => save_group(tx, id, before.as_ref(), after).await,
        SharingChange::SetAllianceRule(rule) => {
            tx.execute(sql!("set_alliance_rule"), &[&document(rule)?]).await?;
            raise_epochs(tx).await
        }
        SharingChange::SetHouseRule { firm, rule } => {
            tx.firm_exists(firm).await?;
            tx.execute(sql!("set_house_rule"), &[&firm.as_str(), &document(rule)?]).await?;
            raise_epoch(tx, firm).await
        }
        SharingChange::CloseFirm(firm) => {
            tx.firm_exists(firm).await?;
            if tx.execute(sql!("close_firm"), &[&firm.as_str(), &now_us]).await? != 1 {
                return Err(ControlError::Closed { id: firm.clone() });
            }
            raise_epochs(tx).await
        }
        SharingChange::PutRuns { firm, runs } => {
            tx.firm_exists(firm).await?;
            for RunEntry { id, run } in runs {
                let Run { asset, customer, from_us, to_us } = run;
                let args: Args<'_> = &[&firm.as_str(), &asset.as_str(), id, customer, from_us, to_us];
                tx.execute(sql!("put_run"), args).await?;
            }
            raise_epoch(tx, firm).await
        }
    }
}

async fn save_group(tx: &Tx<'_>, id: &GroupId, before: Option<&Group>, after: &Group) -> Result<(), ControlError> {
    let found = text(&tx.rows(sql!("group"), &[&id.as_str()]).await?);
    let unreadable = |_| ControlError::Unreadable { kind: "group", id: id.to_string() };
    let found: Option<Group> = found.map(|json| serde_json::from_str(&json).map_err(unreadable)).transpose()?;
    match (found, before) {
        (Some(_), None) => return Err(ControlError::Exists { kind: "group", id: id.to_string() }),
        (found, before) if found.as_ref() != before => {
            return Err(ControlError::Raced { kind: "group", id: id.to_string() });
        }
        _ => {}
    }
    let newest = after.newest().map(|(_, firms)| firms.clone()).unwrap_or_default();
    for firm in newest.iter().chain([&after.coordinator]) {
        tx.firm_exists(firm).await?;
    }
    tx.execute(sql!("save_group"), &[&id.as_str(), &document(after)?]).await?;
    raise_epochs(tx).await
}

async fn give_means(
    tx: &Tx<'_>,
    firm: &FirmId,
    person: PersonId,
    means: &Means,
    now_us: i64,
) -> Result<(), ControlError> {
    let id = MemberId::from(person);
    match means {
        Means::Unchanged => Ok(()),
        Means::ByLink { link, name, token } => {
            let args: Args<'_> = &[&link.as_bytes().as_slice(), &firm.as_str(), &now_us];
            if tx.execute(sql!("use_link"), args).await? != 1 {
                return Err(ControlError::Spent);
            }
            tx.add_member("officer", id, firm, (name, Role::DataOfficer, None), token, now_us).await
        }
        Means::New { name, token } => {
            tx.add_member("officer", id, firm, (name, Role::DataOfficer, None), token, now_us).await
        }
        Means::Token(token) => {
            tx.execute(sql!("set_token"), &[&id.to_string(), &token.as_bytes().as_slice()]).await.map(drop)
        }
    }
}

/// Holds every consent of a firm that has a first officer again, as after a restore; entries of
/// the logs for that.
pub(super) async fn held_by(tx: &Tx<'_>, change: &Change, by: &Stamp) -> Result<Vec<Draft>, ControlError> {
    let Change::Sharing(SharingChange::Officer { firm, event: OfficerEvent::FirstAgain, .. }) = change else {
        return Ok(Vec::new());
    };
    let mut drafts = suspend(tx, Some(firm), by).await?.1;
    for row in tx.rows(sql!("suspend_consents_of"), &[&firm.as_str(), &by.now_us]).await? {
        drafts.push(suspended_row(&row, by)?);
    }
    raise_epoch(tx, firm).await?;
    Ok(drafts)
}

/// An entry in the log of the grantor of a short consent that it waits for it.
pub(super) fn suspended_row(row: &Row, by: &Stamp) -> Result<Draft, ControlError> {
    let grantor: FirmId = parsed(row, 1, "firm id")?;
    Ok(suspended(parsed(row, 0, "consent id")?, &grantor, row.get(2), by))
}

fn suspended(id: ConsentId, log: &FirmId, grantee: &str, by: &Stamp) -> Draft {
    let draft = Draft::new(Chain::Firm(log.clone()), Kind::ConsentSuspended, &by.actor);
    draft.with("consent", id.to_string()).with("grantee", grantee)
}

/// Holds the agreements in force of one firm, or of all, until their grantors resume them: how
/// many, and entries of the logs for that. One that cannot be read covers nothing, and stays as it is.
pub(super) async fn suspend(tx: &Tx<'_>, firm: Option<&FirmId>, by: &Stamp) -> Result<(u64, Vec<Draft>), ControlError> {
    let (mut count, mut drafts) = (0, Vec::new());
    let firm = firm.map(FirmId::as_str);
    for row in tx.rows(sql!("agreements_in_force"), &[&by.now_us, &firm]).await? {
        let row = held(&row)?;
        let Ok(before) = parsed_agreement(&row) else { continue };
        let after = before.restored(by.now_us);
        if after.holds == before.holds {
            continue;
        }
        update(tx, &after).await?;
        let (logs, grantee) = ([Some(&after.grantor), row.grantee.as_ref()], after.grantee.to_string());
        drafts.extend(logs.into_iter().flatten().map(|log| suspended(after.id, log, &grantee, by)));
        count += 1;
    }
    Ok((count, drafts))
}

/// Withdraws an agreement that an older state does not know to be withdrawn; its grantor and who
/// may read, where there is such a one.
pub(super) async fn revoke_again(
    tx: &Tx<'_>,
    id: ConsentId,
    at_us: i64,
) -> Result<Option<(FirmId, String)>, ControlError> {
    let found = tx.rows(sql!("revoke_agreement_again"), &[&id.to_string(), &at_us]).await?;
    let Some(row) = found.first().map(held).transpose()? else { return Ok(None) };
    let Ok(agreement) = parsed_agreement(&row) else {
        let grantee = row.grantee.map(|it| it.to_string()).or(row.group.map(|it| it.to_string()));
        return Ok(Some((row.grantor, grantee.unwrap_or_default())));
    };
    update(tx, &agreement).await?;
    Ok(Some((agreement.grantor, agreement.grantee.to_string())))
}

/// Everything of a firm but its id.
pub(super) async fn erase(tx: &Tx<'_>, firm: &FirmId, now_us: i64) -> Result<(), ControlError> {
    for sql in [sql!("erase_quota"), sql!("erase_runs"), sql!("erase_links")] {
        tx.execute(sql, &[&firm.as_str()]).await?;
    }
    // Whoever it let read, and all for whom it is closed now.
    raise_epochs(tx).await?;
    tx.execute(sql!("erase_agreements"), &[&firm.as_str(), &now_us]).await?;
    tx.execute(sql!("erase_rules"), &[&firm.as_str(), &now_us]).await.map(drop)
}

/// An officer whose token was revoked approves nothing any more.
pub(super) async fn without_means(tx: &Tx<'_>, firm: &FirmId, id: MemberId, now_us: i64) -> Result<(), ControlError> {
    let Some(before) = text(&tx.rows(sql!("officers"), &[&firm.as_str()]).await?) else { return Ok(()) };
    // Officers that cannot be read approve nothing either.
    let Ok(before) = serde_json::from_str::<Officers>(&before) else { return Ok(()) };
    let after = before.without_means(id.into(), now_us);
    tx.execute(sql!("set_officers"), &[&firm.as_str(), &document(&after)?]).await.map(drop)
}

pub(super) fn pulse(row: &Row) -> Result<Pulse, ControlError> {
    let (consents, rows): (Vec<&str>, Vec<i64>) = (row.get(2), row.get(3));
    let used = consents.into_iter().zip(rows).map(|(id, rows)| Ok((id.parse().map_err(engine)?, unsigned(rows))));
    let used = used.collect::<Result<_, ControlError>>()?;
    Ok(Pulse { epoch: unsigned(row.get(0)), newest_us: row.get(1), used })
}

pub(super) async fn snapshot(tx: &Tx<'_>, grantor: &FirmId, now_us: i64) -> Result<Snapshot, ControlError> {
    let id = grantor.as_str();
    let (of, day): (Args<'_>, i64) = (&[&id], now_us.div_euclid(DAY_US));
    let of_today: Args<'_> = &[&id, &day];
    // Sent together, so that it costs about as much as one.
    let (short, whole, beside, groups, closed, used) = tokio::try_join!(
        tx.rows(sql!("consents_of"), of),
        tx.rows(sql!("agreements_by"), of),
        tx.rows(sql!("beside"), of),
        tx.rows(sql!("groups"), &[]),
        tx.rows(sql!("closed_firms"), &[]),
        tx.rows(sql!("quota_used"), of_today),
    )?;
    let whole: Vec<Held> = all(&whole, held)?;
    let grants = control::grants(all(&short, consent)?, &whole);
    let mut runs = Vec::new();
    for customer in control::customers(&grants) {
        for row in tx.rows(sql!("runs_for"), &[&id, &customer]).await? {
            runs.push(run(&row)?.run);
        }
    }
    let mut documents = Documents {
        groups: all(&groups, group)?,
        closed: all(&closed, firm)?,
        runs,
        used: all(&used, |row| Ok((parsed(row, 0, "consent id")?, unsigned(row.get(1)))))?,
        ..Documents::default()
    };
    if let Some(row) = beside.first() {
        documents.epoch = unsigned(row.get(0));
        (documents.newest_us, documents.alliance, documents.house) = (row.get(1), row.get(2), row.get(3));
    }
    documents.snapshot(grantor.clone(), grants)
}

#[async_trait]
impl Sharing for PostgresControl {
    async fn agreement(&self, id: ConsentId) -> Result<Option<Agreement>, ControlError> {
        let found = self.first(sql!("agreement"), &[&id.to_string()], held).await?;
        found.filter(|it| !it.is_erased()).map(|row| parsed_agreement(&row)).transpose()
    }

    async fn agreements(&self, firm: &FirmId) -> Result<Agreements, ControlError> {
        let mut client = self.client().await?;
        let tx = Tx::of_one_moment(&mut client).await?;
        let groups: Vec<(GroupId, String)> = all(&tx.rows(sql!("groups"), &[]).await?, group)?;
        // Through a group that cannot be read nobody is reached.
        let readable = |(id, json): (GroupId, String)| Some((id, serde_json::from_str(&json).ok()?));
        let groups: BTreeMap<_, _> = groups.into_iter().filter_map(readable).collect();
        let found: Vec<Held> = all(&tx.rows(sql!("agreements_of"), &[&firm.as_str()]).await?, held)?;
        Ok(found.into_iter().filter(|it| it.concerns(firm, &groups)).collect())
    }

    async fn officers(&self, firm: &FirmId) -> Result<Officers, ControlError> {
        let found = text(&self.rows(sql!("officers"), &[&firm.as_str()]).await?);
        control::parsed(found.as_deref(), "officers", firm.as_str())
    }

    async fn officer_link(&self, link: &TokenHash) -> Result<Option<OfficerLink>, ControlError> {
        let of = |row: &Row| Ok(OfficerLink { firm: firm(row)?, expires_us: row.get(1), used_us: row.get(2) });
        self.first(sql!("link"), &[&link.as_bytes().as_slice()], of).await
    }

    async fn groups(&self) -> Result<BTreeMap<GroupId, Group>, ControlError> {
        parsed_groups(self.list(sql!("groups"), &[], group).await?)
    }

    async fn alliance_rule(&self) -> Result<AllianceRule, ControlError> {
        let found = text(&self.rows(sql!("alliance_rule"), &[]).await?);
        control::parsed(found.as_deref(), "rule", "alliance")
    }

    async fn house_rule(&self, firm: &FirmId) -> Result<Layer, ControlError> {
        let found = text(&self.rows(sql!("house_rule"), &[&firm.as_str()]).await?);
        control::parsed(found.as_deref(), "rule", firm.as_str())
    }

    async fn closed_firms(&self) -> Result<BTreeSet<FirmId>, ControlError> {
        Ok(self.list(sql!("closed_firms"), &[], firm).await?.into_iter().collect())
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
        let (asset, limit) = (asset.map(AssetId::as_str), signed(limit as u64));
        let after = after.map(|it| (it.asset.as_str(), it.from_us, it.id.as_str()));
        let (behind, since_us, id) = after.map_or((None, None, None), |it| (Some(it.0), Some(it.1), Some(it.2)));
        let args: Args<'_> = &[&firm.as_str(), &asset, &from_us, &to_us, &limit, &behind, &since_us, &id];
        self.list(sql!("runs"), args, run).await
    }

    async fn run(&self, firm: &FirmId, asset: &AssetId, id: &str) -> Result<Option<Run>, ControlError> {
        let found = self.list(sql!("run"), &[&firm.as_str(), &asset.as_str(), &id], run).await?;
        Ok(found.into_iter().next().map(|it| it.run))
    }

    async fn use_quota(&self, consent: ConsentId, day: i64, count: u64) -> Result<u64, ControlError> {
        let (id, mut client) = (consent.to_string(), self.client().await?);
        let tx = Tx::begin(&mut client).await?;
        tx.execute(sql!("forget_quota"), &[&id, &day.saturating_sub(QUOTA_DAYS)]).await?;
        let used = tx.rows(sql!("use_quota"), &[&id, &day, &signed(count)]).await?;
        tx.commit().await?;
        Ok(unsigned(used.first().map_or(0, |row| row.get(0))))
    }
}
