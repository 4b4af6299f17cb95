//! Rows of the control data as what they are.

use rusqlite::{Row, Transaction};
use sandan_proto::id::GatewayId;
use sandan_proto::invitation::to_hex;

use super::{BadRow, STATEMENTS, engine, parsed, rows, statement, unsigned};
use crate::audit::{Entry, Hash, Kind};
use crate::auth::{KeyHash, Member, Operator, Principal, TokenHash};
use crate::consent::{Consent, Role, Status, StoredTerms};
use crate::id::PersonId;
use crate::store::control::{Certified, ControlError, GatewayEntry, InvitationEntry, MemberEntry, OperatorEntry};

fn role(row: &Row<'_>, at: usize) -> Result<Role, ControlError> {
    Role::parse(row.get_ref(at)?.as_str().map_err(engine)?).ok_or_else(|| engine(BadRow("role")))
}

pub(super) fn member(row: &Row<'_>) -> Result<MemberEntry, ControlError> {
    Ok(MemberEntry {
        id: parsed(row, 0, "member id")?,
        firm: parsed(row, 1, "firm id")?,
        name: row.get(2)?,
        added_us: row.get(3)?,
        revoked_us: row.get(4)?,
        role: role(row, 5)?,
        until_us: row.get(6)?,
    })
}

pub(super) fn operator(row: &Row<'_>) -> Result<OperatorEntry, ControlError> {
    let (id, name, added_us) = (parsed(row, 0, "operator id")?, row.get(1)?, row.get(2)?);
    Ok(OperatorEntry { id, name, added_us, revoked_us: row.get(3)?, role: role(row, 4)? })
}

pub(super) fn consent(row: &Row<'_>) -> Result<Consent, ControlError> {
    Ok(Consent {
        id: parsed(row, 0, "consent id")?,
        grantor: parsed(row, 1, "firm id")?,
        grantee: parsed(row, 2, "firm id")?,
        terms: StoredTerms::parse(row.get_ref(3)?.as_str().map_err(engine)?),
        status: match (row.get(4)?, row.get(5)?) {
            (Some(at_us), _) => Status::Revoked { at_us },
            (None, Some(since_us)) => Status::Suspended { since_us },
            (None, None) => Status::Active,
        },
    })
}

pub(super) fn entry(row: &Row<'_>) -> Result<Entry, ControlError> {
    let hash = |at| -> Result<Hash, ControlError> {
        Hash::from_bytes(&row.get::<_, Vec<u8>>(at)?).ok_or_else(|| engine(BadRow("hash")))
    };
    Ok(Entry {
        chain: parsed(row, 0, "chain")?,
        number: unsigned(row.get(1)?),
        time_us: row.get(2)?,
        kind: Kind::parse(row.get_ref(3)?.as_str().map_err(engine)?).ok_or_else(|| engine(BadRow("entry kind")))?,
        actor: row.get(4)?,
        detail: serde_json::from_str(row.get_ref(5)?.as_str().map_err(engine)?).map_err(engine)?,
        previous: hash(6)?,
        hash: hash(7)?,
    })
}

/// 32 bytes of a row.
fn hash32(row: &Row<'_>, at: usize, kind: &'static str) -> Result<[u8; 32], ControlError> {
    row.get::<_, Vec<u8>>(at)?.try_into().map_err(|_| engine(BadRow(kind)))
}

pub(super) fn key_hash(row: &Row<'_>, at: usize) -> Result<KeyHash, ControlError> {
    KeyHash::from_bytes(&hash32(row, at, "key")?).ok_or_else(|| engine(BadRow("key")))
}

pub(super) fn gateway(row: &Row<'_>) -> Result<GatewayEntry, ControlError> {
    let issuer = row.get::<_, Option<Vec<u8>>>(5)?.is_some().then(|| hash32(row, 5, "issuer")).transpose()?;
    Ok(GatewayEntry {
        id: parsed(row, 0, "gateway id")?,
        added_us: row.get(1)?,
        revoked_us: row.get(2)?,
        enrolled_us: row.get(3)?,
        not_after_us: row.get(4)?,
        issuer: issuer.map(|it| to_hex(&it)),
        invited_until_us: row.get(6)?,
    })
}

pub(super) fn invitation(row: &Row<'_>) -> Result<InvitationEntry, ControlError> {
    let id: GatewayId = parsed(row, 1, "gateway id")?;
    let is_used = row.get::<_, Option<Vec<u8>>>(5)?.is_some();
    let used = || -> Result<Certified, ControlError> {
        Ok(Certified {
            id: id.clone(),
            key: key_hash(row, 5)?,
            serial: row.get(6)?,
            certificate: row.get(7)?,
            not_after_us: row.get(8)?,
            issuer: hash32(row, 9, "issuer")?,
        })
    };
    Ok(InvitationEntry {
        token: TokenHash::from_bytes(&row.get::<_, Vec<u8>>(0)?).ok_or_else(|| engine(BadRow("token hash")))?,
        expires_us: row.get(2)?,
        replace: row.get(3)?,
        released: row.get(4)?,
        used: is_used.then(used).transpose()?,
        gateway: id,
    })
}

/// Whom a token belongs to, with its hash.
type Tokened = (TokenHash, Principal);

fn tokened_member(row: &Row<'_>) -> Result<Tokened, ControlError> {
    let (id, firm) = (parsed(row, 1, "member id")?, parsed(row, 2, "firm id")?);
    let member = Member { id, firm, name: row.get(3)?, role: role(row, 4)?, until_us: row.get(5)? };
    Ok((token_hash(row)?, Principal::Member(member)))
}

fn tokened_operator(row: &Row<'_>) -> Result<Tokened, ControlError> {
    let id = parsed(row, 1, "operator id")?;
    Ok((token_hash(row)?, Principal::Operator(Operator { id, name: row.get(2)?, role: role(row, 3)? })))
}

fn token_hash(row: &Row<'_>) -> Result<TokenHash, ControlError> {
    TokenHash::from_bytes(&row.get::<_, Vec<u8>>(0)?).ok_or_else(|| engine(BadRow("token hash")))
}

pub(super) fn principal(tx: &Transaction<'_>, token: &TokenHash) -> Result<Option<Tokened>, ControlError> {
    let mut found = rows(tx, sql!("principal_member"), [token.as_bytes()], tokened_member)?;
    found.extend(rows(tx, sql!("principal_operator"), [token.as_bytes()], tokened_operator)?);
    Ok(found.pop())
}

/// Who a person is that was not revoked.
pub(super) fn person(tx: &Transaction<'_>, id: PersonId) -> Result<Option<Principal>, ControlError> {
    let id = id.to_string();
    let mut found = rows(tx, sql!("person_member"), [&id], tokened_member)?;
    found.extend(rows(tx, sql!("person_operator"), [&id], tokened_operator)?);
    Ok(found.pop().map(|(_, person)| person))
}
