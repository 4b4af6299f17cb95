//! `[store]`: which engine keeps what is durable, and how its database is reached.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode};

use super::OTHERS;
use super::table::{Table, Text};
use crate::disk::Reserve;
use crate::time::{MINUTE_US, SECOND_US, parse_duration, show_duration};

/// Connections of a process that serves: four reads at once, the commits of readings and of
/// the control data, and the rest for what is asked beside them.
const CONNECTIONS: u64 = 12;
/// Fewer would let a slow read hold up the commits.
const MIN_CONNECTIONS: u64 = 4;
/// A server takes 100 by default, of all its clients.
const MAX_CONNECTIONS: u64 = 200;
/// A statement reads or writes a bounded piece: one that takes longer never ends.
const STATEMENT_TIMEOUT_US: i64 = 30 * SECOND_US;
/// The shortest: a disk that is busy with a checkpoint takes that long.
const MIN_STATEMENT_TIMEOUT_US: i64 = 5 * SECOND_US;
/// The longest.
const MAX_STATEMENT_TIMEOUT_US: i64 = 10 * MINUTE_US;

/// Which engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Engine {
    /// Files in `data_dir`.
    Sqlite,
    /// A database elsewhere, which several processes may share.
    Postgres(Box<Postgres>),
}

/// A database, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgres {
    /// Hosts, user, database, and the password.
    pub server: tokio_postgres::Config,
    /// Authorities of the server's certificate, PEM; none: the connection is plain.
    pub ca_file: Option<PathBuf>,
    /// Most connections at once.
    pub connections: usize,
    /// The server gives a statement up after so long.
    pub statement_timeout: Duration,
}

/// The least reserve: what comes between two looks at the disk, and the logs of the files.
const MIN_RESERVE: u64 = 64 << 20;
/// The greatest part of a disk that may stand empty.
const MAX_RESERVE_PERCENT: u8 = 50;

/// What packing readings in the background may take of the machine (`SQLite`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// Of one core, in percent.
    pub core_percent: u8,
    /// Bytes written a second.
    pub bytes_per_s: u64,
}

impl Default for Packing {
    /// Half a core packs 4 million readings a second; a quarter of what an SD card or a slow disk writes.
    fn default() -> Self {
        Self { core_percent: 50, bytes_per_s: 16 << 20 }
    }
}

/// With less a busy core would not keep up with a small plant.
const MIN_CORE_PERCENT: u8 = 5;
/// With less a machine's disk would be spared by a growing inbox.
const MIN_BYTES_PER_S: u64 = 1 << 20;
/// No disk writes more.
const MAX_BYTES_PER_S: u64 = 16 << 30;
/// What sizes are written in, and the power of two.
const UNITS: [(&str, u32); 3] = [("MiB", 20), ("GiB", 30), ("TiB", 40)];

/// What stands under `[store]`.
pub(super) struct Store {
    pub engine: Engine,
    pub reserve: Reserve,
    pub packing: Packing,
}

/// The engine, the room that has to be left on its disk, and what it may take of the machine.
pub(super) fn store(table: Option<Table<'_>>, home: &Path) -> Option<Store> {
    let Some(table) = table else {
        return Some(Store { engine: Engine::Sqlite, reserve: Reserve::default(), packing: Packing::default() });
    };
    let engine = match table.text("engine") {
        None if table.has("engine") => None,
        None => Some(Engine::Sqlite),
        Some(it) => match it.value {
            "sqlite" => Some(Engine::Sqlite),
            "postgres" => postgres(&table, home).map(Box::new).map(Engine::Postgres),
            _ => {
                let refused = it.refuse(&table, "sqlite or postgres", "write \"sqlite\" for files in data_dir");
                // What else stands there may be of either.
                table.skip(&["url", "password_file", "ca_file", "connections", "statement_timeout"]);
                refused
            }
        },
    };
    // Not asked for where it is not: it is no key to choose.
    if table.has("retention")
        && let Some(it) = table.text("retention")
    {
        let hint = "write readings = \"90d\" under [retention]";
        table.fault(it.at, "`retention` is not said in [store] any more".to_owned(), hint);
    }
    let (reserve, packing) = match &engine {
        Some(Engine::Postgres(_)) => (Some(Reserve::default()), Some(Packing::default())),
        Some(Engine::Sqlite) => (reserve(&table), packing(&table)),
        None => {
            table.skip(&["reserve", "packing_core", "packing_writes"]);
            (None, None)
        }
    };
    table.finish();
    Some(Store { engine: engine?, reserve: reserve?, packing: packing? })
}

