//! `[alerts]`: who is told of what, and how long it has to last before.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sandan_proto::id::FirmId;
use sandan_proto::invitation::host_and_port;

use super::table::{Table, Text};
use super::{Noted, OTHERS};
use crate::alert::{
    Call, Kind, Lang, Level, MailTls, Net, Receiver, Relay, Settings, Target, Timing, Way, check_address, check_secret,
};
use crate::time::{DAY_US, MINUTE_US, parse_duration};

/// The longest for-time: beyond it nobody would call it an alert.
const MAX_FOR_US: i64 = DAY_US;
/// The shortest repeat: more often is a flood.
const MIN_REPEAT_US: i64 = 10 * MINUTE_US;
/// The longest: beyond it it is forgotten.
const MAX_REPEAT_US: i64 = 30 * DAY_US;
/// Most receivers: one for each firm of a large complex.
const MAX_RECEIVERS: usize = 200;
/// Longest number as people write it.
const MAX_PHONE_CHARS: usize = 30;
/// Where mail servers take mail after a greeting in the clear, and with TLS from the first byte.
const PORTS: (u16, u16) = (587, 465);

/// What a wrong text leaves, where the fault is noted and ends the loading.
type Checked<T> = Result<T, Noted>;

/// A fault in it is noted, and ends the loading.
pub(super) fn alerts(table: &Table<'_>, home: &Path) -> Option<Settings> {
    let language = language(table, Lang::Ko);
    let phone = table.text("phone").map(|it| phone_of(table, &it)).transpose();
    let ca_file = table.text("ca_file").map(|it| readable(table, &it, home)).transpose();
    let allowed = allowed(table);
    let timing = timing(table);
    let mail = table.table("mail").map(|mail| {
        let read = relay(&mail, home);
        mail.finish();
        read
    });
    let mut calls = std::collections::BTreeMap::new();
    for (name, firm) in table.table("firm").iter().flat_map(Table::tables) {
        let called = firm.text("name").map(|it| it.value.to_owned()).unwrap_or_default();
        let number = firm.required("phone", "write it as it is dialled, like \"+82-31-123-4567\"");
        let number = number.map(|it| phone_of(&firm, &it));
        firm.finish();
        match (FirmId::new(name), number) {
            (Ok(id), Some(Ok(phone))) => drop(calls.insert(id, Call { name: called, phone })),
            (Err(error), _) => firm.fault(firm.at(), error.to_string(), "name a firm as `firm list` does"),
            (Ok(_), _) => {}
        }
    }
    let mut receivers = Vec::new();
    for (name, own) in table.table("receiver").iter().flat_map(Table::tables) {
        let read = receiver(name, &own, home, language.as_ref().copied().unwrap_or_default(), mail.is_some());
        own.finish();
        receivers.push(read);
    }
    if receivers.len() > MAX_RECEIVERS {
        let what = format!("there are {} receivers, more than {MAX_RECEIVERS}", receivers.len());
        table.fault(table.at(), what, "let a list of your mail server reach several people");
        return None;
    }
    table.finish();
    Some(Settings {
        receivers: receivers.into_iter().collect::<Option<Vec<_>>>()?,
        timing: timing.ok()?,
        relay: mail.map_or(Some(None), |relay| relay.map(Some))?,
        allowed: allowed.ok()?,
        ca_file: ca_file.ok()?,
        phone: phone.ok()?,
        calls,
        console_url: language.ok().map(|_| None)?,
    })
}

fn language(table: &Table<'_>, otherwise: Lang) -> Checked<Lang> {
    let Some(it) = table.text("language") else { return Ok(otherwise) };
    match it.value {
        "ko" => Ok(Lang::Ko),
        "en" => Ok(Lang::En),
        _ => it.refuse(table, "ko or en", "write \"ko\" for Korean or \"en\" for English").ok_or(Noted),
    }
}

fn phone_of(table: &Table<'_>, it: &Text<'_>) -> Checked<String> {
    let known = |sign: char| sign.is_ascii_digit() || "+- ()".contains(sign);
    let digits = it.value.chars().filter(char::is_ascii_digit).count();
    if it.value.chars().count() <= MAX_PHONE_CHARS && it.value.chars().all(known) && digits >= 3 {
        return Ok(it.value.to_owned());
    }
    it.refuse(table, "a number that can be dialled", "write it like \"+82-31-123-4567\"").ok_or(Noted)
}

fn readable(table: &Table<'_>, it: &Text<'_>, home: &Path) -> Checked<PathBuf> {
    let path = home.join(it.value);
    std::fs::File::open(&path).map(|_| path.clone()).map_err(|error| {
        let what = format!("`ca_file`: {} cannot be read: {error}", path.display());
        table.fault(it.at, what, "name a PEM file that this user can read");
        Noted
    })
}

