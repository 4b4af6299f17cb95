//! Answers as tables for people and JSON for programs.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::json;

use super::alerts;
use crate::admin::Answer;
use crate::audit::offline::Held;
use crate::consent::{Consent, SharedForm, Status, StoredTerms};
use crate::run::{Forecast, Outlook, Report, RestoreReport};
use crate::store::Flaw;
use crate::store::backup::Sharing;
use crate::store::control::RunEntry;
use crate::time::{HOUR_US, rfc3339, show_duration};

/// Prints what came of a command.
pub(super) fn answer(out: &mut impl Write, answer: &Answer, json: bool) -> io::Result<()> {
    let time = |us: Option<i64>| us.map(rfc3339).unwrap_or_default();
    match answer {
        Answer::Done => Ok(()),
        Answer::Line(line) => writeln!(out, "{line}"),
        Answer::Granted { id, .. } => writeln!(out, "{id}"),
        Answer::Firms(firms) if json => lines(out, firms),
        Answer::Firms(firms) => {
            let row =
                |it: &crate::store::control::Firm| vec![it.id.to_string(), it.name_ko.clone(), it.name_en.clone()];
            table(out, &["FIRM", "KOREAN", "ENGLISH"], firms.iter().map(row))
        }
        Answer::Fleet(now) => super::fleet::print(out, now, json),
        Answer::Gateways(gateways) if json => lines(out, gateways),
        Answer::Gateways(gateways) => {
            let rows = gateways.iter().map(|it| {
                let entry = &it.entry;
                let times = [Some(entry.added_us), entry.not_after_us, entry.revoked_us].map(time);
                [entry.id.to_string(), it.state.clone()].into_iter().chain(times).collect()
            });
            table(out, &["GATEWAY", "STATE", "ADDED", "CERTIFICATE EXPIRES", "REVOKED"], rows)
        }
        Answer::Invited(it) if json => lines(out, std::slice::from_ref(it)),
        Answer::Invited(it) => writeln!(out, "{}", it.invitation),
        Answer::Authorities(all) if json => lines(out, all),
        Answer::Authorities(all) => {
            let rows = all.iter().map(|it| {
                let use_of = if it.signs { "signs" } else { "trusted" };
                vec![it.number.to_string(), use_of.to_owned(), rfc3339(it.not_after_us), it.fingerprint.clone()]
            });
            table(out, &["CA", "USE", "EXPIRES", "SHA-256"], rows)
        }
        Answer::Members(members) if json => lines(out, members),
        Answer::Members(members) => {
            let rows = members.iter().map(|it| {
                let (role, ends) = (it.role.to_string(), time(it.until_us));
                let (added, revoked) = (rfc3339(it.added_us), time(it.revoked_us));
                vec![it.id.to_string(), it.firm.to_string(), it.name.clone(), role, added, ends, revoked]
            });
            table(out, &["MEMBER", "FIRM", "NAME", "ROLE", "ADDED", "UNTIL", "REVOKED"], rows)
        }
        Answer::Operators(operators) if json => lines(out, operators),
        Answer::Operators(operators) => {
            let rows = operators.iter().map(|it| {
                let (role, added) = (it.role.to_string(), rfc3339(it.added_us));
                vec![it.id.to_string(), it.name.clone(), role, added, time(it.revoked_us)]
            });
            table(out, &["OPERATOR", "NAME", "ROLE", "ADDED", "REVOKED"], rows)
        }
        Answer::Groups(groups) if json => lines(out, &groups.iter().collect::<Vec<_>>()),
        Answer::Groups(groups) => {
            let rows = groups.iter().map(|(id, group)| {
                let (version, firms) = group.newest().map_or((0, String::new()), |(number, it)| (number, joined(it)));
                vec![id.to_string(), group.coordinator.to_string(), version.to_string(), firms]
            });
            table(out, &["GROUP", "COORDINATOR", "ROSTER", "FIRMS"], rows)
        }
        Answer::Runs(runs) if json => lines(out, runs),
        Answer::Runs(runs) => {
            let rows = runs.iter().map(|RunEntry { id, run }| {
                let (from, to) = (rfc3339(run.from_us), time(run.to_us));
                vec![run.asset.to_string(), id.clone(), run.customer.clone(), from, to]
            });
            table(out, &["ASSET", "RUN", "CUSTOMER", "FROM", "TO"], rows)
        }
        Answer::Consents(consents) if json => lines(out, consents),
        Answer::Consents(consents) => {
            let rows = consents.iter().map(consent);
            table(out, &["CONSENT", "GRANTOR", "GRANTEE", "STATE", "SHARED", "UNTIL"], rows)
        }
        Answer::Consent(consent) if json => lines(out, std::slice::from_ref(consent.as_ref())),
        Answer::Consent(consent) => one(out, consent),
        Answer::BackedUp(manifest) if json => lines(out, std::slice::from_ref(manifest.as_ref())),
        Answer::BackedUp(manifest) => {
            let keys =
                if manifest.keys { "with the keys of the authority" } else { "without the keys of the authority" };
            let (files, bytes) = (manifest.files.len(), manifest.bytes());
            writeln!(out, "{files} files, {bytes} bytes, {keys}; as of {}", rfc3339(manifest.began_us))?;
            manifest.shared.as_ref().map_or(Ok(()), |shared| {
                let Sharing { with, files, bytes } = shared;
                writeln!(out, "{files} files, {bytes} bytes of them are shared with {}", with.display())
            })
        }
        Answer::Holdings(held) if json => lines(out, std::slice::from_ref(held)),
        Answer::Holdings(held) => writeln!(out, "{} readings of {} series", held.readings, held.series),
        Answer::Exported(manifest) if json => lines(out, std::slice::from_ref(manifest.as_ref())),
        Answer::Exported(it) => {
            writeln!(out, "{} readings of {} series, {} gaps, as of {}", it.readings, it.series, it.gaps, it.began)
        }
        Answer::Retention(lines_of) if json => lines(out, lines_of),
        Answer::Retention(lines_of) => {
            let rows = lines_of.iter().map(|it| {
                let gone = &it.gone;
                let counts = [gone.readings, gone.bytes, gone.days].map(|count| count.to_string());
                [it.firm.to_string()].into_iter().chain(counts).chain([time(gone.from_us)]).collect()
            });
            table(out, &["FIRM", "READINGS", "BYTES", "DAYS OF ROLLUPS", "FROM"], rows)
        }
        Answer::Audit(entries) => lines(out, entries),
        Answer::DeadLetters(letters) if json => lines(out, letters),
        Answer::DeadLetters(letters) => {
            let rows = letters.iter().map(|it| {
                let (id, received) = (it.id.to_string(), rfc3339(it.received_us));
                let (reasons, readings) = (joined(&it.reasons), it.readings.to_string());
                vec![id, it.gateway.to_string(), received, reasons, readings, it.detail.clone()]
            });
            table(out, &["ID", "GATEWAY", "RECEIVED", "REASON", "READINGS", "DETAIL"], rows)
        }
        Answer::DeadLettersHandled(done) if json => lines(out, std::slice::from_ref(done)),
        Answer::DeadLettersHandled(done) => writeln!(
            out,
            "{} records: {} readings stored, {} discarded; of {} records something stays",
            done.records, done.stored_readings, done.discarded_readings, done.kept_records
        ),
        Answer::Alerts(it) => alerts::print_alerts(out, it, json),
        Answer::Windows(windows) => alerts::print_windows(out, windows, json),
        Answer::Tried(tried) => alerts::print_tried(out, tried, json),
        Answer::AuditProof(proof) => writeln!(out, "{}", json!(proof)),
        Answer::AuditKeys(keys) if json => writeln!(out, "{}", json!({ "keys": keys })),
        Answer::AuditKeys(keys) => keys.iter().try_for_each(|key| writeln!(out, "{key}")),
        Answer::AuditHolds(head) if json => writeln!(out, "{}", json!({ "holds": true, "head": head })),
        Answer::AuditHolds(head) => writeln!(out, "{} entries, none changed; head {}", head.number, head.hash),
    }
}

