//! What becomes of the control data once the store turned out to be an older state: no
//! consent is in force until its grantor says so again, and nothing that was withdrawn
//! comes back.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use rusqlite::{Row, Transaction, params};
use sandan_proto::id::FirmId;

use super::{BadRow, STATEMENTS, SqliteControl, append, engine, parsed, rows, sharing, statement, unsigned};
use crate::audit::{Chain, Draft, Hash, Head, Kind};
use crate::id::OperatorId;
use crate::store::control::{ControlError, Restored, Revocations, Stamp, Testimony, Undone};

impl SqliteControl {
    pub(super) async fn undo(&self, restored: Restored, by: Stamp) -> Result<Undone, ControlError> {
        self.write(move |tx| {
            let mut log = Log { tx, by: &by };
            let revoked = revoke_again(&mut log, &restored.revocations)?;
            let suspended = suspend(&mut log)?;
            // Also for what is read under no consent that changed: whoever holds a permit decides anew.
            tx.prepare_cached(sql!("raise_epochs"))?.execute([])?;
            // Who was signed out since is not signed in again.
            tx.prepare_cached(sql!("end_all_browsers"))?.execute([])?;
            let undone = Undone { suspended, revoked };
            log.say(Chain::Complex, Kind::StoreRestored, |draft| restored.describe(draft, undone))?;
            for firm in rows(tx, sql!("firms"), [], |row| parsed::<FirmId>(row, 0, "firm id"))? {
                log.say(Chain::Firm(firm), Kind::StoreRestored, |draft| restored.describe(draft, undone))?;
            }
            Ok(undone)
        })
        .await
    }

    /// As [`Control::testimony`](crate::store::control::Control::testimony), from a thread that may block.
    pub(in crate::store::sqlite) fn testimony_now(&self) -> Result<Testimony, ControlError> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        testimony(&reader.transaction()?)
    }
}

struct Log<'a> {
    tx: &'a Transaction<'a>,
    by: &'a Stamp,
}

impl Log<'_> {
    fn say(&mut self, chain: Chain, kind: Kind, with: impl FnOnce(Draft) -> Draft) -> Result<(), ControlError> {
        append(self.tx, with(Draft::new(chain, kind, &self.by.actor)), self.by.now_us).map(drop)
    }

    /// One row that is not withdrawn yet, if there is such a one.
    fn again<T>(
        &self,
        sql: &str,
        id: &impl ToString,
        at_us: i64,
        of: impl Fn(&Row<'_>) -> Result<T, ControlError>,
    ) -> Result<Option<T>, ControlError> {
        Ok(rows(self.tx, sql, params![id.to_string(), at_us], of)?.pop())
    }
}

fn suspend(log: &mut Log<'_>) -> Result<u64, ControlError> {
    let suspended = rows(log.tx, sql!("suspend_consents"), [log.by.now_us], sharing::suspended)?;
    for (id, grantor, grantee) in &suspended {
        sharing::say_suspended(log.tx, *id, [grantor], grantee.as_str(), log.by)?;
    }
    Ok(suspended.len() as u64 + sharing::suspend(log.tx, None, log.by)?)
}

fn revoke_again(log: &mut Log<'_>, revocations: &Revocations) -> Result<u64, ControlError> {
    const FROM: (&str, &str) = ("from", "witness");
    let mut revoked = 0;
    let firm = |row: &Row<'_>| parsed::<FirmId>(row, 0, "firm id");
    for (id, at_us) in &revocations.consents {
        let of = |row: &Row<'_>| Ok((firm(row)?, row.get::<_, String>(1)?));
        let short = log.again(sql!("revoke_consent_again"), id, *at_us, of)?;
        let found = if short.is_some() { short } else { sharing::revoke_again(log.tx, *id, *at_us)? };
        let Some((grantor, grantee)) = found else { continue };
        log.say(Chain::Firm(grantor), Kind::ConsentRevoked, |draft| {
            draft.with("consent", id.to_string()).with("grantee", grantee.as_str()).with(FROM.0, FROM.1)
        })?;
        revoked += 1;
    }
    for (id, at_us) in &revocations.gateways {
        let Some(of) = log.again(sql!("revoke_gateway_again"), id, *at_us, firm)? else { continue };
        log.say(Chain::Firm(of), Kind::GatewayRevoked, |draft| {
            draft.with("gateway", id.as_str()).with(FROM.0, FROM.1)
        })?;
        revoked += 1;
    }
    for (id, at_us) in &revocations.members {
        let Some(of) = log.again(sql!("revoke_member_again"), id, *at_us, firm)? else { continue };
        sharing::without_means(log.tx, &of, *id, log.by.now_us)?;
        log.say(Chain::Firm(of), Kind::MemberRevoked, |draft| {
            draft.with("member", id.to_string()).with(FROM.0, FROM.1)
        })?;
        revoked += 1;
    }
    for (id, at_us) in &revocations.operators {
        let of = |row: &Row<'_>| parsed::<OperatorId>(row, 0, "operator id");
        let Some(id) = log.again(sql!("revoke_operator_again"), id, *at_us, of)? else { continue };
        log.say(Chain::Complex, Kind::OperatorRevoked, |draft| {
            draft.with("operator", id.to_string()).with(FROM.0, FROM.1)
        })?;
        revoked += 1;
    }
    Ok(revoked)
}

/// Heads and revocations.
pub(super) fn testimony(tx: &Transaction<'_>) -> Result<Testimony, ControlError> {
    let heads = rows(tx, sql!("audit_heads"), [], |row| {
        let hash = Hash::from_bytes(&row.get::<_, Vec<u8>>(3)?).ok_or_else(|| engine(BadRow("hash")))?;
        let head = Head { number: unsigned(row.get(1)?), time_us: row.get(2)?, hash };
        Ok((parsed::<Chain>(row, 0, "chain")?, head))
    })?;
    let revocations = Revocations {
        consents: revoked(tx, sql!("revoked_consents"))?,
        gateways: revoked(tx, sql!("revoked_gateways"))?,
        members: revoked(tx, sql!("revoked_members"))?,
        operators: revoked(tx, sql!("revoked_operators"))?,
    };
    Ok(Testimony { heads: heads.into_iter().collect(), revocations })
}

fn revoked<K: Ord + std::str::FromStr>(tx: &Transaction<'_>, sql: &str) -> Result<BTreeMap<K, i64>, ControlError> {
    Ok(rows(tx, sql, [], |row| Ok((parsed(row, 0, "id")?, row.get(1)?)))?.into_iter().collect())
}

#[cfg(test)]
mod tests;