/// A file with a secret that is for nobody else.
fn secret_file(table: &Table<'_>, it: &Text<'_>, key: &str, home: &Path) -> Checked<PathBuf> {
    let path = home.join(it.value);
    let refused = |what: String, hint: &str| {
        table.fault(it.at, format!("`{key}`: {} {what}", path.display()), hint);
        Noted
    };
    match std::fs::metadata(&path).and_then(|file| std::fs::File::open(&path).map(|_| file)) {
        Ok(file) if file.permissions().mode() & OTHERS != 0 => {
            Err(refused("can be read by every user of this machine".to_owned(), "run chmod o-rwx on it"))
        }
        Ok(_) => Ok(path.clone()),
        Err(error) => Err(refused(format!("cannot be read: {error}"), "name a file that this user can read")),
    }
}

fn allowed(table: &Table<'_>) -> Checked<Vec<Net>> {
    let Some(given) = table.texts("allow") else {
        return if table.has("allow") { Err(Noted) } else { Ok(Vec::new()) };
    };
    let net = |it: &Text<'_>| match it.value.parse::<Net>() {
        Ok(net) => Ok(net),
        Err(()) => {
            it.refuse(table, "a network", "write an address with its first bits, like \"10.0.0.0/8\"").ok_or(Noted)
        }
    };
    let nets: Vec<_> = given.iter().map(net).collect();
    nets.into_iter().collect()
}

/// A length of time within bounds.
fn length(table: &Table<'_>, key: &'static str, bounds: (i64, i64), otherwise: i64) -> Checked<i64> {
    let Some(it) = table.text(key) else { return if table.has(key) { Err(Noted) } else { Ok(otherwise) } };
    // For-times may be none at all, which no other duration is.
    let parsed = if it.value == "0s" { Ok(0) } else { parse_duration(it.value) };
    match parsed {
        Ok(us) if (bounds.0..=bounds.1).contains(&us) => Ok(us),
        _ => {
            let (least, most) = (crate::time::show_duration(bounds.0), crate::time::show_duration(bounds.1));
            let wanted = format!("a duration from {} to {most}", if bounds.0 == 0 { "0s" } else { &least });
            it.refuse(table, &wanted, "write it like \"5m\"").ok_or(Noted)
        }
    }
}

fn timing(table: &Table<'_>) -> Checked<Timing> {
    let usual = Timing::default();
    let resolve_us = length(table, "resolve", (0, MAX_FOR_US), usual.resolve_us);
    let critical_us = length(table, "repeat_critical", (MIN_REPEAT_US, MAX_REPEAT_US), usual.repeat_critical_us);
    let warn_us = length(table, "repeat_warn", (MIN_REPEAT_US, MAX_REPEAT_US), usual.repeat_warn_us);
    let kinds = || format!("there are {}", Kind::ALL.map(Kind::as_str).join(", "));
    let mut off = BTreeSet::new();
    let mut is_right = true;
    for it in table.texts("off").unwrap_or_default() {
        if let Ok(kind) = it.value.parse::<Kind>() {
            off.insert(kind);
        } else {
            is_right = false;
            it.refuse::<()>(table, "a kind of alert", &kinds());
        }
    }
    let mut for_us = std::collections::BTreeMap::new();
    if let Some(own) = table.table("for") {
        for kind in Kind::ALL {
            match length(&own, kind.as_str(), (0, MAX_FOR_US), kind.usual_for_us()) {
                Ok(us) if own.has(kind.as_str()) => drop(for_us.insert(kind, us)),
                Ok(_) => {}
                Err(Noted) => is_right = false,
            }
        }
        own.finish();
    }
    let timing =
        Timing { for_us, off, resolve_us: resolve_us?, repeat_critical_us: critical_us?, repeat_warn_us: warn_us? };
    if is_right { Ok(timing) } else { Err(Noted) }
}

