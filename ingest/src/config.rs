//! The configuration: what one TOML file may say, and the checked form of it.
//!
//! [`Config::load`] notes every fault with its place and a hint, and gives back either
//! a configuration that cannot be wrong or all faults together. The file is walked as a
//! tree instead of through serde, because serde ends at the first wrong type. Nothing
//! here opens a port or the store.

mod alerts;
mod fault;
mod fleet;
mod retention;
mod store;
mod table;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sandan_proto::id::FirmId;
use sandan_proto::invitation::host_and_port;
use toml::de::DeTable;

use self::fault::Log;
pub use self::fault::{Fault, Faults};
pub(crate) use self::retention::shown as shown_retention;
use self::store::Store;
pub use self::store::{Engine, Packing, Postgres};
use self::table::{Table, Text};
use crate::alert::Settings as Alerts;
use crate::disk::Reserve;
use crate::fleet::Bounds;
use crate::retention::Classes;

/// What a private key must not allow to users who are neither its owner nor of its group.
const OTHERS: u32 = 0o007;
/// Where gateways connect unless it is said otherwise.
const UPLINK_PORT: u16 = 7443;
/// Where the API and the console are unless it is said otherwise.
const HTTP_PORT: u16 = 7080;

/// A checked configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Name of this installation, in every exported id.
    pub complex: String,
    /// Everything durable lives here, but for what a database keeps.
    pub data_dir: PathBuf,
    /// Where gateways connect.
    pub uplink: Uplink,
    /// API, console, `/metrics`, `/healthz`.
    pub http: Http,
    /// What keeps everything durable but the files of the certificate authority.
    pub engine: Engine,
    /// Room that has to be left on the disk of `data_dir`.
    pub reserve: Reserve,
    /// What packing may take of the machine.
    pub packing: Packing,
    /// How long readings, minutes and hours are kept.
    pub retention: Classes,
    /// A file outside of `data_dir` that tells an older store from the newest.
    pub witness: Option<PathBuf>,
    /// How fast a firm may send that has no rate of its own.
    pub quota: Quota,
    /// Rates of single firms.
    pub firm_quotas: BTreeMap<FirmId, Quota>,
    /// How many requests members may send.
    pub api: Requests,
    /// When something is wrong with a gateway.
    pub fleet: Bounds,
    /// Who is told of what is wrong.
    pub alerts: Alerts,
}

/// Requests of members in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requests {
    /// Of one token.
    pub token_per_minute: u64,
    /// Of a firm, all of its tokens together.
    pub firm_per_minute: u64,
}

impl Default for Requests {
    /// Fifty a second of one program: far above one that follows all series of a plant, and
    /// far below what one core answers.
    fn default() -> Self {
        Self { token_per_minute: 3_000, firm_per_minute: 6_000 }
    }
}

/// How fast a firm may send, all of its gateways together. Whoever sends faster is told to
/// send later, and loses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Readings a second.
    pub readings_per_s: u64,
    /// Bytes of records a second.
    pub bytes_per_s: u64,
}

impl Default for Quota {
    /// Forty plants of 5,000 readings a second: a firm that drains the backlog of an outage
    /// feels nothing, and one that is out of its mind leaves the disk to the others.
    fn default() -> Self {
        Self { readings_per_s: 200_000, bytes_per_s: 16 << 20 }
    }
}

/// The port of gateways. It always speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// Port 0 takes a free one.
    pub address: SocketAddr,
    /// A certificate of the server's own; none: the certificate authority issues one.
    pub tls: Option<Tls>,
    /// An outside certificate authority; none: the built-in one.
    pub ca: Option<Tls>,
    /// Names and addresses that gateways call, for the issued certificate; none: what is
    /// known of this machine.
    pub names: Option<Vec<String>>,
    /// Host and port that an invitation names; none: what is known of `address`.
    pub public_address: Option<(String, u16)>,
}

impl Uplink {
    fn on(address: SocketAddr) -> Self {
        Self { address, tls: None, ca: None, names: None, public_address: None }
    }

