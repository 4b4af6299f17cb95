//! What is not the plant: who the gateway is, where its readings go, its buffer, its
//! local HTTP server, and the machines.

use std::fs::{File, Metadata};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sandan_proto::id::{AssetId, GatewayId};
use sandan_proto::limits::MAX_TEXT_BYTES;

use super::notation::{self, AddressFault};
use super::secret::secret;
use super::section::{At, Section};
use super::{Asset, Http, Plant, Proxy, Spool, Uplink, WhenFull};

/// Less would not hold a minute of a large plant.
const MIN_SPOOL_BYTES: u64 = 16 << 20;
/// No edge box has more to give.
const MAX_SPOOL_BYTES: u64 = 16 << 40;
/// The loss bound of a power cut; shorter wears an SD card, longer loses much.
const SYNC_INTERVAL: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(1);
/// Tokens and authority files are small; anything larger is another file.
const MAX_SECRET_FILE_BYTES: u64 = 64 << 10;

pub(super) fn gateway(root: &Section<'_>) -> Option<GatewayId> {
    let text = root.required("gateway", "name it as the ingest knows it: gateway = \"firm/name\"")?;
    GatewayId::new(text.value)
        .inspect_err(|error| root.log.fault(text.at, error.to_string(), "write gateway = \"hanbit-mould/press-hall\""))
        .ok()
}

pub(super) fn state_dir(root: &Section<'_>, folder: &Path) -> Option<PathBuf> {
    const HINT: &str = "say where the spool lives: state_dir = \"/var/lib/sandan-gateway\"";
    let text = root.required("state_dir", HINT)?;
    if text.value.trim().is_empty() {
        root.log.fault(text.at, "`state_dir` is empty", HINT);
        return None;
    }
    let path = folder.join(text.value);
    let is_no_directory = match std::fs::metadata(&path) {
        Ok(metadata) => !metadata.is_dir(),
        // Something above it is a file. What else may be wrong, another user may not see.
        Err(error) => error.kind() == std::io::ErrorKind::NotADirectory,
    };
    if is_no_directory {
        root.log.fault_on_this_machine(
            text.at,
            format!("`state_dir` is not a directory: {}", path.display()),
            "name a directory; it is made when it is missing",
        );
    }
    Some(path)
}

pub(super) fn uplink(root: &Section<'_>, folder: &Path) -> Option<Uplink> {
    // Without it all is as the invitation said.
    let Some(section) = root.section("uplink", "{ url = \"https://host:7443\" }") else {
        return (!root.is_there("uplink")).then(Uplink::default);
    };
    let url = section.text("url");
    let ingest = url.map(|url| place(&section, "url", url, &[("https", 443)]));
    let proxy = section.text("proxy");
    let address = proxy.map(|proxy| place(&section, "proxy", proxy, &[("http", 8080)]));
    let user = section.label("proxy_user", MAX_TEXT_BYTES);
    if let Some(user) = user
        && user.value.contains(':')
    {
        section.log.fault(user.at, "`proxy_user` holds a colon", "the password stands in proxy_password_file");
    }
    let password = secret(&section, ("proxy_password", "proxy_password_file"), folder);
    section.finish();
    let login = match (user, password) {
        (Some(user), Some(password)) => Some((user.value.to_owned(), password.value)),
        (None, None) => None,
        (user, password) => {
            let at = user.map_or_else(|| password.map_or(section.at, |password| password.at), |user| user.at);
            section.log.fault(
                at,
                "`proxy_user` and its password go together",
                "write both (proxy_password_file, or proxy_password), or neither for a proxy that asks for none",
            );
            None
        }
    };
    if login.is_some() && proxy.is_none() {
        section.log.fault(
            section.at,
            "[uplink] has a login for a proxy, and no `proxy`",
            "write proxy = \"http://host:8080\"",
        );
    }
    let proxy = match address {
        None => None,
        Some(address) => Some(Proxy { address: address?, login }),
    };
    let ingest = match ingest {
        None => None,
        Some(ingest) => Some(ingest?),
    };
    Some(Uplink { ingest, proxy })
}