fn relay(table: &Table<'_>, home: &Path) -> Option<Relay> {
    let host = table.required("host", "name the mail server, like host = \"smtp.example.kr\"");
    let host = host.and_then(|it| match host_and_port(&format!("{}:1", it.value)) {
        Some(_) => Some(it.value.to_owned()),
        None => it.refuse(table, "a host name without a port", "write the port under `port`"),
    });
    let is_here = host.as_ref().is_some_and(|host| {
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    });
    let tls = match table.text("tls") {
        None => Some(MailTls::StartTls),
        Some(it) => match it.value {
            "starttls" => Some(MailTls::StartTls),
            "implicit" => Some(MailTls::Implicit),
            "none" if is_here => Some(MailTls::None),
            "none" => {
                let what = "`tls` is none, and mail would leave this machine in the clear".to_owned();
                table.fault(it.at, what, "write \"starttls\" or \"implicit\"");
                None
            }
            _ => it.refuse(table, "starttls, implicit or none", "write \"starttls\""),
        },
    };
    let usual = if tls == Some(MailTls::Implicit) { PORTS.1 } else { PORTS.0 };
    let port = if table.has("port") { table.count("port") } else { Some(u64::from(usual)) };
    table.skip(&["port"]);
    let port = port.and_then(|port| {
        u16::try_from(port).ok().or_else(|| {
            table.fault(table.at(), format!("`port` is {port}, above 65535"), "write a port like 587");
            None
        })
    });
    let from = table.required("from", "say who writes, like from = \"sandan <sandan@example.kr>\"");
    let from = from.and_then(|it| address(table, &it));
    let user = table.text("user").map(|it| it.value.to_owned());
    let password = table.text("password_file").map(|it| secret_file(table, &it, "password_file", home)).transpose();
    let login = match (user, password) {
        (None, Ok(None)) => Some(None),
        (Some(user), Ok(Some(file))) => Some(Some((user, file))),
        (_, Err(Noted)) => None,
        _ => {
            let what = "`user` and `password_file` stand together or not at all".to_owned();
            table.fault(table.at(), what, "add the one that is missing, or take both out");
            None
        }
    };
    Some(Relay { host: host?, port: port?, tls: tls?, from: from?, login: login? })
}

fn address(table: &Table<'_>, it: &Text<'_>) -> Option<String> {
    match check_address(it.value) {
        Ok(()) => Some(it.value.to_owned()),
        Err(_) => it.refuse(table, "a mail address", "write it like \"duty@example.kr\""),
    }
}

fn receiver(name: &str, table: &Table<'_>, home: &Path, otherwise: Lang, has_relay: bool) -> Option<Receiver> {
    // It stands in messages and logs; the rule is that of firms.
    if FirmId::new(name).is_err() {
        let what = format!("`{}` is no name of a receiver", name.escape_debug());
        table.fault(table.at(), what, "write 1 to 40 of a-z, 0-9 and -");
        return None;
    }
    let language = language(table, otherwise);
    let least = match table.text("level") {
        None => Some(Level::Warn),
        Some(it) => match it.value {
            "warn" => Some(Level::Warn),
            "critical" => Some(Level::Critical),
            _ => it.refuse(table, "warn or critical", "write \"critical\" for what cannot wait"),
        },
    };
    let firms = match table.texts("firms") {
        None if table.has("firms") => None,
        None => Some(None),
        Some(given) => {
            let firm = |it: &Text<'_>| match FirmId::new(it.value) {
                Ok(firm) => Some(firm),
                Err(_) => it.refuse(table, "a firm's id", "name a firm as `firm list` does"),
            };
            let firms: Vec<_> = given.iter().map(firm).collect();
            firms.into_iter().collect::<Option<BTreeSet<_>>>().map(Some)
        }
    };
    let way = way(table, home, has_relay);
    Some(Receiver { name: name.to_owned(), language: language.ok()?, least: least?, firms: firms?, way: way? })
}

fn way(table: &Table<'_>, home: &Path, has_relay: bool) -> Option<Way> {
    let webhook = table.text("webhook");
    let mail = table.texts("mail");
    let secret = table.text("secret_file");
    match (webhook, mail) {
        (Some(url), None) => {
            if let Err(error) = Target::parse(url.value) {
                // What stands in the address may be a secret.
                table.fault(url.at, error.to_string(), "write it like \"https://hooks.example.kr/sandan\"");
                return None;
            }
            let Some(secret) = secret else {
                let what = "a webhook has a `secret_file`, by which its receiver knows us".to_owned();
                table.fault(table.at(), what, "name a file with a secret of 16 characters or more, mode 0600");
                return None;
            };
            let file = secret_file(table, &secret, "secret_file", home).ok()?;
            if let Err(error) = check_secret(&file) {
                table.fault(secret.at, format!("`secret_file`: {error}"), "run openssl rand -hex 32 for one");
                return None;
            }
            Some(Way::Webhook { url: url.value.to_owned(), secret_file: file })
        }
        (None, Some(people)) => {
            if !has_relay {
                let what = "a receiver has mail, and no mail server is named".to_owned();
                table.fault(table.at(), what, "name it with [alerts.mail]: host, from");
                return None;
            }
            let people: Vec<_> = people.iter().map(|it| address(table, it)).collect();
            people.into_iter().collect::<Option<Vec<_>>>().map(Way::Mail)
        }
        _ => {
            let what = "a receiver has one way: `webhook` or `mail`".to_owned();
            table.fault(table.at(), what, "write webhook = \"https://…\", or mail = [\"duty@example.kr\"]");
            None
        }
    }
}

#[cfg(test)]
mod tests;
