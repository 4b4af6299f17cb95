//! Control data in PostgreSQL, which several processes may change at once.
//!
//! Changes go one after the other, under one lock, so that what a change found is still so
//! when it is made; they are what people do, and few. Entries of the audit log are written in
//! groups and take the locks of their chains alone, in the order of the chains' names, as
//! changes do: no two wait for each other.

mod alerting;
mod desk;
mod restored;
mod rows;
mod sharing;

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use deadpool_postgres::{Object, Transaction};
use sandan_proto::id::{FirmId, GatewayId};
use tokio_postgres::types::ToSql;
use tokio_postgres::{IsolationLevel, Row};

use self::rows::{
    consent, engine, entry, gateway, head, holder, invitation, key_hash, member, operator, parsed, principal,
    stored_hash,
};
use super::database::Database;
use super::migrate::LOCKS;
use crate::audit::{Chain, Draft, Entry, Hash, Head};
use crate::auth::{KeyHash, Principal, TokenHash};
use crate::consent::{Consent, Role, Snapshot};
use crate::id::{ConsentId, MemberId, OperatorId};
use crate::store::appends::{Appends, Commit};
use crate::store::control::{
    Change, Control, ControlError, Firm, GatewayEntry, Holder, InvitationEntry, MemberEntry, OperatorEntry, Pulse,
    Restored, Stamp, Testimony, Undone,
};
use crate::store::sql::statement;
use crate::time::DAY_US;

const STATEMENTS: &str = concat!(
    include_str!("control/statements.sql"),
    include_str!("control/sharing_statements.sql"),
    include_str!("control/desk_statements.sql"),
    include_str!("control/alerting_statements.sql")
);
/// Beside the one of the migrations.
const CHANGES: i32 = 2;

/// One statement of the file, found when the program is compiled.
macro_rules! sql {
    ($name:literal) => {{
        const STATEMENT: &str = statement(STATEMENTS, concat!("-- name: ", $name, "\n"));
        STATEMENT
    }};
}
// After it, for the module below.
use sql;

type Args<'a> = &'a [&'a (dyn ToSql + Sync)];

/// The control data of a database.
#[derive(Debug, Clone)]
pub struct PostgresControl {
    database: Database,
    appends: Appends<Log>,
}

/// The audit log of a database.
#[derive(Debug, Clone)]
struct Log(Database);

#[async_trait]
impl Commit for Log {
    async fn commit(&self, drafts: Vec<(Draft, i64)>) -> Result<Vec<Entry>, ControlError> {
        let mut client = self.0.client().await.map_err(engine)?;
        let tx = Tx::begin(&mut client).await?;
        let entries = tx.append(drafts).await?;
        // Where the answer to this does not come, it may have been done: an error all the same.
        tx.commit().await?;
        Ok(entries)
    }
}

impl PostgresControl {
    /// Over a database that has the layout of this build.
    pub fn new(database: Database) -> Self {
        Self { appends: Appends::new(Log(database.clone())), database }
    }

    async fn client(&self) -> Result<Object, ControlError> {
        self.database.client().await.map_err(engine)
    }

    /// What one statement finds, of one moment.
    async fn rows(&self, sql: &str, args: Args<'_>) -> Result<Vec<Row>, ControlError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(sql).await.map_err(engine)?;
        client.query(&statement, args).await.map_err(engine)
    }

    async fn list<T>(
        &self,
        sql: &str,
        args: Args<'_>,
        of: impl Fn(&Row) -> Result<T, ControlError>,
    ) -> Result<Vec<T>, ControlError> {
        self.rows(sql, args).await?.iter().map(of).collect()
    }

    async fn is_there(&self, sql: &str, id: &(impl ToString + Sync)) -> Result<bool, ControlError> {
        Ok(self.first(sql, &[&id.to_string()], |row| Ok(row.get::<_, i64>(0))).await?.is_some_and(|count| count > 0))
    }

    async fn first<T>(
        &self,
        sql: &str,
        args: Args<'_>,
        of: impl Fn(&Row) -> Result<T, ControlError>,
    ) -> Result<Option<T>, ControlError> {
        self.rows(sql, args).await?.first().map(of).transpose()
    }
}

/// One transaction. Rolled back when it is dropped.
struct Tx<'a>(Transaction<'a>);

impl<'a> Tx<'a> {
    async fn begin(client: &'a mut Object) -> Result<Self, ControlError> {
        Ok(Self(client.transaction().await.map_err(engine)?))
    }

