//! Control data in `control.db`: WAL, every commit synced (`synchronous = FULL`).
//!
//! One connection writes, one reads, so that a pull's epoch check does not wait for
//! the sync of somebody's audit entry. Whoever writes waits in one line for the one
//! connection: changes, and groups of audit entries.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use sandan_proto::id::{FirmId, GatewayId};

use crate::audit::{Chain, Draft, Entry, Hash, Head};
use crate::auth::{KeyHash, Principal, TokenHash};
use crate::consent::{Consent, Snapshot};
use crate::id::{ConsentId, MemberId, OperatorId};
use crate::store::appends::{Appends, Commit};
use crate::store::control::{
    Change, Control, ControlError, Firm, GatewayEntry, Holder, InvitationEntry, MemberEntry, OperatorEntry, Pulse,
    Restored, Stamp, Testimony, Undone,
};
use crate::store::sql::statement;

/// The layout that this build writes, kept as `SQLite`'s `user_version`.
pub const SCHEMA_VERSION: i64 = 5;
/// The file's name in the data directory.
pub const FILE: &str = "control.db";
/// How long a statement waits for the other connection's commit before it fails.
const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

const SCHEMA: &str = concat!(include_str!("control/schema.sql"), include_str!("control/alerting.sql"));
/// From the layout of its index, counted from 1, to the next one.
const STEPS: [&str; 4] = [
    include_str!("control/suspension.sql"),
    include_str!("control/certificates.sql"),
    include_str!("control/sharing.sql"),
    concat!(include_str!("control/operations.sql"), include_str!("control/alerting.sql")),
];
const STATEMENTS: &str = concat!(
    include_str!("control/statements.sql"),
    include_str!("control/sharing_statements.sql"),
    include_str!("control/desk_statements.sql"),
    include_str!("control/alerting_statements.sql")
);

/// One statement of the file, found when the program is compiled.
macro_rules! sql {
    ($name:literal) => {{
        const STATEMENT: &str = statement(STATEMENTS, concat!("-- name: ", $name, "\n"));
        STATEMENT
    }};
}

// After the macro, which they use too.
mod alerting;
mod desk;
mod footings;
mod restored;
mod rows;
mod sharing;

use self::footings::Footings;
use self::rows::{consent, entry, gateway, invitation, key_hash, member, operator, principal};

/// A stored row that is not of its form.
#[derive(Debug, thiserror::Error)]
#[error("control.db holds a {0} that cannot be read")]
struct BadRow(&'static str);

fn engine(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ControlError {
    ControlError::Engine(error.into())
}

impl From<rusqlite::Error> for ControlError {
    fn from(error: rusqlite::Error) -> Self {
        engine(error)
    }
}

/// `control.db`.
#[derive(Clone)]
pub struct SqliteControl {
    writer: Writer,
    reader: Arc<Mutex<Connection>>,
    appends: Appends<Writer>,
    footings: Footings,
}

/// The connection that writes, which is given to whoever waits longest.
#[derive(Debug, Clone)]
struct Writer(Arc<tokio::sync::Mutex<Connection>>);

impl Writer {
    /// `after` is called before the next one may write, whether the work was done or not.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, ControlError> + Send + 'static,
        after: impl FnOnce() + Send + 'static,
    ) -> Result<T, ControlError> {
        // A panic in an earlier closure rolled its transaction back; the connection is sound.
        let mut connection = Arc::clone(&self.0).lock_owned().await;
        tokio::task::spawn_blocking(move || {
            let done = commit(&mut connection, work);
            after();
            done
        })
        .await
        .map_err(engine)?
    }
}

fn commit<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, ControlError>,
) -> Result<T, ControlError> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let done = work(&transaction)?;
    transaction.commit()?;
    Ok(done)
}

#[async_trait]
impl Commit for Writer {
    async fn commit(&self, drafts: Vec<(Draft, i64)>) -> Result<Vec<Entry>, ControlError> {
        let entries =
            |tx: &Transaction<'_>| drafts.into_iter().map(|(draft, now_us)| append(tx, draft, now_us)).collect();
        self.write(entries, || {}).await
    }
}

