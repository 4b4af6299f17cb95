//! `fleet`: every gateway, what is worst first, and an exit code that says whether all is well.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::Args;

use super::Failure;
use super::print::table;
use crate::admin::{Answer, Command, FleetNow};
use crate::fleet::{Condition, Hop, Level, View};
use crate::run::Door;
use crate::time::rfc3339;

/// How often `--watch` looks: a change is seen within a heartbeat anyway.
const EVERY: Duration = Duration::from_secs(2);
/// Clears a terminal and goes to its first line.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// How long it is looked.
#[derive(Debug, Clone, Args)]
pub(super) struct Fleet {
    /// Look again every two seconds, until Ctrl-C.
    #[arg(long)]
    watch: bool,
}

impl Fleet {
    /// Fails when something is wrong, once it is printed.
    pub(super) async fn show(&self, door: &mut Door, json: bool) -> Result<(), Failure> {
        loop {
            let Answer::Fleet(now) = door.execute(Command::Fleet).await? else { return Ok(()) };
            let mut out = io::stdout().lock();
            if self.watch && !json && out.is_terminal() {
                out.write_all(CLEAR.as_bytes())?;
            }
            print(&mut out, &now, json)?;
            out.flush()?;
            drop(out);
            if !self.watch {
                return match now.wrong() {
                    0 => Ok(()),
                    wrong => Err(Failure::Unwell(wrong)),
                };
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// One line a gateway; JSON is one document.
pub(super) fn print(out: &mut impl Write, now: &FleetNow, json: bool) -> io::Result<()> {
    if json {
        serde_json::to_writer(&mut *out, now)?;
        return out.write_all(b"\n");
    }
    for condition in &now.own {
        writeln!(out, "the ingest: {} since {}", condition.id.name(), rfc3339(condition.since_us))?;
    }
    let rows = now.views.iter().map(|view| {
        let contact = view.contact_us.map(rfc3339).unwrap_or_default();
        let waits = view.spool.map(|spool| spool.readings.to_string()).unwrap_or_default();
        vec![view.id.to_string(), view.state.name().to_owned(), contact, waits, path(view), wrong(view)]
    });
    table(out, &["GATEWAY", "STATE", "LAST CONTACT", "WAITING", "PATH", "WRONG"], rows)
}

/// `plc-3 x > gateway ok > spool ok > ingest ok`.
fn path(view: &View) -> String {
    let chain = &view.chain;
    let sign = |level| match level {
        Level::Well => "ok",
        Level::Warn => "!",
        Level::Critical => "x",
        Level::Unknown => "?",
    };
    let device = chain.worst_device.as_deref().unwrap_or("devices");
    let more = if chain.other_devices > 0 { format!(" +{}", chain.other_devices) } else { String::new() };
    let rest = [Hop::Gateway, Hop::Spool, Hop::Ingest];
    rest.into_iter().fold(format!("{device}{more} {}", sign(chain.device)), |path, hop| {
        format!("{path} > {} {}", hop.name(), sign(chain.level(hop)))
    })
}

/// What somebody should be told, and how much more there is.
fn wrong(view: &View) -> String {
    let mut told = view.conditions.iter().filter(|it| it.inhibited_by.is_none());
    let Some(worst) = told.next() else { return String::new() };
    match told.count() {
        0 => named(worst),
        more => format!("{}, and {more} more", named(worst)),
    }
}

fn named(condition: &Condition) -> String {
    let Condition { id, level, device, .. } = condition;
    let of = device.as_ref().map(|device| format!(" of {device}")).unwrap_or_default();
    format!("{} {}{of} since {}", level.name(), id.name(), rfc3339(condition.since_us))
}

#[cfg(test)]
mod tests;