/// Prints what `restore` did.
pub(super) fn restored(out: &mut impl Write, report: &RestoreReport, json: bool) -> io::Result<()> {
    if json {
        return lines(out, std::slice::from_ref(report));
    }
    let RestoreReport { began_us, files, bytes, timeline, keys, undone } = report;
    writeln!(out, "restored   {files} files, {bytes} bytes, as of {}", rfc3339(*began_us))?;
    writeln!(out, "timeline   {timeline}")?;
    writeln!(out, "consents   {} suspended; see `consent list`, and `consent confirm ID`", undone.suspended)?;
    writeln!(out, "withdrawn  {} again, from the witness", undone.revoked)?;
    writeln!(out, "keys       {}", if *keys { "restored" } else { "not in the backup" })
}

/// Prints what holds of a log that was checked without a store.
pub(super) fn held(out: &mut impl Write, held: &Held, json: bool) -> io::Result<()> {
    if json {
        return lines(out, std::slice::from_ref(held));
    }
    match (&held.chain, held.shown_to) {
        (None, Some(shown_to)) => writeln!(out, "what was kept is genuine, up to entry {shown_to}"),
        (None, None) => writeln!(out, "the file is empty"),
        (Some(chain), Some(shown_to)) => {
            let (first, last) = (held.first, held.last);
            writeln!(out, "entries {first} to {last} of {chain} hold; what was kept shows that there are {shown_to}")
        }
        (Some(chain), None) => {
            let (first, last) = (held.first, held.last);
            writeln!(out, "entries {first} to {last} of {chain} hold; nothing shows whether there are more")
        }
    }
}