    /// One that sees one moment in all its statements.
    async fn of_one_moment(client: &'a mut Object) -> Result<Self, ControlError> {
        let begun = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
        Ok(Self(begun.start().await.map_err(engine)?))
    }

    /// Waits until no other process or task is changing anything.
    async fn alone(&self) -> Result<(), ControlError> {
        self.rows(sql!("alone"), &[&LOCKS, &CHANGES]).await.map(drop)
    }

    async fn rows(&self, sql: &str, args: Args<'_>) -> Result<Vec<Row>, ControlError> {
        let statement = self.0.prepare_cached(sql).await.map_err(engine)?;
        self.0.query(&statement, args).await.map_err(engine)
    }

    /// How many rows it changed.
    async fn execute(&self, sql: &str, args: Args<'_>) -> Result<u64, ControlError> {
        let statement = self.0.prepare_cached(sql).await.map_err(engine)?;
        self.0.execute(&statement, args).await.map_err(engine)
    }

    async fn commit(self) -> Result<(), ControlError> {
        self.0.commit().await.map_err(engine)
    }

    /// Writes entries, each with its time, behind the heads of their chains, which nobody else
    /// moves meanwhile.
    async fn append(&self, drafts: Vec<(Draft, i64)>) -> Result<Vec<Entry>, ControlError> {
        let mut chains: Vec<String> = drafts.iter().map(|(draft, _)| draft.chain.to_string()).collect();
        chains.sort_unstable();
        chains.dedup();
        let rows = self.rows(sql!("hold_heads"), &[&chains, &Hash::NONE.as_bytes().as_slice()]).await?;
        let named = |row: &Row| Ok((parsed::<Chain>(row, 3, "chain")?, head(row)?));
        let mut heads = rows.iter().map(named).collect::<Result<BTreeMap<_, _>, ControlError>>()?;
        let mut entries = Vec::with_capacity(drafts.len());
        for (draft, now_us) in drafts {
            let head = heads.entry(draft.chain.clone()).or_insert(Head::EMPTY);
            let entry = Entry::after(head, draft, now_us);
            *head = entry.head();
            entries.push(entry);
        }
        let column = |of: fn(&Entry) -> String| entries.iter().map(of).collect::<Vec<_>>();
        let (chain, actor) = (column(|it| it.chain.to_string()), column(|it| it.actor.clone()));
        let (kind, detail) = (column(|it| it.kind.as_str().to_owned()), column(Entry::detail_json));
        let numbers = |of: fn(&Entry) -> i64| entries.iter().map(of).collect::<Vec<_>>();
        let (number, time) = (numbers(|it| signed(it.number)), numbers(|it| it.time_us));
        let hashes =
            |of: fn(&Entry) -> &Hash| entries.iter().map(|it| of(it).as_bytes().as_slice()).collect::<Vec<_>>();
        let (previous, hash) = (hashes(|it| &it.previous), hashes(|it| &it.hash));
        self.execute(sql!("add_audit"), &[&chain, &number, &time, &kind, &actor, &detail, &previous, &hash]).await?;
        let (chain, heads): (Vec<_>, Vec<Head>) =
            heads.into_iter().map(|(chain, head)| (chain.to_string(), head)).unzip();
        let (number, time): (Vec<_>, Vec<_>) = heads.iter().map(|head| (signed(head.number), head.time_us)).unzip();
        let hash: Vec<_> = heads.iter().map(|head| head.hash.as_bytes().as_slice()).collect();
        self.execute(sql!("set_heads"), &[&chain, &number, &time, &hash]).await?;
        Ok(entries)
    }

    /// Fails unless there is one row that is not revoked.
    async fn in_force(
        &self,
        sql: &str,
        args: Args<'_>,
        kind: &'static str,
        id: &(impl ToString + Sync),
    ) -> Result<(), ControlError> {
        match self.rows(sql, args).await?.first().map(|row| row.get::<_, Option<i64>>(0)) {
            None => Err(ControlError::Missing { kind, id: id.to_string() }),
            Some(Some(_)) => Err(ControlError::Revoked { kind, id: id.to_string() }),
            Some(None) => Ok(()),
        }
    }

    async fn firm_exists(&self, firm: &FirmId) -> Result<(), ControlError> {
        let found = self.rows(sql!("firm_exists"), &[&firm.as_str()]).await?;
        if found.first().is_some_and(|row| row.get::<_, i64>(0) > 0) {
            Ok(())
        } else {
            Err(ControlError::Missing { kind: "firm", id: firm.to_string() })
        }
    }