impl SqliteControl {
    /// Opens the file, and lays it out when it is new.
    pub fn open(path: &Path) -> Result<Self, ControlError> {
        let connect = || -> Result<Connection, ControlError> {
            let connection = Connection::open(path)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "full")?;
            connection.pragma_update(None, "foreign_keys", true)?;
            Ok(connection)
        };
        let mut writer = connect()?;
        let version = |connection: &Connection| connection.pragma_query_value(None, "user_version", |row| row.get(0));
        let found: i64 = version(&writer)?;
        if (0..SCHEMA_VERSION).contains(&found) {
            let transaction = writer.transaction()?;
            match usize::try_from(found) {
                Ok(from @ 1..) => STEPS.iter().skip(from - 1).try_for_each(|step| transaction.execute_batch(step))?,
                _ => transaction.execute_batch(SCHEMA)?,
            }
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            crash_point!("control.laid-out-before-commit");
            transaction.commit()?;
            crash_point!("control.laid-out-before-use");
        }
        let found: i64 = version(&writer)?;
        if found != SCHEMA_VERSION {
            return Err(engine(format!("control.db has layout {found}, this build knows {SCHEMA_VERSION}")));
        }
        let reader = connect()?;
        reader.pragma_update(None, "query_only", true)?;
        Ok(Self::over(writer, reader))
    }

    fn over(writer: Connection, reader: Connection) -> Self {
        let writer = Writer(Arc::new(tokio::sync::Mutex::new(writer)));
        Self {
            appends: Appends::new(writer.clone()),
            writer,
            reader: Arc::new(Mutex::new(reader)),
            footings: Footings::default(),
        }
    }

    /// Opens a file that is there to look at it; changes are refused.
    pub fn look(path: &Path) -> Result<Self, ControlError> {
        let connect = || -> Result<Connection, ControlError> {
            let connection = super::look(path)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            Ok(connection)
        };
        let connection = connect()?;
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if found != SCHEMA_VERSION {
            return Err(engine(format!("control.db has layout {found}, this build knows {SCHEMA_VERSION}")));
        }
        Ok(Self::over(connect()?, connection))
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, ControlError> {
        let footings = self.footings.clone();
        self.writer.write(work, move || footings.forget()).await
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, ControlError> {
        let reader = self.reader.clone();
        tokio::task::spawn_blocking(move || {
            let mut connection = reader.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = connection.transaction()?;
            work(&transaction)
        })
        .await
        .map_err(engine)?
    }
}

fn append(tx: &Transaction<'_>, draft: Draft, now_us: i64) -> Result<Entry, ControlError> {
    let entry = Entry::after(&head(tx, &draft.chain)?, draft, now_us);
    let chain = entry.chain.to_string();
    tx.prepare_cached(sql!("add_audit"))?.execute(params![
        chain,
        signed(entry.number),
        entry.time_us,
        entry.kind.as_str(),
        entry.actor,
        entry.detail_json(),
        entry.previous.as_bytes(),
        entry.hash.as_bytes(),
    ])?;
    tx.prepare_cached(sql!("set_audit_head"))?.execute(params![
        chain,
        signed(entry.number),
        entry.time_us,
        entry.hash.as_bytes()
    ])?;
    Ok(entry)
}

fn head(tx: &Transaction<'_>, chain: &Chain) -> Result<Head, ControlError> {
    let found = tx
        .prepare_cached(sql!("audit_head"))?
        .query_row([chain.to_string()], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?)))
        .optional()?;
    let Some((number, time_us, hash)) = found else { return Ok(Head::EMPTY) };
    let hash = Hash::from_bytes(&hash).ok_or_else(|| engine(BadRow("hash")))?;
    Ok(Head { number: unsigned(number), time_us, hash })
}

/// `SQLite`'s integers are signed; numbers here count from 0 and never get near the limit.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Fails unless there is one row that is not revoked.
fn in_force(
    tx: &Transaction<'_>,
    sql: &str,
    args: impl rusqlite::Params,
    kind: &'static str,
    id: &impl ToString,
) -> Result<(), ControlError> {
    match tx.prepare_cached(sql)?.query_row(args, |row| row.get::<_, Option<i64>>(0)).optional()? {
        None => Err(ControlError::Missing { kind, id: id.to_string() }),
        Some(Some(_)) => Err(ControlError::Revoked { kind, id: id.to_string() }),
        Some(None) => Ok(()),
    }
}

fn firm_exists(tx: &Transaction<'_>, firm: &FirmId) -> Result<(), ControlError> {
    if tx.prepare_cached(sql!("firm_exists"))?.exists([firm.as_str()])? {
        Ok(())
    } else {
        Err(ControlError::Missing { kind: "firm", id: firm.to_string() })
    }
}

fn is_there(tx: &Transaction<'_>, sql: &str, id: &impl ToString) -> Result<bool, ControlError> {
    Ok(tx.prepare_cached(sql)?.query_row([id.to_string()], |row| row.get::<_, i64>(0))? > 0)
}