/// Prints what `check` found.
pub(super) fn report(out: &mut impl Write, report: &Report, json: bool) -> io::Result<()> {
    if json {
        return lines(out, std::slice::from_ref(report));
    }
    writeln!(out, "complex    {}", report.complex)?;
    writeln!(out, "uplink     {}", report.uplink)?;
    writeln!(out, "http       {}", report.http)?;
    writeln!(out, "retention  {}", report.retention)?;
    writeln!(out, "data       {}{}", report.data_dir, if report.in_use { " (a service runs on it)" } else { "" })?;
    if let Some(witness) = &report.witness {
        writeln!(out, "witness    {witness}")?;
    }
    if let Some(it) = &report.database {
        let how = if it.tls { "TLS" } else { "plain text" };
        let shared = if it.shared { ", other processes are on it" } else { "" };
        writeln!(out, "database   {} ({how}, layout {}{shared})", it.server, it.layout)?;
        writeln!(out, "           PostgreSQL {}, synced before a commit is acknowledged", it.version)?;
        let extension = it.timescale.as_ref().map_or("without the extension: daily partitions", String::as_str);
        writeln!(out, "           TimescaleDB {extension}")?;
        writeln!(out, "           {:.3} GB; how full the disk of the server is has to be watched there", gb(it.bytes))?;
        for note in &it.notes {
            writeln!(out, "           note: {note}")?;
        }
    }
    for file in &report.files {
        writeln!(out, "           {:<24} {:>12} bytes  layout {}", file.name, file.bytes, file.version)?;
    }
    for (name, count) in &report.counts {
        writeln!(out, "           {count} {name}")?;
    }
    if let Some(found) = &report.deep {
        writeln!(out, "deep       {} readings looked at, {} flaws", found.readings, found.flaws.len())?;
        for Flaw { place, what, hint } in &found.flaws {
            writeln!(out, "flaw       {place}: {what}\n           hint: {hint}")?;
        }
    }
    report.forecast.as_ref().map_or(Ok(()), |it| forecast(out, it))
}