/// A size such as `2GiB`, in bytes.
fn size(text: &str) -> Option<u64> {
    UNITS.iter().find_map(|(unit, shift)| text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(1 << shift))
}

/// `50%` of a core, `16MiB` a second.
fn packing(table: &Table<'_>) -> Option<Packing> {
    let usual = Packing::default();
    let core_percent = match table.text("packing_core") {
        None => (!table.has("packing_core")).then_some(usual.core_percent),
        Some(it) => match it.value.strip_suffix('%').and_then(|number| number.parse().ok()) {
            Some(percent) if (MIN_CORE_PERCENT..=100).contains(&percent) => Some(percent),
            _ => it.refuse(table, &format!("{MIN_CORE_PERCENT}% to 100% of one core"), "write it like \"50%\""),
        },
    };
    let bytes_per_s = match table.text("packing_writes") {
        None => (!table.has("packing_writes")).then_some(usual.bytes_per_s),
        Some(it) => match size(it.value) {
            Some(bytes) if (MIN_BYTES_PER_S..=MAX_BYTES_PER_S).contains(&bytes) => Some(bytes),
            _ => it.refuse(table, "1MiB to 16GiB, which are written a second", "write it like \"16MiB\""),
        },
    };
    Some(Packing { core_percent: core_percent?, bytes_per_s: bytes_per_s? })
}

/// `2GiB`, `512MiB` or `5%`.
fn reserve(table: &Table<'_>) -> Option<Reserve> {
    let Some(it) = table.text("reserve") else { return (!table.has("reserve")).then(Reserve::default) };
    let size = size(it.value).filter(|bytes| *bytes >= MIN_RESERVE);
    let part = it.value.strip_suffix('%').and_then(|number| number.parse().ok());
    match (size, part.filter(|percent| (1..=MAX_RESERVE_PERCENT).contains(percent))) {
        (Some(bytes), _) => Some(Reserve { bytes, percent: 100 }),
        (None, Some(percent)) => Some(Reserve { bytes: u64::MAX, percent }),
        (None, None) => {
            let wanted = format!("64MiB or more, nor 1% to {MAX_RESERVE_PERCENT}% of the disk");
            it.refuse(table, &wanted, "write it like \"1GiB\" or \"5%\"")
        }
    }
}

fn postgres(table: &Table<'_>, home: &Path) -> Option<Postgres> {
    let url = table.required("url", "write url = \"postgresql://sandan@db.example/sandan\"");
    let ca_file = table.text("ca_file").map(|it| readable(table, &it, home));
    let server = url.and_then(|it| server(table, &it, ca_file.is_some()));
    let password = table.text("password_file").map(|it| password(table, &it, home));
    let connections = between(table, "connections", CONNECTIONS, MIN_CONNECTIONS, MAX_CONNECTIONS);
    let statement_timeout = statement_timeout(table);
    let mut server = server?;
    if let Some(password) = password {
        server.password(password?);
    }
    Some(Postgres {
        server,
        ca_file: ca_file.map_or(Some(None), |file| file.map(Some))?,
        connections: usize::try_from(connections?).ok()?,
        statement_timeout: statement_timeout?,
    })
}