/// Inserts; a row that is there already, and in force, is said so.
fn insert(
    tx: &Transaction<'_>,
    sql: &str,
    args: impl rusqlite::Params,
    kind: &'static str,
    id: &impl ToString,
) -> Result<(), ControlError> {
    match tx.prepare_cached(sql)?.execute(args) {
        Ok(1) => Ok(()),
        Ok(_) => Err(ControlError::Exists { kind, id: id.to_string() }),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => {
            Err(ControlError::Exists { kind, id: id.to_string() })
        }
        Err(error) => Err(error.into()),
    }
}

fn change(tx: &Transaction<'_>, change: &Change, by: &Stamp) -> Result<(), ControlError> {
    let now_us = by.now_us;
    let execute = |sql: &str, args: &[&dyn rusqlite::ToSql]| -> Result<(), ControlError> {
        tx.prepare_cached(sql)?.execute(args)?;
        Ok(())
    };
    match change {
        Change::AddFirm(firm) => {
            let args = params![firm.id.as_str(), firm.name_ko, firm.name_en, now_us];
            insert(tx, sql!("add_firm"), args, "firm", &firm.id)
        }
        Change::EraseFirm { id, .. } => {
            firm_exists(tx, id)?;
            sharing::erase(tx, id, now_us)?;
            desk::erase(tx, id)?;
            execute(sql!("erase_names"), &[&id.as_str()])?;
            execute(sql!("erase_member_names"), &[&id.as_str()])
        }
        Change::InviteGateway { id, token, expires_us, added, replace } => {
            let firm = id.firm();
            firm_exists(tx, &firm)?;
            if *added {
                insert(tx, sql!("add_gateway"), params![id.as_str(), firm.as_str(), now_us], "gateway", id)?;
            }
            execute(sql!("end_invitations"), &[&id.as_str(), &now_us])?;
            execute(sql!("add_invitation"), &[&token.as_bytes(), &id.as_str(), &now_us, expires_us, replace])
        }
        Change::EnrolGateway { token, certified: it, .. } => {
            let used = tx.prepare_cached(sql!("use_invitation"))?.execute(params![
                token.as_bytes(),
                now_us,
                it.key.as_bytes(),
                it.serial,
                it.certificate,
                it.not_after_us,
                it.issuer
            ])?;
            if used != 1 {
                return Err(ControlError::Spent);
            }
            execute(sql!("bury_key"), &[&it.id.as_str()])?;
            let args: [&dyn rusqlite::ToSql; 6] =
                [&it.id.as_str(), &now_us, &it.key.as_bytes(), &it.serial, &it.not_after_us, &it.issuer];
            execute(sql!("enrol_gateway"), &args)
        }
        Change::RenewGateway(it) => {
            let args = params![it.id.as_str(), it.key.as_bytes(), it.serial, it.not_after_us, it.issuer];
            match tx.prepare_cached(sql!("renew_gateway"))?.execute(args)? {
                1 => Ok(()),
                _ => Err(ControlError::Revoked { kind: "gateway", id: it.id.to_string() }),
            }
        }
        Change::ReleaseEnrolled { token, id } => {
            execute(sql!("release_invitation"), &[&token.as_bytes(), &id.as_str()])
        }
        Change::RevokeGateway(id) => {
            in_force(tx, sql!("gateway_revoked"), [id.as_str()], "gateway", id)?;
            // One that nobody has used yet must not bring it back.
            execute(sql!("end_invitations"), &[&id.as_str(), &now_us])?;
            execute(sql!("revoke_gateway"), &[&id.as_str(), &now_us])
        }
        Change::ReleaseGateway(id) => in_force(tx, sql!("gateway_revoked"), [id.as_str()], "gateway", id),
        Change::AddMember { id, firm, name, role, until_us, token } => {
            firm_exists(tx, firm)?;
            let role = role.as_str();
            let args = params![id.to_string(), firm.as_str(), name, token.as_bytes(), now_us, role, until_us];
            insert(tx, sql!("add_member"), args, "member", id)
        }
        Change::RevokeMember { id, firm } => {
            in_force(tx, sql!("member_revoked"), params![id.to_string(), firm.as_str()], "member", id)?;
            execute(sql!("revoke_member"), &[&id.to_string(), &now_us])?;
            sharing::without_means(tx, firm, *id, now_us)
        }
        Change::AddOperator { id, name, role, token } => {
            let args = params![id.to_string(), name, token.as_bytes(), now_us, role.as_str()];
            insert(tx, sql!("add_operator"), args, "operator", id)
        }
        Change::RevokeOperator(id) => {
            in_force(tx, sql!("operator_revoked"), [id.to_string()], "operator", id)?;
            execute(sql!("revoke_operator"), &[&id.to_string(), &now_us])
        }
        Change::Grant { id, grantor, grantee, terms } => {
            firm_exists(tx, grantor)?;
            firm_exists(tx, grantee)?;
            let terms = serde_json::to_string(terms).map_err(engine)?;
            let args = params![id.to_string(), grantor.as_str(), grantee.as_str(), terms, now_us];
            insert(tx, sql!("add_consent"), args, "consent", id)?;
            execute(sql!("raise_epoch"), &[&grantor.as_str()])
        }
        Change::Confirm { id, grantor, .. } => {
            in_force(tx, sql!("consent_revoked"), params![id.to_string(), grantor.as_str()], "consent", id)?;
            let suspended = tx.prepare_cached(sql!("consent_suspended"))?.query_row([id.to_string()], |row| row.get(0));
            if suspended.map(|it: Option<i64>| it.is_none())? {
                return Err(ControlError::NotSuspended { id: *id });
            }
            execute(sql!("confirm_consent"), &[&id.to_string()])?;
            execute(sql!("raise_epoch"), &[&grantor.as_str()])
        }
        Change::Revoke { id, grantor, .. } => {
            in_force(tx, sql!("consent_revoked"), params![id.to_string(), grantor.as_str()], "consent", id)?;
            execute(sql!("revoke_consent"), &[&id.to_string(), &now_us])?;
            execute(sql!("raise_epoch"), &[&grantor.as_str()])
        }
        Change::Sharing(it) => sharing::change(tx, it, by),
        Change::Desk(it) => desk::change(tx, it, now_us),
    }
}

