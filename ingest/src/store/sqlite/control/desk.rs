//! How people sign in at the console, and what they write down beside the fleet.

use async_trait::async_trait;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use sandan_proto::id::FirmId;

use super::rows::person;
use super::{BadRow, STATEMENTS, SqliteControl, engine, firm_exists, parsed, rows, statement};
use crate::auth::{Principal, TokenHash};
use crate::id::PersonId;
use crate::store::control::{
    BrowserEntry, BrowserKind, Care, CareKind, Cares, Contact, ControlError, Desk, DeskChange, Part, PasswordEntry,
};

fn execute(tx: &Transaction<'_>, sql: &str, args: impl rusqlite::Params) -> Result<usize, ControlError> {
    Ok(tx.prepare_cached(sql)?.execute(args)?)
}

pub(super) fn change(tx: &Transaction<'_>, change: &DeskChange, now_us: i64) -> Result<(), ControlError> {
    match change {
        DeskChange::SetPassword { person, login, hash, keep, .. } => {
            let id = person.to_string();
            if tx.prepare_cached(sql!("login_of_another"))?.exists([login, &id])? {
                return Err(ControlError::Exists { kind: "sign-in name", id: login.clone() });
            }
            execute(tx, sql!("set_password"), params![id, login, hash, now_us])?;
            execute(tx, sql!("end_other_browsers"), params![id, keep.as_bytes()]).map(drop)
        }
        DeskChange::SetContact(it) if it.phone.is_empty() => {
            execute(tx, sql!("end_contact"), [it.firm.as_str(), it.part.as_str()]).map(drop)
        }
        DeskChange::SetContact(it) => {
            firm_exists(tx, &it.firm)?;
            let args = params![it.firm.as_str(), it.part.as_str(), it.name, it.phone, now_us];
            execute(tx, sql!("set_contact"), args).map(drop)
        }
        DeskChange::SetCare(it) => {
            if !tx.prepare_cached(sql!("gateway_of_desk"))?.exists([it.gateway.as_str()])? {
                return Err(ControlError::Missing { kind: "gateway", id: it.gateway.to_string() });
            }
            let args = params![it.gateway.as_str(), it.kind.as_str(), it.words, it.name, it.at_us];
            execute(tx, sql!("set_care"), args).map(drop)
        }
        DeskChange::EndCare { gateway, kind } => {
            execute(tx, sql!("end_care"), [gateway.as_str(), kind.as_str()]).map(drop)
        }
    }
}

/// Forgets everything that a person of the firm wrote or signs in with.
pub(super) fn erase(tx: &Transaction<'_>, firm: &FirmId) -> Result<(), ControlError> {
    for sql in [sql!("erase_browsers"), sql!("erase_passwords"), sql!("erase_contacts"), sql!("erase_cares")] {
        execute(tx, sql, [firm.as_str()])?;
    }
    Ok(())
}

fn browser(row: &Row<'_>) -> Result<BrowserEntry, ControlError> {
    let person = row.get::<_, Option<String>>(2)?.is_some().then(|| parsed(row, 2, "person id")).transpose()?;
    Ok(BrowserEntry {
        hash: TokenHash::from_bytes(&row.get::<_, Vec<u8>>(0)?).ok_or_else(|| engine(BadRow("cookie hash")))?,
        kind: if row.get_ref(1)?.as_str().map_err(engine)? == LINK { BrowserKind::Link } else { BrowserKind::Session },
        person,
        begun_us: row.get(3)?,
        seen_us: row.get(4)?,
        until_us: row.get(5)?,
    })
}

/// The words of the two kinds.
const LINK: &str = "link";
const SESSION: &str = "session";

fn contact(row: &Row<'_>) -> Result<Contact, ControlError> {
    let part = Part::parse(row.get_ref(1)?.as_str().map_err(engine)?).ok_or_else(|| engine(BadRow("contact")))?;
    Ok(Contact { firm: parsed(row, 0, "firm id")?, part, name: row.get(2)?, phone: row.get(3)? })
}

fn care(row: &Row<'_>) -> Result<Care, ControlError> {
    let kind = CareKind::parse(row.get_ref(1)?.as_str().map_err(engine)?).ok_or_else(|| engine(BadRow("note")))?;
    let gateway = parsed(row, 0, "gateway id")?;
    Ok(Care { gateway, kind, words: row.get(2)?, name: row.get(3)?, at_us: row.get(4)? })
}

#[async_trait]
impl Desk for SqliteControl {
    async fn open_browser(&self, entry: BrowserEntry, kept: u32) -> Result<(), ControlError> {
        self.write(move |tx| {
            let person = entry.person.map(|it| it.to_string());
            execute(tx, sql!("end_past_browsers"), [entry.begun_us])?;
            execute(tx, sql!("end_oldest_browsers"), params![person, kept.saturating_sub(1)])?;
            let kind = if entry.kind == BrowserKind::Link { LINK } else { SESSION };
            let args = params![entry.hash.as_bytes(), kind, person, entry.begun_us, entry.seen_us, entry.until_us];
            execute(tx, sql!("open_browser"), args).map(drop)
        })
        .await
    }

    async fn browser(&self, hash: &TokenHash) -> Result<Option<BrowserEntry>, ControlError> {
        let hash = hash.clone();
        self.read(move |tx| Ok(rows(tx, sql!("browser"), [hash.as_bytes()], browser)?.pop())).await
    }

    async fn saw_browser(&self, hash: &TokenHash, seen_us: i64) -> Result<(), ControlError> {
        let hash = hash.clone();
        self.write(move |tx| execute(tx, sql!("saw_browser"), params![hash.as_bytes(), seen_us]).map(drop)).await
    }

    async fn end_browser(&self, hash: &TokenHash) -> Result<bool, ControlError> {
        let hash = hash.clone();
        self.write(move |tx| Ok(execute(tx, sql!("end_browser"), [hash.as_bytes()])? == 1)).await
    }

    async fn end_browsers_of(&self, person: Option<PersonId>) -> Result<(), ControlError> {
        let person = person.map(|it| it.to_string());
        self.write(move |tx| execute(tx, sql!("end_browsers_of"), [person]).map(drop)).await
    }

    async fn password(&self, login: &str) -> Result<Option<PasswordEntry>, ControlError> {
        let login = login.to_owned();
        let of = |row: &Row<'_>| Ok(PasswordEntry { person: parsed(row, 0, "person id")?, hash: row.get(1)? });
        self.read(move |tx| Ok(rows(tx, sql!("password"), [login], of)?.pop())).await
    }

    async fn login(&self, person: PersonId) -> Result<Option<String>, ControlError> {
        let person = person.to_string();
        self.read(move |tx| Ok(tx.prepare_cached(sql!("login"))?.query_row([person], |row| row.get(0)).optional()?))
            .await
    }

    async fn person(&self, id: PersonId) -> Result<Option<Principal>, ControlError> {
        self.read(move |tx| person(tx, id)).await
    }

    async fn contacts(&self, firm: Option<&FirmId>) -> Result<Vec<Contact>, ControlError> {
        let firm = firm.map(ToString::to_string);
        self.read(move |tx| rows(tx, sql!("contacts"), [firm], contact)).await
    }

    async fn cares(&self) -> Result<Cares, ControlError> {
        let all = self.read(move |tx| rows(tx, sql!("cares"), [], care)).await?;
        Ok(all.into_iter().map(|it| ((it.gateway.clone(), it.kind), it)).collect())
    }
}