fn server(table: &Table<'_>, url: &Text<'_>, has_ca: bool) -> Option<tokio_postgres::Config> {
    let fault = |what: &str, hint: &str| {
        table.fault(url.at, format!("`url` {what}"), hint);
        None
    };
    // Never repeated: it may hold a password.
    let Ok(server) = url.value.parse::<tokio_postgres::Config>() else {
        return fault("is not an address of a database", "write it like \"postgresql://sandan@db.example/sandan\"");
    };
    if server.get_password().is_some() {
        return fault("holds a password", "take it out, and name a file that holds it with password_file");
    }
    if server.get_hosts().is_empty() || server.get_user().is_none() || server.get_dbname().is_none() {
        let hint = "write all three, like \"postgresql://sandan@db.example/sandan\"";
        return fault("does not name a host, a user and a database", hint);
    }
    let leaves = |host: &Host| match host {
        Host::Unix(_) => false,
        Host::Tcp(name) => {
            let address = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            !address.map_or(name == "localhost", |address| address.is_loopback())
        }
    };
    // Plain where nobody asked for anything else would send the password to whoever answers.
    let is_plain = !has_ca && server.get_ssl_mode() != SslMode::Disable;
    if is_plain && (server.get_ssl_mode() == SslMode::Require || server.get_hosts().iter().any(leaves)) {
        let hint = "name the authorities of its certificate with ca_file; sslmode=disable in `url` means plain text";
        return fault("leaves this machine, and nothing says whose certificate to believe", hint);
    }
    Some(server)
}

fn readable(table: &Table<'_>, it: &Text<'_>, home: &Path) -> Option<PathBuf> {
    let path = home.join(it.value);
    match std::fs::File::open(&path) {
        Ok(_) => Some(path),
        Err(error) => {
            let what = format!("`ca_file`: {} cannot be read: {error}", path.display());
            table.fault(it.at, what, "name a PEM file that this user can read");
            None
        }
    }
}

fn password(table: &Table<'_>, it: &Text<'_>, home: &Path) -> Option<String> {
    let path = home.join(it.value);
    let fault = |what: String, hint: &str| {
        table.fault(it.at, format!("`password_file`: {} {what}", path.display()), hint);
        None
    };
    match std::fs::metadata(&path).and_then(|file| Ok((file, std::fs::read_to_string(&path)?))) {
        Ok((file, _)) if file.permissions().mode() & OTHERS != 0 => {
            fault("can be read by every user of this machine".to_owned(), "run chmod o-rwx on it")
        }
        Ok((_, text)) if text.trim_end_matches(['\r', '\n']).is_empty() => {
            fault("is empty".to_owned(), "write the password into it, on one line")
        }
        Ok((_, text)) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(error) => fault(format!("cannot be read: {error}"), "name a file that this user can read"),
    }
}

fn between(table: &Table<'_>, key: &'static str, otherwise: u64, least: u64, most: u64) -> Option<u64> {
    if !table.has(key) {
        // Asked for all the same, so that it is known.
        table.skip(&[key]);
        return Some(otherwise);
    }
    let given = table.count(key)?;
    if (least..=most).contains(&given) {
        return Some(given);
    }
    table.fault(table.at(), format!("`{key}` is {given}, not {least} to {most}"), "leave it out unless you measured");
    None
}

fn statement_timeout(table: &Table<'_>) -> Option<Duration> {
    let Some(it) = table.text("statement_timeout") else {
        return (!table.has("statement_timeout")).then_some(Duration::from_micros(STATEMENT_TIMEOUT_US.unsigned_abs()));
    };
    let (least, most) = (MIN_STATEMENT_TIMEOUT_US, MAX_STATEMENT_TIMEOUT_US);
    match parse_duration(it.value) {
        Ok(us) if (least..=most).contains(&us) => Some(Duration::from_micros(us.unsigned_abs())),
        _ => {
            let wanted = format!("a duration from {} to {}", show_duration(least), show_duration(most));
            it.refuse(table, &wanted, "write it like \"30s\"")
        }
    }
}