    /// The names for the server's certificate when the port is open at `address`.
    pub fn names(&self, address: SocketAddr) -> Vec<String> {
        let mut names = self.names.clone().unwrap_or_else(|| names_of_this_host(address.ip()));
        if let Some((host, _)) = &self.public_address
            && !names.contains(host)
        {
            names.push(host.clone());
        }
        names
    }

    /// Host and port that an invitation names when the port is open at `address`; none
    /// where only `public_address` could say it.
    pub fn public_at(&self, address: SocketAddr) -> Option<(String, u16)> {
        if let Some(public) = &self.public_address {
            return Some(public.clone());
        }
        let named = self.names.as_ref().and_then(|names| names.first()).cloned();
        let bound = (!address.ip().is_unspecified()).then(|| address.ip().to_string());
        let host = named.or(bound)?;
        (address.port() != 0).then_some((host, address.port()))
    }
}

/// An address, and how it is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Port 0 takes a free one.
    pub address: SocketAddr,
    /// None only on loopback, or behind a proxy.
    pub tls: Option<Tls>,
}

/// The HTTP side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Where.
    pub listen: Listen,
    /// A proxy in front speaks TLS.
    pub behind_proxy: bool,
    /// What a browser has to call; none: `listen`.
    pub public_url: Option<String>,
}

impl Http {
    /// Whether browsers come by TLS.
    pub fn is_secure(&self) -> bool {
        self.listen.tls.is_some() || self.behind_proxy
    }

    /// What a browser has to call when the port is open at `address`; none where only
    /// `public_url` could say it.
    pub fn console_url(&self, address: SocketAddr) -> Option<String> {
        let scheme = if self.listen.tls.is_some() { "https" } else { "http" };
        let reachable = !self.behind_proxy && !address.ip().is_unspecified();
        self.public_url.clone().or_else(|| reachable.then(|| format!("{scheme}://{address}")))
    }
}

/// A certificate chain and its key, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Leaf first.
    pub cert_file: PathBuf,
    /// Not readable by others.
    pub key_file: PathBuf,
}

impl Config {
    /// Readings older than now less this are of no use to anybody and are dead-lettered, µs:
    /// as long as any is kept, and 20 years at most.
    pub fn retention_us(&self) -> i64 {
        self.retention.longest_us().min(retention::MAX_US)
    }

    /// Reads and checks `file`.
    pub fn load(file: &Path) -> Result<Self, Faults> {
        let text = std::fs::read_to_string(file).map_err(|error| Faults::unreadable(file, &error))?;
        Self::parse(file, &text)
    }

    /// Checks `text`, which stands in `file`.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Faults> {
        let log = Log::new(file, text);
        let (tree, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            // The tree of a text that is not TOML holds things that nobody wrote.
            for error in &errors {
                log.syntax(error);
            }
            return Err(log.into_faults());
        }
        let home = file.parent().unwrap_or(Path::new(""));
        let config = whole(&Table::root(tree.get_ref(), &log), home);
        match (config, log.into_faults()) {
            (Some(config), faults) if faults.list.is_empty() => Ok(config),
            (_, faults) => Err(faults),
        }
    }
}

fn whole(root: &Table<'_>, home: &Path) -> Option<Config> {
    let complex = root.required("complex", "name this installation in a-z, 0-9 and -, such as complex = \"saesol\"");
    let complex = complex.and_then(|it| match FirmId::new(it.value) {
        Ok(_) => Some(it.value.to_owned()),
        Err(_) => {
            it.refuse(root, "1 to 40 of a-z, 0-9 and -, beginning with a letter or digit", "write it like \"saesol\"")
        }
    });
    let data_dir =
        root.required("data_dir", "say where everything durable lives, such as data_dir = \"/var/lib/sandan-ingest\"");
    let data_dir = data_dir.map(|it| home.join(it.value));
    let uplink = root.table("uplink").map_or_else(
        || Some(Uplink::on(loopback(UPLINK_PORT))),
        |table| {
            let uplink = uplink(&table, home);
            table.finish();
            uplink
        },
    );
    let http = root.table("http").map_or_else(
        || {
            let listen = Listen { address: loopback(HTTP_PORT), tls: None };
            Some(Http { listen, behind_proxy: false, public_url: None })
        },
        |table| {
            let http = http(&table, home);
            table.finish();
            http
        },
    );
    let stored = store::store(root.table("store"), home);
    let retention = retention::classes(root.table("retention").as_ref());
    let witness = root.table("witness").map_or(Some(None), |table| {
        let file = witness(&table, home, data_dir.as_deref());
        table.finish();
        file.map(Some)
    });
    let (quota, firm_quotas) = root.table("quota").map_or_else(Default::default, |table| quotas(&table));
    let api = root.table("api").map_or_else(Requests::default, |table| requests(&table));
    let fleet = fleet::bounds(root.table("fleet").as_ref());
    let alerts = root.table("alerts").map_or_else(|| Some(Alerts::default()), |table| alerts::alerts(&table, home));
    root.finish();
    let Store { engine, reserve, packing } = stored?;
    Some(Config {
        complex: complex?,
        data_dir: data_dir?,
        uplink: uplink?,
        http: http?,
        engine,
        reserve,
        packing,
        retention,
        witness: witness?,
        quota,
        firm_quotas,
        api,
        fleet,
        alerts: alerts?,
    })
}