    /// Inserts; a row that is there already is said so.
    async fn insert(
        &self,
        sql: &str,
        args: Args<'_>,
        kind: &'static str,
        id: &(impl ToString + Sync),
    ) -> Result<(), ControlError> {
        match self.execute(sql, args).await? {
            1 => Ok(()),
            _ => Err(ControlError::Exists { kind, id: id.to_string() }),
        }
    }

    /// `kind` is what is said of one that is there already.
    async fn add_member(
        &self,
        kind: &'static str,
        id: MemberId,
        firm: &FirmId,
        (name, role, until_us): (&str, Role, Option<i64>),
        token: &TokenHash,
        now_us: i64,
    ) -> Result<(), ControlError> {
        let (text, token) = (id.to_string(), token.as_bytes().as_slice());
        let args: Args<'_> = &[&text, &firm.as_str(), &name, &token, &now_us, &role.as_str(), &until_us];
        self.insert(sql!("add_member"), args, kind, &id).await
    }

    async fn change(&self, change: &Change, by: &Stamp) -> Result<(), ControlError> {
        let now_us = by.now_us;
        match change {
            Change::AddFirm(firm) => {
                let args: Args<'_> = &[&firm.id.as_str(), &firm.name_ko, &firm.name_en, &now_us];
                self.insert(sql!("add_firm"), args, "firm", &firm.id).await
            }
            Change::EraseFirm { id, .. } => {
                self.firm_exists(id).await?;
                sharing::erase(self, id, now_us).await?;
                desk::erase(self, id).await?;
                self.execute(sql!("erase_names"), &[&id.as_str()]).await?;
                self.execute(sql!("erase_member_names"), &[&id.as_str()]).await.map(drop)
            }
            Change::InviteGateway { id, token, expires_us, added, replace } => {
                let firm = id.firm();
                self.firm_exists(&firm).await?;
                if *added {
                    let args: Args<'_> = &[&id.as_str(), &firm.as_str(), &now_us];
                    self.insert(sql!("add_gateway"), args, "gateway", id).await?;
                }
                self.execute(sql!("end_invitations"), &[&id.as_str(), &now_us]).await?;
                let args: Args<'_> = &[&token.as_bytes().as_slice(), &id.as_str(), &now_us, expires_us, replace];
                self.execute(sql!("add_invitation"), args).await.map(drop)
            }
            Change::EnrolGateway { token, certified: it, .. } => {
                let (token, key) = (token.as_bytes().as_slice(), it.key.as_bytes().as_slice());
                let issuer = it.issuer.as_slice();
                let args: Args<'_> = &[&token, &now_us, &key, &it.serial, &it.certificate, &it.not_after_us, &issuer];
                if self.execute(sql!("use_invitation"), args).await? != 1 {
                    return Err(ControlError::Spent);
                }
                self.execute(sql!("bury_key"), &[&it.id.as_str()]).await?;
                let args: Args<'_> = &[&it.id.as_str(), &now_us, &key, &it.serial, &it.not_after_us, &issuer];
                self.execute(sql!("enrol_gateway"), args).await.map(drop)
            }
            Change::RenewGateway(it) => {
                let (key, issuer) = (it.key.as_bytes().as_slice(), it.issuer.as_slice());
                let args: Args<'_> = &[&it.id.as_str(), &key, &it.serial, &it.not_after_us, &issuer];
                match self.execute(sql!("renew_gateway"), args).await? {
                    1 => Ok(()),
                    _ => Err(ControlError::Revoked { kind: "gateway", id: it.id.to_string() }),
                }
            }
            Change::ReleaseEnrolled { token, id } => {
                let args: Args<'_> = &[&token.as_bytes().as_slice(), &id.as_str()];
                self.execute(sql!("release_invitation"), args).await.map(drop)
            }
            Change::RevokeGateway(id) => {
                self.in_force(sql!("gateway_revoked"), &[&id.as_str()], "gateway", id).await?;
                // One that nobody has used yet must not bring it back.
                self.execute(sql!("end_invitations"), &[&id.as_str(), &now_us]).await?;
                self.execute(sql!("revoke_gateway"), &[&id.as_str(), &now_us]).await.map(drop)
            }
            Change::ReleaseGateway(id) => self.in_force(sql!("gateway_revoked"), &[&id.as_str()], "gateway", id).await,
            Change::AddMember { id, firm, name, role, until_us, token } => {
                self.firm_exists(firm).await?;
                self.add_member("member", *id, firm, (name, *role, *until_us), token, now_us).await
            }
            Change::RevokeMember { id, firm } => {
                let args: Args<'_> = &[&id.to_string(), &firm.as_str()];
                self.in_force(sql!("member_revoked"), args, "member", id).await?;
                self.execute(sql!("revoke_member"), &[&id.to_string(), &now_us]).await?;
                sharing::without_means(self, firm, *id, now_us).await
            }
            Change::AddOperator { id, name, role, token } => {
                let token = token.as_bytes().as_slice();
                let args: Args<'_> = &[&id.to_string(), name, &token, &now_us, &role.as_str()];
                self.insert(sql!("add_operator"), args, "operator", id).await
            }
            Change::RevokeOperator(id) => {
                self.in_force(sql!("operator_revoked"), &[&id.to_string()], "operator", id).await?;
                self.execute(sql!("revoke_operator"), &[&id.to_string(), &now_us]).await.map(drop)
            }
            Change::Grant { id, grantor, grantee, terms } => {
                self.firm_exists(grantor).await?;
                self.firm_exists(grantee).await?;
                let terms = serde_json::to_string(terms).map_err(engine)?;
                let args: Args<'_> = &[&id.to_string(), &grantor.as_str(), &grantee.as_str(), &terms, &now_us];
                self.insert(sql!("add_consent"), args, "consent", id).await?;
                self.execute(sql!("raise_epoch"), &[&grantor.as_str()]).await.map(drop)
            }
            Change::Confirm { id, grantor, .. } => {
                let args: Args<'_> = &[&id.to_string(), &grantor.as_str()];
                self.in_force(sql!("consent_revoked"), args, "consent", id).await?;
                let suspended = self.rows(sql!("consent_suspended"), &[&id.to_string()]).await?;
                if suspended.first().is_none_or(|row| row.get::<_, Option<i64>>(0).is_none()) {
                    return Err(ControlError::NotSuspended { id: *id });
                }
                self.execute(sql!("confirm_consent"), &[&id.to_string()]).await?;
                self.execute(sql!("raise_epoch"), &[&grantor.as_str()]).await.map(drop)
            }
            Change::Revoke { id, grantor, .. } => {
                let args: Args<'_> = &[&id.to_string(), &grantor.as_str()];
                self.in_force(sql!("consent_revoked"), args, "consent", id).await?;
                self.execute(sql!("revoke_consent"), &[&id.to_string(), &now_us]).await?;
                self.execute(sql!("raise_epoch"), &[&grantor.as_str()]).await.map(drop)
            }
            Change::Sharing(it) => sharing::change(self, it, by).await,
            Change::Desk(it) => desk::change(self, it, now_us).await,
        }
    }
}

