//! How people sign in at the console, and what they write down beside the fleet.

use async_trait::async_trait;
use sandan_proto::id::FirmId;
use tokio_postgres::Row;

use super::rows::{BadRow, engine, parsed, principal, token_hash};
use super::{Args, PostgresControl, STATEMENTS, Tx, sql, statement};
use crate::auth::{Principal, TokenHash};
use crate::id::PersonId;
use crate::store::control::{
    BrowserEntry, BrowserKind, Care, CareKind, Cares, Contact, ControlError, Desk, DeskChange, Part, PasswordEntry,
};

pub(super) async fn change(tx: &Tx<'_>, change: &DeskChange, now_us: i64) -> Result<(), ControlError> {
    match change {
        DeskChange::SetPassword { person, login, hash, keep, .. } => {
            let id = person.to_string();
            if !tx.rows(sql!("login_of_another"), &[login, &id]).await?.is_empty() {
                return Err(ControlError::Exists { kind: "sign-in name", id: login.clone() });
            }
            tx.execute(sql!("set_password"), &[&id, login, hash, &now_us]).await?;
            tx.execute(sql!("end_other_browsers"), &[&id, &keep.as_bytes().as_slice()]).await.map(drop)
        }
        DeskChange::SetContact(it) if it.phone.is_empty() => {
            tx.execute(sql!("end_contact"), &[&it.firm.as_str(), &it.part.as_str()]).await.map(drop)
        }
        DeskChange::SetContact(it) => {
            tx.firm_exists(&it.firm).await?;
            let args: Args<'_> = &[&it.firm.as_str(), &it.part.as_str(), &it.name, &it.phone, &now_us];
            tx.execute(sql!("set_contact"), args).await.map(drop)
        }
        DeskChange::SetCare(it) => {
            if tx.rows(sql!("gateway_of_desk"), &[&it.gateway.as_str()]).await?.is_empty() {
                return Err(ControlError::Missing { kind: "gateway", id: it.gateway.to_string() });
            }
            let args: Args<'_> = &[&it.gateway.as_str(), &it.kind.as_str(), &it.words, &it.name, &it.at_us];
            tx.execute(sql!("set_care"), args).await.map(drop)
        }
        DeskChange::EndCare { gateway, kind } => {
            tx.execute(sql!("end_care"), &[&gateway.as_str(), &kind.as_str()]).await.map(drop)
        }
    }
}

/// Forgets everything that a person of the firm wrote or signs in with.
pub(super) async fn erase(tx: &Tx<'_>, firm: &FirmId) -> Result<(), ControlError> {
    for sql in [sql!("erase_browsers"), sql!("erase_passwords"), sql!("erase_contacts"), sql!("erase_cares")] {
        tx.execute(sql, &[&firm.as_str()]).await?;
    }
    Ok(())
}

/// The words of the two kinds.
const LINK: &str = "link";
const SESSION: &str = "session";

fn browser(row: &Row) -> Result<BrowserEntry, ControlError> {
    Ok(BrowserEntry {
        hash: token_hash(row, 0)?,
        kind: if row.get::<_, &str>(1) == LINK { BrowserKind::Link } else { BrowserKind::Session },
        person: row.get::<_, Option<&str>>(2).is_some().then(|| parsed(row, 2, "person id")).transpose()?,
        begun_us: row.get(3),
        seen_us: row.get(4),
        until_us: row.get(5),
    })
}

fn contact(row: &Row) -> Result<Contact, ControlError> {
    let part = Part::parse(row.get(1)).ok_or_else(|| engine(BadRow("contact")))?;
    Ok(Contact { firm: parsed(row, 0, "firm id")?, part, name: row.get(2), phone: row.get(3) })
}

fn care(row: &Row) -> Result<Care, ControlError> {
    let kind = CareKind::parse(row.get(1)).ok_or_else(|| engine(BadRow("note")))?;
    Ok(Care { gateway: parsed(row, 0, "gateway id")?, kind, words: row.get(2), name: row.get(3), at_us: row.get(4) })
}

impl PostgresControl {
    async fn desk(&self, sql: &str, args: Args<'_>) -> Result<u64, ControlError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(sql).await.map_err(engine)?;
        client.execute(&statement, args).await.map_err(engine)
    }
}

#[async_trait]
impl Desk for PostgresControl {
    async fn open_browser(&self, entry: BrowserEntry, kept: u32) -> Result<(), ControlError> {
        let mut client = self.client().await?;
        let tx = Tx::begin(&mut client).await?;
        let person = entry.person.map(|it| it.to_string());
        tx.execute(sql!("end_past_browsers"), &[&entry.begun_us]).await?;
        tx.execute(sql!("end_oldest_browsers"), &[&person, &i64::from(kept.saturating_sub(1))]).await?;
        let kind = if entry.kind == BrowserKind::Link { LINK } else { SESSION };
        let hash = entry.hash.as_bytes().as_slice();
        let args: Args<'_> = &[&hash, &kind, &person, &entry.begun_us, &entry.seen_us, &entry.until_us];
        tx.execute(sql!("open_browser"), args).await?;
        tx.commit().await
    }

    async fn browser(&self, hash: &TokenHash) -> Result<Option<BrowserEntry>, ControlError> {
        self.first(sql!("browser"), &[&hash.as_bytes().as_slice()], browser).await
    }

    async fn saw_browser(&self, hash: &TokenHash, seen_us: i64) -> Result<(), ControlError> {
        self.desk(sql!("saw_browser"), &[&hash.as_bytes().as_slice(), &seen_us]).await.map(drop)
    }

    async fn end_browser(&self, hash: &TokenHash) -> Result<bool, ControlError> {
        Ok(self.desk(sql!("end_browser"), &[&hash.as_bytes().as_slice()]).await? == 1)
    }

    async fn end_browsers_of(&self, person: Option<PersonId>) -> Result<(), ControlError> {
        let person = person.map(|it| it.to_string());
        self.desk(sql!("end_browsers_of"), &[&person]).await.map(drop)
    }

    async fn password(&self, login: &str) -> Result<Option<PasswordEntry>, ControlError> {
        let of = |row: &Row| Ok(PasswordEntry { person: parsed(row, 0, "person id")?, hash: row.get(1) });
        self.first(sql!("password"), &[&login], of).await
    }

    async fn login(&self, person: PersonId) -> Result<Option<String>, ControlError> {
        self.first(sql!("login"), &[&person.to_string()], |row| Ok(row.get(0))).await
    }

    async fn person(&self, id: PersonId) -> Result<Option<Principal>, ControlError> {
        let found = self.first(sql!("person"), &[&id.to_string()], principal).await?;
        Ok(found.map(|(_, person)| person))
    }

    async fn contacts(&self, firm: Option<&FirmId>) -> Result<Vec<Contact>, ControlError> {
        let firm = firm.map(FirmId::as_str);
        self.list(sql!("contacts"), &[&firm], contact).await
    }

    async fn cares(&self) -> Result<Cares, ControlError> {
        let all = self.list(sql!("cares"), &[], care).await?;
        Ok(all.into_iter().map(|it| ((it.gateway.clone(), it.kind), it)).collect())
    }
}