/// Whoever puts back the directory would put back a witness in it too.
fn witness(table: &Table<'_>, home: &Path, data_dir: Option<&Path>) -> Option<PathBuf> {
    let given = table.required("file", "name a file on another disk, such as file = \"/mnt/witness/sandan.json\"")?;
    let file = home.join(given.value);
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = file.parent().map(real).unwrap_or_default();
    if data_dir.is_some_and(|dir| folder.starts_with(real(dir)) || file.starts_with(dir)) {
        let what = "`file` lies in `data_dir`: it would be put back together with the store".to_owned();
        table.fault(given.at, what, "name a file on another disk, such as \"/mnt/witness/sandan.json\"");
        return None;
    }
    Some(file)
}

/// A fault in it is noted, and ends the loading.
fn quotas(table: &Table<'_>) -> (Quota, BTreeMap<FirmId, Quota>) {
    let rates = |table: &Table<'_>, otherwise: Quota| Quota {
        readings_per_s: table.count("readings_per_s").unwrap_or(otherwise.readings_per_s),
        bytes_per_s: table.count("bytes_per_s").unwrap_or(otherwise.bytes_per_s),
    };
    let all = rates(table, Quota::default());
    let mut firms = BTreeMap::new();
    for (name, own) in table.table("firm").iter().flat_map(Table::tables) {
        let rates = rates(&own, all);
        own.finish();
        match FirmId::new(name) {
            Ok(firm) => drop(firms.insert(firm, rates)),
            Err(error) => own.fault(own.at(), error.to_string(), "name a firm as `firm list` does"),
        }
    }
    table.finish();
    (all, firms)
}

/// A fault in it is noted, and ends the loading.
fn requests(table: &Table<'_>) -> Requests {
    let otherwise = Requests::default();
    let requests = Requests {
        token_per_minute: table.count("requests_per_minute").unwrap_or(otherwise.token_per_minute),
        firm_per_minute: table.count("firm_requests_per_minute").unwrap_or(otherwise.firm_per_minute),
    };
    table.finish();
    requests
}

/// What gateways may call this machine where the configuration does not say it.
fn names_of_this_host(listen: IpAddr) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !listen.is_unspecified() {
        names.push(listen.to_string());
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte)) {
        names.push(host);
    }
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn http(table: &Table<'_>, home: &Path) -> Option<Http> {
    let behind_proxy = table.flag("behind_proxy").unwrap_or(false);
    let public_url = table.text("public_url").map(|it| {
        let url = if it.value.starts_with("https://") || it.value.starts_with("http://") {
            Some(it.value.trim_end_matches('/').to_owned())
        } else {
            it.refuse(table, "an http:// or https:// address", "write it like \"https://sandan.example\"")
        };
        (it.at, url)
    });
    let listen = listen(table, HTTP_PORT, home, behind_proxy);
    let (at, public_url) = match public_url {
        None => (0, None),
        Some((at, url)) => (at, Some(url?)),
    };
    let http = Http { listen: listen?, behind_proxy, public_url };
    if http.is_secure() && http.public_url.as_ref().is_some_and(|url| url.starts_with("http://")) {
        // The console's cookie says that it is for TLS alone.
        let what = "`public_url` is http://, and browsers that come by it stay signed out".to_owned();
        table.fault(at, what, "write the https:// address that the certificate or the proxy serves");
        return None;
    }
    Some(http)
}

