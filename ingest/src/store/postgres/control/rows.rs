//! Rows of the control data as what they are.

use sandan_proto::id::GatewayId;
use sandan_proto::invitation::to_hex;
use tokio_postgres::Row;

use super::{hash, unsigned};
use crate::audit::{Entry, Head, Kind};
use crate::auth::{KeyHash, Member, Operator, Principal, TokenHash};
use crate::consent::{Consent, Role, Status, StoredTerms};
use crate::store::control::{
    Certified, ControlError, GatewayEntry, Holder, InvitationEntry, MemberEntry, OperatorEntry,
};

/// A stored row that is not of its form.
#[derive(Debug, thiserror::Error)]
#[error("the database holds a {0} that cannot be read")]
pub(super) struct BadRow(pub(super) &'static str);

pub(super) fn engine(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ControlError {
    ControlError::Engine(error.into())
}

/// A text column as an id or other parsed value.
pub(super) fn parsed<T: std::str::FromStr>(row: &Row, at: usize, kind: &'static str) -> Result<T, ControlError> {
    row.get::<_, &str>(at).parse().map_err(|_| engine(BadRow(kind)))
}

pub(super) fn stored_hash<T>(
    row: &Row,
    at: usize,
    of: impl Fn(&[u8]) -> Option<T>,
    kind: &'static str,
) -> Result<T, ControlError> {
    of(row.get(at)).ok_or_else(|| engine(BadRow(kind)))
}

fn hash32(row: &Row, at: usize, kind: &'static str) -> Result<[u8; 32], ControlError> {
    stored_hash(row, at, |bytes| bytes.try_into().ok(), kind)
}

pub(super) fn key_hash(row: &Row, at: usize) -> Result<KeyHash, ControlError> {
    stored_hash(row, at, KeyHash::from_bytes, "key")
}

pub(super) fn token_hash(row: &Row, at: usize) -> Result<TokenHash, ControlError> {
    stored_hash(row, at, TokenHash::from_bytes, "token hash")
}

pub(super) fn head(row: &Row) -> Result<Head, ControlError> {
    Ok(Head { number: unsigned(row.get(0)), time_us: row.get(1), hash: hash(row, 2)? })
}

pub(super) fn consent(row: &Row) -> Result<Consent, ControlError> {
    Ok(Consent {
        id: parsed(row, 0, "consent id")?,
        grantor: parsed(row, 1, "firm id")?,
        grantee: parsed(row, 2, "firm id")?,
        terms: StoredTerms::parse(row.get(3)),
        status: match (row.get(4), row.get(5)) {
            (Some(at_us), _) => Status::Revoked { at_us },
            (None, Some(since_us)) => Status::Suspended { since_us },
            (None, None) => Status::Active,
        },
    })
}

pub(super) fn entry(row: &Row) -> Result<Entry, ControlError> {
    Ok(Entry {
        chain: parsed(row, 0, "chain")?,
        number: unsigned(row.get(1)),
        time_us: row.get(2),
        kind: Kind::parse(row.get(3)).ok_or_else(|| engine(BadRow("entry kind")))?,
        actor: row.get(4),
        detail: serde_json::from_str(row.get(5)).map_err(engine)?,
        previous: hash(row, 6)?,
        hash: hash(row, 7)?,
    })
}

pub(super) fn gateway(row: &Row) -> Result<GatewayEntry, ControlError> {
    let issuer = row.get::<_, Option<&[u8]>>(5).is_some().then(|| hash32(row, 5, "issuer")).transpose()?;
    Ok(GatewayEntry {
        id: parsed(row, 0, "gateway id")?,
        added_us: row.get(1),
        revoked_us: row.get(2),
        enrolled_us: row.get(3),
        not_after_us: row.get(4),
        issuer: issuer.map(|it| to_hex(&it)),
        invited_until_us: row.get(6),
    })
}

pub(super) fn holder(row: &Row) -> Result<Holder, ControlError> {
    let gateway = parsed(row, 0, "gateway id")?;
    Ok(Holder { gateway, current: row.get(1), revoked_us: row.get(2), not_after_us: row.get(3) })
}

pub(super) fn invitation(row: &Row) -> Result<InvitationEntry, ControlError> {
    let id: GatewayId = parsed(row, 1, "gateway id")?;
    let is_used = row.get::<_, Option<&[u8]>>(5).is_some();
    let used = || -> Result<Certified, ControlError> {
        Ok(Certified {
            id: id.clone(),
            key: key_hash(row, 5)?,
            serial: row.get(6),
            certificate: row.get(7),
            not_after_us: row.get(8),
            issuer: hash32(row, 9, "issuer")?,
        })
    };
    Ok(InvitationEntry {
        token: token_hash(row, 0)?,
        expires_us: row.get(2),
        replace: row.get(3),
        released: row.get(4),
        used: is_used.then(used).transpose()?,
        gateway: id,
    })
}

fn role(row: &Row, at: usize) -> Result<Role, ControlError> {
    Role::parse(row.get(at)).ok_or_else(|| engine(BadRow("role")))
}

pub(super) fn member(row: &Row) -> Result<MemberEntry, ControlError> {
    Ok(MemberEntry {
        id: parsed(row, 0, "member id")?,
        firm: parsed(row, 1, "firm id")?,
        name: row.get(2),
        added_us: row.get(3),
        revoked_us: row.get(4),
        role: role(row, 5)?,
        until_us: row.get(6),
    })
}

pub(super) fn operator(row: &Row) -> Result<OperatorEntry, ControlError> {
    let (id, name, added_us) = (parsed(row, 0, "operator id")?, row.get(1), row.get(2));
    Ok(OperatorEntry { id, name, added_us, revoked_us: row.get(3), role: role(row, 4)? })
}

/// Of a member, or of an operator, who is of no firm.
pub(super) fn principal(row: &Row) -> Result<(TokenHash, Principal), ControlError> {
    let (name, role) = (row.get(3), role(row, 4)?);
    let principal = if row.get::<_, Option<&str>>(2).is_some() {
        let (id, firm) = (parsed(row, 1, "member id")?, parsed(row, 2, "firm id")?);
        Principal::Member(Member { id, firm, name, role, until_us: row.get(5) })
    } else {
        Principal::Operator(Operator { id: parsed(row, 1, "operator id")?, name, role })
    };
    Ok((token_hash(row, 0)?, principal))
}
