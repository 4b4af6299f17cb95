//! What becomes of the control data once the store turned out to be an older state: no
//! consent is in force until its grantor says so again, and nothing that was withdrawn
//! comes back.

use std::collections::BTreeMap;

use sandan_proto::id::FirmId;
use tokio_postgres::Row;

use super::rows::parsed;
use super::{STATEMENTS, Tx, hash, sharing, sql, statement, unsigned};
use crate::audit::{Chain, Draft, Head, Kind};
use crate::id::OperatorId;
use crate::store::control::{ControlError, Restored, Revocations, Stamp, Testimony, Undone};

/// Suspends every consent, withdraws again what the older state does not know to be
/// withdrawn, and says so in the log of each firm and of the complex. Done twice, it finds
/// nothing more to do and says that too.
pub(super) async fn undo(tx: &Tx<'_>, restored: &Restored, by: &Stamp) -> Result<Undone, ControlError> {
    let log = Log { tx, by };
    let revoked = revoke_again(&log, &restored.revocations).await?;
    let suspended = suspend(&log).await?;
    // Also for what is read under no consent that changed: whoever holds a permit decides anew.
    tx.execute(sql!("raise_epochs"), &[]).await?;
    // Who was signed out since is not signed in again.
    tx.execute(sql!("end_all_browsers"), &[]).await?;
    let undone = Undone { suspended, revoked };
    let restored_draft = |chain| restored.describe(Draft::new(chain, Kind::StoreRestored, &by.actor), undone);
    log.say(restored_draft(Chain::Complex)).await?;
    for row in tx.rows(sql!("firms"), &[]).await? {
        log.say(restored_draft(Chain::Firm(parsed(&row, 0, "firm id")?))).await?;
    }
    Ok(undone)
}

struct Log<'a> {
    tx: &'a Tx<'a>,
    by: &'a Stamp,
}

impl Log<'_> {
    async fn say(&self, draft: Draft) -> Result<(), ControlError> {
        self.tx.append(vec![(draft, self.by.now_us)]).await.map(drop)
    }

    /// That something is withdrawn, which the witness knew.
    async fn withdrawn(&self, chain: Chain, kind: Kind, what: &str, id: &str) -> Result<(), ControlError> {
        self.say(Draft::new(chain, kind, &self.by.actor).with(what, id).with("from", "witness")).await
    }

    /// One row that was not withdrawn yet, if there is such a one.
    async fn again(&self, sql: &str, id: &str, at_us: i64) -> Result<Option<Row>, ControlError> {
        Ok(self.tx.rows(sql, &[&id, &at_us]).await?.pop())
    }
}

async fn suspend(log: &Log<'_>) -> Result<u64, ControlError> {
    let suspended = log.tx.rows(sql!("suspend_consents"), &[&log.by.now_us]).await?;
    for row in &suspended {
        log.say(sharing::suspended_row(row, log.by)?).await?;
    }
    let (count, drafts) = sharing::suspend(log.tx, None, log.by).await?;
    for draft in drafts {
        log.say(draft).await?;
    }
    Ok(suspended.len() as u64 + count)
}

async fn revoke_again(log: &Log<'_>, revocations: &Revocations) -> Result<u64, ControlError> {
    let firm = |row: &Row, at| parsed::<FirmId>(row, at, "firm id");
    let mut revoked = 0;
    for (id, at_us) in &revocations.consents {
        let found = match log.again(sql!("revoke_consent_again"), &id.to_string(), *at_us).await? {
            Some(row) => Some((firm(&row, 0)?, row.get(1))),
            None => sharing::revoke_again(log.tx, *id, *at_us).await?,
        };
        let Some((grantor, grantee)) = found else { continue };
        let draft = Draft::new(Chain::Firm(grantor), Kind::ConsentRevoked, &log.by.actor);
        let draft = draft.with("consent", id.to_string()).with("grantee", grantee);
        log.say(draft.with("from", "witness")).await?;
        revoked += 1;
    }
    for (id, at_us) in &revocations.gateways {
        let Some(row) = log.again(sql!("revoke_gateway_again"), id.as_str(), *at_us).await? else { continue };
        log.withdrawn(Chain::Firm(firm(&row, 0)?), Kind::GatewayRevoked, "gateway", id.as_str()).await?;
        revoked += 1;
    }
    for (member, at_us) in &revocations.members {
        let id = member.to_string();
        let Some(row) = log.again(sql!("revoke_member_again"), &id, *at_us).await? else { continue };
        let of = firm(&row, 0)?;
        sharing::without_means(log.tx, &of, *member, log.by.now_us).await?;
        log.withdrawn(Chain::Firm(of), Kind::MemberRevoked, "member", &id).await?;
        revoked += 1;
    }
    for (id, at_us) in &revocations.operators {
        let Some(row) = log.again(sql!("revoke_operator_again"), &id.to_string(), *at_us).await? else { continue };
        let id: OperatorId = parsed(&row, 0, "operator id")?;
        log.withdrawn(Chain::Complex, Kind::OperatorRevoked, "operator", &id.to_string()).await?;
        revoked += 1;
    }
    Ok(revoked)
}

/// Heads and revocations.
pub(super) async fn testimony(tx: &Tx<'_>) -> Result<Testimony, ControlError> {
    let head = |row: &Row| -> Result<(Chain, Head), ControlError> {
        let head = Head { number: unsigned(row.get(1)), time_us: row.get(2), hash: hash(row, 3)? };
        Ok((parsed(row, 0, "chain")?, head))
    };
    let heads = tx.rows(sql!("audit_heads"), &[]).await?.iter().map(head).collect::<Result<_, _>>()?;
    let revocations = Revocations {
        consents: revoked(tx, sql!("revoked_consents")).await?,
        gateways: revoked(tx, sql!("revoked_gateways")).await?,
        members: revoked(tx, sql!("revoked_members")).await?,
        operators: revoked(tx, sql!("revoked_operators")).await?,
    };
    Ok(Testimony { heads, revocations })
}

async fn revoked<K: Ord + std::str::FromStr>(tx: &Tx<'_>, sql: &str) -> Result<BTreeMap<K, i64>, ControlError> {
    tx.rows(sql, &[]).await?.iter().map(|row| Ok((parsed(row, 0, "id")?, row.get(1)))).collect()
}