/// PostgreSQL's integers are signed; numbers here count from 0 and never get near the limit.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[async_trait]
impl Control for PostgresControl {
    async fn apply(&self, it: Change, by: Stamp) -> Result<(), ControlError> {
        let mut client = self.client().await?;
        let tx = Tx::begin(&mut client).await?;
        tx.alone().await?;
        tx.change(&it, &by).await?;
        // All of them at once, so that the heads of the chains are held in one order.
        let drafts = sharing::held_by(&tx, &it, &by).await?.into_iter().chain(it.drafts(&by.actor));
        tx.append(drafts.map(|draft| (draft, by.now_us)).collect()).await?;
        tx.commit().await
    }

    async fn firms(&self) -> Result<Vec<Firm>, ControlError> {
        let firm = |row: &Row| Ok(Firm { id: parsed(row, 0, "firm id")?, name_ko: row.get(1), name_en: row.get(2) });
        self.list(sql!("firms"), &[], firm).await
    }

    async fn gateways(&self) -> Result<Vec<GatewayEntry>, ControlError> {
        self.list(sql!("gateways"), &[], gateway).await
    }

    async fn invitation(&self, token: &TokenHash) -> Result<Option<InvitationEntry>, ControlError> {
        self.first(sql!("invitation"), &[&token.as_bytes().as_slice()], invitation).await
    }

    async fn holder(&self, key: &KeyHash) -> Result<Option<Holder>, ControlError> {
        self.first(sql!("holder"), &[&key.as_bytes().as_slice()], holder).await
    }

    async fn keys_in_force(&self, now_us: i64) -> Result<HashMap<GatewayId, KeyHash>, ControlError> {
        let key = |row: &Row| Ok((parsed(row, 0, "gateway id")?, key_hash(row, 1)?));
        Ok(self.list(sql!("keys_in_force"), &[&now_us], key).await?.into_iter().collect())
    }

    async fn members(&self) -> Result<Vec<MemberEntry>, ControlError> {
        self.list(sql!("members"), &[], member).await
    }