/// Most names of the uplink's server: each is in every handshake.
const MAX_NAMES: usize = 32;

fn uplink(table: &Table<'_>, home: &Path) -> Option<Uplink> {
    let tls = identity(table, "tls", home);
    let ca = identity(table, "ca", home);
    let names = table.texts("names").map(|names| {
        let is_host = |name: &str| name.parse::<IpAddr>().is_ok() || host_and_port(&format!("{name}:1")).is_some();
        let hint = "write a host name or an address without a port, like names = [\"sandan.example\"]";
        let check = |name: &Text<'_>| {
            if is_host(name.value) {
                Some(name.value.to_owned())
            } else {
                name.refuse(table, "a host name or an IP address", hint)
            }
        };
        // All of them, so that each fault is noted.
        let checked: Vec<_> = names.iter().take(MAX_NAMES).map(check).collect();
        checked.into_iter().collect::<Option<Vec<_>>>()
    });
    let public_address = table.text("public_address").map(|it| match host_and_port(it.value) {
        Some((host, port)) => Some((host.to_owned(), port)),
        None => it.refuse(table, "host:port", "write what gateways call, like \"sandan.example:443\""),
    });
    let address = address(table, UPLINK_PORT).map(|(address, _)| address);
    Some(Uplink {
        address: address?,
        tls: tls.ok()?,
        ca: ca.ok()?,
        names: names.map_or(Some(None), |names| names.map(Some))?,
        public_address: public_address.map_or(Some(None), |public| public.map(Some))?,
    })
}

/// A certificate and its key where they are named; fails where something is wrong with them.
fn identity(table: &Table<'_>, key: &'static str, home: &Path) -> Result<Option<Tls>, Noted> {
    let named = table.table(key).map(|tls| {
        let file = |key, hint| {
            let given = tls.required(key, hint)?;
            let path = home.join(given.value);
            match std::fs::File::open(&path).and_then(|file| file.metadata()) {
                Ok(file) if key == "key_file" && file.permissions().mode() & OTHERS != 0 => {
                    let what = format!("`{key}`: {} can be read by every user of this machine", path.display());
                    tls.fault(given.at, what, "run chmod o-rwx on it");
                    None
                }
                Ok(_) => Some(path),
                Err(error) => {
                    tls.fault(
                        given.at,
                        format!("`{key}`: {} cannot be read: {error}", path.display()),
                        "name a PEM file that this user can read",
                    );
                    None
                }
            }
        };
        let cert_file = file("cert_file", "name the certificate chain, PEM, leaf first");
        let key_file = file("key_file", "name the private key, PEM");
        tls.finish();
        Some(Tls { cert_file: cert_file?, key_file: key_file? })
    });
    match named {
        Some(None) => Err(Noted),
        Some(tls) => Ok(tls),
        None => Ok(None),
    }
}

/// Something is wrong, and stands in the log.
struct Noted;

/// `listen`, and where it stands; 0 where it does not.
fn address(table: &Table<'_>, port: u16) -> Option<(SocketAddr, usize)> {
    let Some(it) = table.text("listen") else { return Some((loopback(port), 0)) };
    match it.value.parse::<SocketAddr>() {
        Ok(address) => Some((address, it.at)),
        Err(_) => it.refuse(table, "an IP address and a port", &format!("write it like \"127.0.0.1:{port}\"")),
    }
}

fn listen(table: &Table<'_>, port: u16, home: &Path, behind_proxy: bool) -> Option<Listen> {
    let tls = identity(table, "tls", home);
    let (address, at) = address(table, port)?;
    if !address.ip().is_loopback() && matches!(tls, Ok(None)) && !behind_proxy {
        let hint = "add tls = { cert_file = …, key_file = … }, or set behind_proxy = true where a proxy speaks TLS, or listen on 127.0.0.1";
        table.fault(at, format!("`listen` is {address}: plain text leaves this machine"), hint);
        return None;
    }
    Some(Listen { address, tls: tls.ok()? })
}

#[cfg(test)]
mod tests;