fn place(
    section: &Section<'_>,
    key: &'static str,
    text: At<&str>,
    schemes: &[(&'static str, u16); 1],
) -> Option<notation::Address> {
    let scheme = schemes[0].0;
    let example = format!("write {key} = \"{scheme}://host:port\"");
    let (what, hint) = match notation::address(text.value, schemes) {
        Ok((_, address)) => return Some(address),
        Err(AddressFault::Scheme) => (format!("`{key}` does not begin with {scheme}://"), example),
        Err(AddressFault::Credentials) => {
            let hint = match key {
                "proxy" => "leave them out; write proxy_user and proxy_password_file",
                _ => "leave them out; `sandan-gateway enroll` gets what the gateway shows",
            };
            (format!("`{key}` holds credentials"), hint.to_owned())
        }
        Err(AddressFault::Form) => {
            (format!("`{key}` is not {scheme}://host:port"), format!("{example}, without a path"))
        }
    };
    section.log.fault(text.at, what, hint);
    None
}

/// The path of a file that holds a secret; it must be there, small, and closed to others.
pub(super) fn secret_file(section: &Section<'_>, key: &str, file: At<&str>, folder: &Path) -> PathBuf {
    let path = folder.join(file.value);
    is_closed_secret(section, key, file, &path);
    path
}

fn is_closed_secret(section: &Section<'_>, key: &str, file: At<&str>, path: &Path) -> bool {
    let Some(metadata) = opened(section, key, file, path) else { return false };
    let mode = metadata.permissions().mode();
    let is_open = mode & 0o077 != 0;
    if is_open {
        section.log.fault_on_this_machine(
            file.at,
            format!("`{key}` can be read by others (mode {:04o})", mode & 0o7777),
            format!("chmod 600 {}", path.display()),
        );
    }
    !is_open
}

/// The path of a file that must be there, can be opened and is not too large.
pub(super) fn readable_file(section: &Section<'_>, key: &str, file: At<&str>, folder: &Path) -> PathBuf {
    let path = folder.join(file.value);
    opened(section, key, file, &path);
    path
}

/// What the handle of such a file says of it: by its name it could be another one a
/// moment later.
fn opened(section: &Section<'_>, key: &str, file: At<&str>, path: &Path) -> Option<Metadata> {
    let fault = |what: String, hint: &str| {
        section.log.fault_on_this_machine(file.at, what, hint);
        None
    };
    match File::open(path).and_then(|file| file.metadata()) {
        Err(error) => fault(
            format!("`{key}` cannot be read: {}: {error}", path.display()),
            "the path is relative to this file; it must be readable by the gateway's user",
        ),
        Ok(metadata) if !metadata.is_file() => {
            fault(format!("`{key}` is not a file: {}", path.display()), "name a file")
        }
        Ok(metadata) if metadata.len() == 0 => fault(format!("`{key}` is empty: {}", path.display()), "write it again"),
        Ok(metadata) if metadata.len() > MAX_SECRET_FILE_BYTES => fault(
            format!("`{key}` has {} bytes: {}", metadata.len(), path.display()),
            "this is another file; such a file has some hundred bytes",
        ),
        Ok(metadata) => Some(metadata),
    }
}

pub(super) fn spool(root: &Section<'_>) -> Spool {
    let mut spool = Spool::default();
    let Some(section) = root.section("spool", "{ max_bytes = \"1GiB\" }") else { return spool };
    if let Some(text) = section.text_like("max_bytes", "\"1GiB\"") {
        match notation::size(text.value) {
            Some(size @ MIN_SPOOL_BYTES..=MAX_SPOOL_BYTES) => spool.max_bytes = size,
            Some(_) => section.log.fault(
                text.at,
                format!("`max_bytes` is {}, outside 16MiB to 16TiB", notation::shown(text.value)),
                "1GiB holds about a day of 1,000 signals at one a second",
            ),
            None => section.log.fault(
                text.at,
                format!("`max_bytes` is not a size: `{}`", notation::shown(text.value)),
                "write an integer and KiB, MiB or GiB: \"1GiB\"",
            ),
        }
    }
    if let Some(interval) = section.duration("sync_interval", SYNC_INTERVAL) {
        spool.sync_interval = interval.value;
    }
    if let Some(text) = section.text("when_full") {
        match text.value {
            "drop-oldest" => spool.when_full = WhenFull::DropOldest,
            "refuse-newest" => spool.when_full = WhenFull::RefuseNewest,
            other => section.log.fault(
                text.at,
                format!("`when_full` is neither drop-oldest nor refuse-newest: `{}`", notation::shown(other)),
                "write when_full = \"drop-oldest\", or \"refuse-newest\" to keep what is there",
            ),
        }
    }
    section.finish();
    spool
}

pub(super) fn http(root: &Section<'_>) -> Http {
    let mut http = Http::default();
    let Some(section) = root.section("http", "{ listen = \"127.0.0.1:7480\" }") else { return http };
    if let Some(text) = section.text("listen") {
        match text.value.parse::<std::net::SocketAddr>() {
            Ok(listen) if listen.ip().is_loopback() => http.listen = listen,
            Ok(listen) => section.log.fault(
                text.at,
                format!("`listen` is {listen}, which others can reach"),
                "write listen = \"127.0.0.1:7480\"; a proxy or ssh -L makes it visible elsewhere",
            ),
            Err(_) => section.log.fault(
                text.at,
                format!("`listen` is not address:port: `{}`", notation::shown(text.value)),
                "write listen = \"127.0.0.1:7480\"",
            ),
        }
    }
    section.finish();
    http
}

pub(super) fn assets(root: &Section<'_>, plant: &mut Plant) {
    for section in root.sections("asset", "[[asset]]") {
        let id = section.required("id", "name the machine: id = \"press-1\"").and_then(|text| {
            AssetId::new(text.value)
                .inspect_err(|error| section.log.fault(text.at, error.to_string(), "write id = \"press-1\""))
                .ok()
                .map(|id| At { value: id, at: text.at })
        });
        let path = section.label("path", MAX_TEXT_BYTES);
        if let Some(path) = path
            && path.value.split('/').any(|part| part.trim().is_empty())
        {
            section.log.fault(
                path.at,
                format!("`path` has an empty part: `{}`", notation::shown(path.value)),
                "write site/line/machine: path = \"plant-1/press-hall/press-1\"",
            );
        }
        let (mut name_ko, mut name_en) = ("", "");
        if let Some(names) = section.section("name", "{ ko = \"…\", en = \"…\" }") {
            name_ko = names.label("ko", MAX_TEXT_BYTES).map_or("", |name| name.value);
            name_en = names.label("en", MAX_TEXT_BYTES).map_or("", |name| name.value);
            names.finish();
        }
        let time_zone = section.label("time_zone", MAX_TEXT_BYTES);
        if let Some(zone) = time_zone
            // A box without the database cannot judge.
            && !jiff::tz::db().is_definitively_empty()
            && jiff::tz::db().get(zone.value).is_err()
        {
            section.log.fault(
                zone.at,
                format!("no time zone `{}`", notation::shown(zone.value)),
                "write its IANA name: time_zone = \"Asia/Seoul\"",
            );
        }
        section.finish();
        let Some(id) = id else {
            plant.has_nameless_asset = true;
            continue;
        };
        if plant.assets.iter().any(|asset| asset.id == id.value) {
            section.log.fault(id.at, format!("two assets `{}`", id.value), "give each machine its own id");
            continue;
        }
        plant.assets.push(Asset {
            path: path.map_or_else(|| id.value.to_string(), |path| path.value.into()),
            id: id.value,
            name_ko: name_ko.into(),
            name_en: name_en.into(),
            time_zone: time_zone.map_or("", |zone| zone.value).into(),
        });
    }
}