    async fn operators(&self) -> Result<Vec<OperatorEntry>, ControlError> {
        self.list(sql!("operators"), &[], operator).await
    }

    async fn is_member(&self, member: MemberId) -> Result<bool, ControlError> {
        self.is_there(sql!("is_member"), &member).await
    }

    async fn is_operator(&self, operator: OperatorId) -> Result<bool, ControlError> {
        self.is_there(sql!("is_operator"), &operator).await
    }

    async fn principal(&self, token: &TokenHash) -> Result<Option<(TokenHash, Principal)>, ControlError> {
        self.first(sql!("principal"), &[&token.as_bytes().as_slice()], principal).await
    }

    async fn consents(&self) -> Result<Vec<Consent>, ControlError> {
        self.list(sql!("consents"), &[], consent).await
    }

    async fn snapshot(&self, grantor: &FirmId, now_us: i64) -> Result<Snapshot, ControlError> {
        let mut client = self.client().await?;
        let tx = Tx::of_one_moment(&mut client).await?;
        sharing::snapshot(&tx, grantor, now_us).await
    }

    async fn pulse(&self, grantor: &FirmId, quotas: &[ConsentId], now_us: i64) -> Result<Pulse, ControlError> {
        let quotas: Vec<String> = quotas.iter().map(ToString::to_string).collect();
        // One statement sees one moment.
        let args: Args<'_> = &[&grantor.as_str(), &now_us.div_euclid(DAY_US), &quotas];
        Ok(self.first(sql!("pulse"), args, sharing::pulse).await?.unwrap_or_default())
    }

    async fn footing(&self, member: MemberId, grantor: &FirmId) -> Result<(bool, u64), ControlError> {
        let args: Args<'_> = &[&member.to_string(), &grantor.as_str()];
        let footing = |row: &Row| Ok((row.get(0), unsigned(row.get(1))));
        Ok(self.first(sql!("footing"), args, footing).await?.unwrap_or_default())
    }

    async fn epoch(&self, grantor: &FirmId) -> Result<u64, ControlError> {
        let found = self.first(sql!("epoch"), &[&grantor.as_str()], |row| Ok(row.get(0))).await?;
        Ok(unsigned(found.unwrap_or(0)))
    }

    async fn append(&self, draft: Draft, now_us: i64) -> Result<Entry, ControlError> {
        self.appends.append(draft, now_us).await
    }

    async fn audit(&self, chain: &Chain, after: u64, limit: usize) -> Result<Vec<Entry>, ControlError> {
        let args: Args<'_> = &[&chain.to_string(), &signed(after), &signed(limit as u64)];
        self.list(sql!("audit_after"), args, entry).await
    }

    async fn audit_head(&self, chain: &Chain) -> Result<Head, ControlError> {
        Ok(self.first(sql!("audit_head"), &[&chain.to_string()], head).await?.unwrap_or(Head::EMPTY))
    }

    async fn newest_audit_us(&self) -> Result<i64, ControlError> {
        Ok(self.first(sql!("newest_audit"), &[], |row| Ok(row.get(0))).await?.unwrap_or(0))
    }

    async fn suspended(&self, now_us: i64) -> Result<u64, ControlError> {
        Ok(unsigned(self.first(sql!("count_suspended"), &[&now_us], |row| Ok(row.get(0))).await?.unwrap_or(0)))
    }

    async fn testimony(&self) -> Result<Testimony, ControlError> {
        let mut client = self.client().await?;
        let tx = Tx::of_one_moment(&mut client).await?;
        restored::testimony(&tx).await
    }

    async fn after_restore(&self, restored: Restored, by: Stamp) -> Result<Undone, ControlError> {
        let mut client = self.client().await?;
        let tx = Tx::begin(&mut client).await?;
        tx.alone().await?;
        let undone = restored::undo(&tx, &restored, &by).await?;
        tx.commit().await?;
        Ok(undone)
    }

    async fn is_witnessed(&self) -> Result<bool, ControlError> {
        Ok(self.first(sql!("witnessed"), &[], |row| Ok(row.get::<_, i64>(0))).await? == Some(1))
    }

    async fn set_witnessed(&self, now_us: i64) -> Result<(), ControlError> {
        self.rows(sql!("set_witnessed"), &[&now_us]).await.map(drop)
    }
}

/// A chain's hash in a row.
fn hash(row: &Row, at: usize) -> Result<Hash, ControlError> {
    stored_hash(row, at, Hash::from_bytes, "hash")
}

#[cfg(test)]
mod tests;
