//! What the service says, for people; as JSON, as it came.

use std::io::{self, Write};

use serde_json::Value;

use crate::cli::print::table;

/// A text of the service, without what a terminal would obey.
pub(super) fn safe(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    text.chars().filter(|sign| *sign == '\n' || !sign.is_control()).collect()
}

/// One text alone on its line.
pub(super) fn text(out: &mut impl Write, value: &Value) -> io::Result<()> {
    writeln!(out, "{}", safe(value))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn joined(value: &Value) -> String {
    list(value).iter().map(safe).collect::<Vec<_>>().join(", ")
}

fn grantee(it: &Value) -> String {
    match it["grantee"]["group"].as_str() {
        Some(_) => format!("{}, roster {}", safe(&it["grantee"]["group"]), safe(&it["grantee"]["roster"])),
        None => safe(&it["grantee"]["firm"]),
    }
}

fn grantor(it: &Value) -> String {
    if it["grantor"].is_null() { "(pseudonym)".to_owned() } else { safe(&it["grantor"]) }
}

pub(super) fn consents(out: &mut impl Write, all: &[Value], json: bool) -> io::Result<()> {
    if json {
        return all.iter().try_for_each(|it| writeln!(out, "{it}"));
    }
    let rows = all.iter().map(|it| {
        vec![safe(&it["id"]), safe(&it["as"]), grantor(it), grantee(it), safe(&it["state"]), safe(&it["turn"])]
    });
    table(out, &["CONSENT", "AS", "GRANTOR", "GRANTEE", "STATE", "TURN"], rows)
}

pub(super) fn consent(out: &mut impl Write, it: &Value, json: bool) -> io::Result<()> {
    if json {
        return writeln!(out, "{it}");
    }
    writeln!(out, "consent    {}", safe(&it["id"]))?;
    writeln!(out, "grantor    {}", grantor(it))?;
    writeln!(out, "grantee    {}", grantee(it))?;
    writeln!(out, "state      {}", safe(&it["state"]))?;
    writeln!(out, "revision   {}", safe(&it["revision"]))?;
    if !it["turn"].is_null() {
        writeln!(out, "turn       {}", safe(&it["turn"]))?;
    }
    if !list(&it["held_by"]).is_empty() {
        writeln!(out, "held by    {}", joined(&it["held_by"]))?;
    }
    for (name, of) in [("in force", "in_force"), ("proposed", "proposal")] {
        if !it[of].is_null() {
            writeln!(out, "{name:<10} {}", safe(&it[of]["terms"]))?;
        }
    }
    writeln!(out, "you may    {}", joined(&it["acts"]))
}

/// What an act came to.
pub(super) fn outcome(out: &mut impl Write, it: &Value, json: bool) -> io::Result<()> {
    if json {
        return writeln!(out, "{it}");
    }
    writeln!(out, "{} is {}, revision {}", safe(&it["id"]), safe(&it["state"]), safe(&it["revision"]))?;
    let (has, needs) = (&it["proposal"]["approvals"], &it["proposal"]["approvals_needed"]);
    match (has.as_u64(), needs.as_u64()) {
        (Some(has), Some(needs)) if has > 0 => writeln!(out, "{has} of {needs} approvals"),
        _ => Ok(()),
    }
}

pub(super) fn page(out: &mut impl Write, it: &Value, json: bool) -> io::Result<()> {
    if json {
        return writeln!(out, "{it}");
    }
    writeln!(out, "{}", safe(&it["text"]))?;
    for machine in list(&it["machines"]) {
        let (ko, en) = (safe(&machine["name_ko"]), safe(&machine["name_en"]));
        writeln!(out, "{}  {ko}  {en}", safe(&machine["asset"]))?;
    }
    writeln!(out, "page {}", safe(&it["page"]))
}

pub(super) fn papers(out: &mut impl Write, it: &Value, json: bool) -> io::Result<()> {
    if json {
        return writeln!(out, "{it}");
    }
    writeln!(out, "{}\n{}", safe(&it["request"]), safe(&it["confidentiality"]))
}

pub(super) fn dry_run(out: &mut impl Write, it: &Value, json: bool) -> io::Result<()> {
    if json {
        return writeln!(out, "{it}");
    }
    let (from, to) = (safe(&it["from"]), safe(&it["to"]));
    writeln!(out, "what {} would see, from {from} to {to}; nothing is granted by this", safe(&it["grantee"]))?;
    for series in list(&it["series"]) {
        let (asset, metric) = (safe(&series["asset"]), safe(&series["metric"]));
        let more = if series["more"] == true { "or more " } else { "" };
        writeln!(out, "{asset} {metric}: {} {more}rows", safe(&series["rows"]))?;
        for row in list(&series["examples"]) {
            let cells = row.as_object().into_iter().flatten();
            let cells: Vec<_> = cells.map(|(name, value)| format!("{name} {}", safe(value))).collect();
            writeln!(out, "  {}", cells.join("  "))?;
        }
        for reason in list(&series["reasons"]) {
            writeln!(out, "  nothing: {}", safe(&reason["detail"]))?;
        }
    }
    for (what, of) in [("machine", "assets_without_series"), ("metric", "metrics_without_series")] {
        for name in list(&it[of]) {
            writeln!(out, "no series of {what} {} yet", safe(name))?;
        }
    }
    match it["not_looked_at"].as_u64() {
        Some(more) if more > 0 => writeln!(out, "{more} more series were not looked at"),
        _ => Ok(()),
    }
}

pub(super) fn groups(out: &mut impl Write, it: &Value, json: bool) -> io::Result<()> {
    if json {
        return list(&it["groups"]).iter().try_for_each(|it| writeln!(out, "{it}"));
    }
    let rows = list(&it["groups"]).iter().map(|it| {
        vec![safe(&it["id"]), safe(&it["kind"]), safe(&it["coordinator"]), safe(&it["roster"]), joined(&it["firms"])]
    });
    table(out, &["GROUP", "KIND", "COORDINATOR", "ROSTER", "FIRMS"], rows)
}

pub(super) fn officers(out: &mut impl Write, it: &Value, json: bool) -> io::Result<()> {
    if json {
        return list(&it["officers"]).iter().try_for_each(|it| writeln!(out, "{it}"));
    }
    let rows = list(&it["officers"]).iter().map(|it| {
        let standing = &it["standing"];
        vec![safe(&it["person"]), safe(&it["name"]), safe(&standing["state"]), safe(&standing["since"])]
    });
    table(out, &["OFFICER", "NAME", "STATE", "SINCE"], rows)
}

/// A token stands alone on standard output, and is never shown again; else how the officer stands.
pub(super) fn officer(out: &mut impl Write, it: &Value, json: bool) -> io::Result<()> {
    if json {
        return writeln!(out, "{it}");
    }
    if it["token"].is_null() {
        let state = &it["standing"]["state"];
        return writeln!(
            out,
            "{} {}",
            safe(&it["person"]),
            if state.is_null() { "removed".into() } else { safe(state) }
        );
    }
    eprintln!("officer {}, {}", safe(&it["person"]), safe(&it["standing"]["state"]));
    text(out, &it["token"])
}