/// Prints when the disk is full and how long a backup takes.
pub(super) fn forecast(out: &mut impl Write, it: &Forecast) -> io::Result<()> {
    let room = format!("{:.3} GB above the reserve", gb(it.room_bytes));
    match &it.growth {
        None => {
            writeln!(out, "growth     not known before there is an hour of readings")?;
            writeln!(out, "room       {room}")?;
        }
        Some(growth) => {
            let (a_day, each) = (growth.readings_a_day, growth.bytes_a_reading);
            // Whole hours: a window is not more exact than that.
            let window = show_duration(growth.window_us / HOUR_US * HOUR_US);
            writeln!(
                out,
                "growth     {:.3} GB a day: {a_day} readings of {each:.1} bytes, as in the last {window}",
                growth.gb_a_day
            )?;
            match growth.room {
                Outlook::FullInDays(days) => writeln!(out, "room       {room}: full in {days} days")?,
                Outlook::StaysAtBytes(bytes) => {
                    writeln!(out, "room       {room}: enough, the files stay at about {:.3} GB", gb(bytes))?;
                }
            }
        }
    }
    writeln!(out, "backup     {:.3} GB: {} s at the usual rate", gb(it.backup_bytes), it.backup_seconds)
}

/// 10⁹ bytes.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn gb(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

pub(super) fn lines<T: Serialize>(out: &mut impl Write, rows: &[T]) -> io::Result<()> {
    for row in rows {
        serde_json::to_writer(&mut *out, row)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn state(consent: &Consent) -> &'static str {
    match consent.status {
        Status::Active => "active",
        Status::Suspended { .. } => "suspended",
        Status::Revoked { .. } => "revoked",
    }
}

fn consent(it: &Consent) -> Vec<String> {
    let head = [it.id.to_string(), it.grantor.to_string(), it.grantee.to_string(), state(it).to_owned()];
    let tail = match &it.terms {
        StoredTerms::Unknown => ["terms unknown to this version: denies".to_owned(), String::new()],
        StoredTerms::Known(terms) => [
            format!("{} × {}, {}", joined(&terms.assets), joined(&terms.metrics), form(&terms.form)),
            rfc3339(terms.access.until_us),
        ],
    };
    head.into_iter().chain(tail).collect()
}

fn one(out: &mut impl Write, it: &Consent) -> io::Result<()> {
    writeln!(out, "consent    {}", it.id)?;
    writeln!(out, "grantor    {}", it.grantor)?;
    writeln!(out, "grantee    {}", it.grantee)?;
    match it.status {
        Status::Active => writeln!(out, "state      active")?,
        Status::Suspended { since_us } => {
            writeln!(out, "state      suspended since {}, until it is confirmed", rfc3339(since_us))?;
        }
        Status::Revoked { at_us } => writeln!(out, "state      revoked at {}", rfc3339(at_us))?,
    }
    let StoredTerms::Known(terms) = &it.terms else {
        return writeln!(out, "terms      unknown to this version: denies");
    };
    let end = |us: Option<i64>| us.map_or_else(|| "open".to_owned(), rfc3339);
    writeln!(out, "assets     {}", joined(&terms.assets))?;
    writeln!(out, "metrics    {}", joined(&terms.metrics))?;
    writeln!(out, "form       {}", form(&terms.form))?;
    writeln!(out, "observed   from {} to {}", end(terms.event.from_us), end(terms.event.to_us))?;
    writeln!(out, "readable   from {} to {}", rfc3339(terms.access.not_before_us), rfc3339(terms.access.until_us))
}

fn form(form: &SharedForm) -> String {
    match form {
        SharedForm::Raw => "raw".to_owned(),
        SharedForm::Benchmark => "in benchmarks only".to_owned(),
        SharedForm::Bucketed { floor_us, functions } => {
            format!("{} of {} and more", joined(functions), show_duration(*floor_us))
        }
    }
}

fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// Columns as wide as their widest cell; a Hangul syllable takes two.
pub(super) fn table(out: &mut impl Write, head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> io::Result<()> {
    let mut all = vec![head.iter().map(ToString::to_string).collect::<Vec<_>>()];
    all.extend(rows);
    let widths: Vec<_> = (0..head.len())
        .map(|column| all.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or(0))
        .collect();
    for row in &all {
        let mut line = String::new();
        for (cell, wanted) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', wanted - width(cell) + 2));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn width(text: &str) -> usize {
    let wide = |c: char| matches!(u32::from(c), 0x1100..=0x115F | 0x2E80..=0xA4CF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF | 0xFF00..=0xFF60);
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}
