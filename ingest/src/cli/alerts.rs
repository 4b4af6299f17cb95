//! `alert` and `maintenance`: what can be typed, and the command it means.

use std::io::{self, Write};

use clap::Subcommand;
use serde_json::json;

use super::print::{lines, table};
use crate::admin::Command;
use crate::admin::alerts::{Alerts, Tried, WantedMute, WantedWindow};
use crate::alert::{Kind, Scope, When, Window, minute_of_day, shown_minute};
use crate::time::{parse_duration, parse_time, rfc3339, show_duration};

/// Days of a week as they are typed, Monday first.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

#[derive(Debug, Subcommand)]
pub(super) enum AlertVerb {
    /// What is wrong for long enough, and what is muted.
    List,
    /// Tell nobody of something for a while; its number is printed.
    Mute {
        /// all, FIRM, FIRM/GATEWAY or FIRM/GATEWAY:DEVICE
        scope: Scope,
        /// Only of this kind, such as `link_down`.
        #[arg(long)]
        kind: Option<Kind>,
        /// For how long.
        #[arg(long = "for", value_name = "DURATION")]
        life: String,
        /// Who says so.
        #[arg(long, value_name = "NAME")]
        by: String,
        /// Why.
        #[arg(long, value_name = "WORDS")]
        why: String,
    },
    /// Tell of it again.
    Unmute {
        /// As `mute` printed it.
        id: u64,
    },
    /// Send a test message to a receiver, or to all.
    Test {
        /// Its name in the configuration.
        receiver: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum MaintenanceVerb {
    /// Add a window, once (--from, --to) or each week (--days, --at, --for); its number is printed.
    #[command(group = clap::ArgGroup::new("when").required(true).args(["from", "days"]))]
    Add {
        /// all, FIRM, FIRM/GATEWAY or FIRM/GATEWAY:DEVICE
        scope: Scope,
        /// When it begins.
        #[arg(long, value_name = "TIME", requires = "to")]
        from: Option<String>,
        /// When it ends.
        #[arg(long, value_name = "TIME", requires = "from")]
        to: Option<String>,
        /// Days of the week on which it opens, in Korea: mon, tue, wed, thu, fri, sat, sun.
        #[arg(long, value_name = "DAYS", value_delimiter = ',', requires_all = ["at", "length"])]
        days: Vec<String>,
        /// When it opens on each of them, in Korea, such as 22:00.
        #[arg(long, value_name = "HH:MM", requires = "days")]
        at: Option<String>,
        /// For how long it is open.
        #[arg(long = "for", id = "length", value_name = "DURATION", requires = "days")]
        length: Option<String>,
        /// Who says so.
        #[arg(long, value_name = "NAME")]
        by: String,
        /// Why.
        #[arg(long, value_name = "WORDS")]
        why: String,
    },
    /// Windows that are open or to come.
    List,
    /// End a window now, or before it opens.
    End {
        /// As `add` printed it.
        id: u64,
    },
}

impl AlertVerb {
    pub(super) fn command(self) -> Result<Command, String> {
        Ok(match self {
            AlertVerb::List => Command::AlertList,
            AlertVerb::Mute { scope, kind, life, by, why } => {
                let life_us = parse_duration(&life).map_err(|error| format!("--for: {error}"))?;
                Command::AlertMute(WantedMute { scope, kind, life_us, by, why })
            }
            AlertVerb::Unmute { id } => Command::AlertUnmute { id },
            AlertVerb::Test { receiver } => Command::AlertTest { receiver },
        })
    }
}

impl MaintenanceVerb {
    pub(super) fn command(self, now_us: i64) -> Result<Command, String> {
        let time = |name: &str, text: &str| parse_time(text, now_us).map_err(|error| format!("--{name}: {error}"));
        Ok(match self {
            MaintenanceVerb::Add { scope, from, to, days, at, length, by, why } => {
                let when = match (from, to) {
                    (Some(from), Some(to)) => When::Once { from_us: time("from", &from)?, to_us: time("to", &to)? },
                    _ => weekly(&days, &at.unwrap_or_default(), &length.unwrap_or_default())?,
                };
                Command::MaintenanceAdd(WantedWindow { scope, when, by, why })
            }
            MaintenanceVerb::List => Command::MaintenanceList,
            MaintenanceVerb::End { id } => Command::MaintenanceEnd { id },
        })
    }
}

fn weekly(days: &[String], at: &str, length: &str) -> Result<When, String> {
    let number = |day: &String| {
        let at = DAYS.iter().position(|name| name == day).and_then(|at| i8::try_from(at + 1).ok());
        at.ok_or_else(|| format!("--days: `{}` is none of {}", day.escape_debug(), DAYS.join(", ")))
    };
    let days = days.iter().map(number).collect::<Result<_, _>>()?;
    let minute = minute_of_day(at).ok_or_else(|| "--at: write a time of the day like 22:00".to_owned())?;
    let length_us = parse_duration(length).map_err(|error| format!("--for: {error}"))?;
    Ok(When::Weekly { days, minute, length_us })
}

fn shown(when: &When) -> String {
    match when {
        When::Once { from_us, to_us } => format!("{} to {}", rfc3339(*from_us), rfc3339(*to_us)),
        When::Weekly { days, minute, length_us } => {
            let name = |day: &i8| usize::try_from(*day - 1).ok().and_then(|at| DAYS.get(at)).copied().unwrap_or("?");
            let days: Vec<_> = days.iter().map(name).collect();
            format!("{} {} Asia/Seoul, {}", days.join(","), shown_minute(*minute), show_duration(*length_us))
        }
    }
}

pub(super) fn print_alerts(out: &mut impl Write, it: &Alerts, json: bool) -> io::Result<()> {
    if json {
        return writeln!(out, "{}", json!(it));
    }
    let rows = it.alerts.iter().map(|line| {
        let (alert, condition) = (&line.alert, &line.alert.condition);
        let told = match (alert.told, line.is_quiet) {
            (_, true) => "quiet",
            (Some(_), false) => "told",
            (None, false) => "to be told",
        };
        let level = condition.level.as_str().to_owned();
        let since = rfc3339(condition.since_us);
        vec![level, condition.kind.to_string(), condition.subject.to_string(), since, told.to_owned()]
    });
    table(out, &["LEVEL", "ALERT", "WHERE", "SINCE", "STATE"], rows)?;
    if it.mutes.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let rows = it.mutes.iter().map(|mute| {
        let kind = mute.kind.map_or_else(|| "all".to_owned(), |kind| kind.to_string());
        vec![
            mute.id.to_string(),
            mute.scope.to_string(),
            kind,
            rfc3339(mute.until_us),
            mute.by.clone(),
            mute.why.clone(),
        ]
    });
    table(out, &["MUTE", "OF", "ALERT", "UNTIL", "BY", "WHY"], rows)
}

pub(super) fn print_windows(out: &mut impl Write, windows: &[Window], json: bool) -> io::Result<()> {
    if json {
        return lines(out, windows);
    }
    let rows = windows
        .iter()
        .map(|it| vec![it.id.to_string(), it.scope.to_string(), shown(&it.when), it.by.clone(), it.why.clone()]);
    table(out, &["WINDOW", "OF", "WHEN", "BY", "WHY"], rows)
}

pub(super) fn print_tried(out: &mut impl Write, tried: &[Tried], json: bool) -> io::Result<()> {
    if json {
        return lines(out, tried);
    }
    let rows =
        tried.iter().map(|it| vec![it.receiver.clone(), it.error.clone().unwrap_or_else(|| "took it".to_owned())]);
    table(out, &["RECEIVER", "ANSWER"], rows)
}