/// A text column as an id or other parsed value.
fn parsed<T: std::str::FromStr>(row: &Row<'_>, at: usize, kind: &'static str) -> Result<T, ControlError> {
    row.get_ref(at)?.as_str().map_err(engine)?.parse().map_err(|_| engine(BadRow(kind)))
}

fn rows<T>(
    tx: &Transaction<'_>,
    sql: &str,
    args: impl rusqlite::Params,
    of: impl Fn(&Row<'_>) -> Result<T, ControlError>,
) -> Result<Vec<T>, ControlError> {
    let mut statement = tx.prepare_cached(sql)?;
    let mut found = statement.query(args)?;
    let mut all = Vec::new();
    while let Some(row) = found.next()? {
        all.push(of(row)?);
    }
    Ok(all)
}

fn epoch(tx: &Transaction<'_>, grantor: &FirmId) -> Result<u64, ControlError> {
    let found = tx.prepare_cached(sql!("epoch"))?.query_row([grantor.as_str()], |row| row.get(0)).optional()?;
    Ok(unsigned(found.unwrap_or(0)))
}

#[async_trait]
impl Control for SqliteControl {
    async fn apply(&self, it: Change, by: Stamp) -> Result<(), ControlError> {
        self.write(move |tx| {
            change(tx, &it, &by)?;
            for draft in it.drafts(&by.actor) {
                append(tx, draft, by.now_us)?;
            }
            Ok(())
        })
        .await
    }

    async fn firms(&self) -> Result<Vec<Firm>, ControlError> {
        self.read(|tx| {
            rows(tx, sql!("firms"), [], |row| {
                Ok(Firm { id: parsed(row, 0, "firm id")?, name_ko: row.get(1)?, name_en: row.get(2)? })
            })
        })
        .await
    }

    async fn gateways(&self) -> Result<Vec<GatewayEntry>, ControlError> {
        self.read(|tx| rows(tx, sql!("gateways"), [], gateway)).await
    }

    async fn invitation(&self, token: &TokenHash) -> Result<Option<InvitationEntry>, ControlError> {
        let token = token.clone();
        self.read(move |tx| Ok(rows(tx, sql!("invitation"), [token.as_bytes()], invitation)?.pop())).await
    }

    async fn holder(&self, key: &KeyHash) -> Result<Option<Holder>, ControlError> {
        let key = *key;
        let holder = |row: &Row<'_>| {
            let (current, revoked_us) = (row.get(1)?, row.get(2)?);
            Ok(Holder { gateway: parsed(row, 0, "gateway id")?, current, revoked_us, not_after_us: row.get(3)? })
        };
        self.read(move |tx| Ok(rows(tx, sql!("holder"), [key.as_bytes()], holder)?.pop())).await
    }

    async fn keys_in_force(&self, now_us: i64) -> Result<HashMap<GatewayId, KeyHash>, ControlError> {
        let key = |row: &Row<'_>| Ok((parsed(row, 0, "gateway id")?, key_hash(row, 1)?));
        self.read(move |tx| Ok(rows(tx, sql!("keys_in_force"), [now_us], key)?.into_iter().collect())).await
    }

    async fn members(&self) -> Result<Vec<MemberEntry>, ControlError> {
        self.read(|tx| rows(tx, sql!("members"), [], member)).await
    }

    async fn operators(&self) -> Result<Vec<OperatorEntry>, ControlError> {
        self.read(|tx| rows(tx, sql!("operators"), [], operator)).await
    }

    async fn is_member(&self, member: MemberId) -> Result<bool, ControlError> {
        self.read(move |tx| is_there(tx, sql!("is_member"), &member)).await
    }

    async fn is_operator(&self, operator: OperatorId) -> Result<bool, ControlError> {
        self.read(move |tx| is_there(tx, sql!("is_operator"), &operator)).await
    }

    async fn principal(&self, token: &TokenHash) -> Result<Option<(TokenHash, Principal)>, ControlError> {
        let token = token.clone();
        self.read(move |tx| principal(tx, &token)).await
    }

    async fn consents(&self) -> Result<Vec<Consent>, ControlError> {
        self.read(|tx| rows(tx, sql!("consents"), [], consent)).await
    }

    async fn snapshot(&self, grantor: &FirmId, now_us: i64) -> Result<Snapshot, ControlError> {
        let grantor = grantor.clone();
        self.read(move |tx| sharing::snapshot(tx, &grantor, now_us)).await
    }

    async fn pulse(&self, grantor: &FirmId, quotas: &[ConsentId], now_us: i64) -> Result<Pulse, ControlError> {
        let (grantor, quotas) = (grantor.clone(), quotas.to_vec());
        self.read(move |tx| sharing::pulse(tx, &grantor, &quotas, now_us)).await
    }

    async fn footing(&self, member: MemberId, grantor: &FirmId) -> Result<(bool, u64), ControlError> {
        let since = match self.footings.find(member, grantor) {
            Ok(footing) => return Ok(footing),
            Err(since) => since,
        };
        let of = grantor.clone();
        let read = move |tx: &Transaction<'_>| Ok((is_there(tx, sql!("is_member"), &member)?, epoch(tx, &of)?));
        let footing = self.read(read).await?;
        self.footings.keep(since, member, grantor.clone(), footing);
        Ok(footing)
    }

    async fn epoch(&self, grantor: &FirmId) -> Result<u64, ControlError> {
        let grantor = grantor.clone();
        self.read(move |tx| epoch(tx, &grantor)).await
    }

    async fn append(&self, draft: Draft, now_us: i64) -> Result<Entry, ControlError> {
        self.appends.append(draft, now_us).await
    }

    async fn audit(&self, chain: &Chain, after: u64, limit: usize) -> Result<Vec<Entry>, ControlError> {
        let chain = chain.to_string();
        let (after, limit) = (signed(after), signed(limit as u64));
        self.read(move |tx| rows(tx, sql!("audit_after"), params![chain, after, limit], entry)).await
    }

    async fn audit_head(&self, chain: &Chain) -> Result<Head, ControlError> {
        let chain = chain.clone();
        self.read(move |tx| head(tx, &chain)).await
    }

    async fn newest_audit_us(&self) -> Result<i64, ControlError> {
        self.read(|tx| {
            let newest = tx.query_row(sql!("newest_audit"), [], |row| row.get::<_, Option<i64>>(0))?;
            Ok(newest.unwrap_or(0))
        })
        .await
    }

    async fn suspended(&self, now_us: i64) -> Result<u64, ControlError> {
        let count = move |tx: &Transaction<'_>| {
            Ok(unsigned(tx.prepare_cached(sql!("count_suspended"))?.query_row([now_us], |row| row.get(0))?))
        };
        self.read(count).await
    }

    async fn testimony(&self) -> Result<Testimony, ControlError> {
        self.read(restored::testimony).await
    }

    async fn after_restore(&self, restored: Restored, by: Stamp) -> Result<Undone, ControlError> {
        self.undo(restored, by).await
    }

    async fn is_witnessed(&self) -> Result<bool, ControlError> {
        self.read(|tx| Ok(tx.prepare_cached(sql!("witnessed"))?.exists([])?)).await
    }

    async fn set_witnessed(&self, now_us: i64) -> Result<(), ControlError> {
        self.write(move |tx| {
            tx.prepare_cached(sql!("set_witnessed"))?.execute([now_us])?;
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests;
