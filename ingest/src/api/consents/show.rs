//! Agreements and dry runs as JSON.

use serde_json::{Value, json};

use crate::access::{Rehearsal, Rehearsed, Rows, Seen};
use crate::api::readings::{bucket, reading};
use crate::consent::{Grantee, Hold, Party, Signature, Terms, Turn};
use crate::time::rfc3339;

/// One agreement as its side may see it; with what may be done to it where that was asked for.
pub(super) fn consent(seen: &Seen, acts: Option<Vec<&'static str>>) -> Value {
    let it = seen.agreement();
    let turn = seen.proposal().map(|proposal| match proposal.turn {
        Turn::Draft { .. } => "draft",
        Turn::Grantor => "grantor",
        Turn::Grantee => "grantee",
    });
    let proposal = seen.proposal().map(|proposal| {
        let needed = if proposal.terms.is_raw() { 2 } else { 1 };
        let mut json = json!({ "terms": terms(seen, &proposal.terms) });
        if seen.party == Party::Grantor {
            json["approvals"] = json!(proposal.approvals.len());
            json["approvals_needed"] = json!(needed);
        }
        json
    });
    let in_force = it
        .in_force
        .as_ref()
        .map(|now| json!({ "version": now.version, "supersedes": now.supersedes, "terms": terms(seen, &now.terms) }));
    let mut json = json!({
        "id": it.id,
        "as": party(seen.party),
        "grantor": seen.grantor(),
        "grantee": match &it.grantee {
            Grantee::Firm(firm) => json!({ "firm": firm }),
            Grantee::Group { group, roster } => json!({ "group": group, "roster": roster }),
        },
        "state": seen.phase.as_str(),
        "revision": it.revision,
        "turn": turn,
        "in_force": in_force,
        "proposal": proposal,
        "held_by": it.holds.keys().map(|hold| held_by(*hold)).collect::<Vec<_>>(),
        "attested": it.attested_us.map(rfc3339),
        "signatures": it.signatures.iter().filter_map(|it| signature(seen, it)).collect::<Vec<_>>(),
    });
    if let Some(acts) = acts {
        json["acts"] = json!(acts);
    }
    json
}

/// The record; without the machines where they go by pseudonyms.
fn terms(seen: &Seen, terms: &Terms) -> Value {
    let mut json = json!(terms);
    if seen.is_veiled() {
        json["assets"] = json!([]);
        json["assets_under_pseudonyms"] = json!(terms.assets.len());
    }
    json
}

fn party(party: Party) -> &'static str {
    match party {
        Party::Grantor => "grantor",
        Party::Grantee => "grantee",
        Party::Alliance => "alliance",
    }
}

fn held_by(hold: Hold) -> &'static str {
    match hold {
        Hold::Grantor => "grantor",
        Hold::Alliance => "alliance",
        Hold::Released => "released",
        Hold::Restored => "restored",
    }
}

/// Who of the other side it was, is not told; nor, before anything is in force, whether one of
/// its officers has said yes already.
fn signature(seen: &Seen, it: &Signature) -> Option<Value> {
    let own = it.party == seen.party;
    let told = own || seen.agreement().in_force.is_some();
    let by = own.then_some(it.by);
    told.then(|| json!({ "side": party(it.party), "by": by, "time": rfc3339(it.at_us), "page": it.page }))
}

/// What the other side would see.
pub(super) fn rehearsal(it: &Rehearsal) -> Value {
    json!({
        "grantee": it.grantee,
        "from": rfc3339(it.trial.from_us),
        "to": rfc3339(it.trial.to_us),
        "purpose": it.trial.purpose,
        "series": it.series.iter().map(series).collect::<Vec<_>>(),
        "not_looked_at": it.not_looked_at,
        "assets_without_series": it.assets_without_series,
        "metrics_without_series": it.metrics_without_series,
    })
}

fn series(it: &Rehearsed) -> Value {
    let ranges: Vec<_> =
        it.ranges.iter().map(|(from, to)| json!({ "from": rfc3339(*from), "to": rfc3339(*to) })).collect();
    let reasons: Vec<_> =
        it.reasons.iter().map(|why| json!({ "code": why.code(), "detail": why.to_string() })).collect();
    json!({
        "asset": it.info.key.asset,
        "asset_name_ko": it.info.name_ko,
        "asset_name_en": it.info.name_en,
        "metric": it.info.key.metric,
        "unit": it.info.unit,
        "rows": it.rows,
        "more": it.more,
        "ranges": ranges,
        "examples": examples(it),
        "reasons": reasons,
    })
}

fn examples(it: &Rehearsed) -> Vec<Value> {
    match &it.examples {
        Rows::Raw(rows) => rows.iter().map(reading).collect(),
        Rows::Buckets(rows) => rows.iter().map(|row| bucket(row, &it.functions)).collect(),
    }
}
