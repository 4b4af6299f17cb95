//! Who is told, and by which way.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use sandan_proto::id::FirmId;
use serde::{Deserialize, Serialize};

use super::engine::{Notice, Timing};
use super::kind::Level;
use super::message::Call;

/// A language of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lang {
    /// Korean.
    #[default]
    Ko,
    /// English.
    En,
}

/// What is configured of alerts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Nobody is told where there is none.
    pub receivers: Vec<Receiver>,
    /// For-times and repeats.
    pub timing: Timing,
    /// The mail server; there where a receiver has mail.
    pub relay: Option<Relay>,
    /// Addresses that are not public and may be called all the same.
    pub allowed: Vec<Net>,
    /// What this service trusts beside public authorities, PEM: instead of what the system trusts.
    pub ca_file: Option<PathBuf>,
    /// Whom to call about the service itself, as it is dialled.
    pub phone: Option<String>,
    /// Whom to call about the gateways of a firm.
    pub calls: BTreeMap<FirmId, Call>,
    /// What a browser has to call, without a slash at the end; none where that is not known.
    pub console_url: Option<String>,
}

/// Somebody who is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// Its name in the configuration.
    pub name: String,
    /// In which language.
    pub language: Lang,
    /// Of what is as bad as this, or worse.
    pub least: Level,
    /// Of these firms alone, and then not of the service; none: of everything.
    pub firms: Option<BTreeSet<FirmId>>,
    /// By which way.
    pub way: Way,
}

/// A way to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// JSON by HTTP.
    Webhook {
        /// `https://…`, or `http://…` to an address that is allowed.
        url: String,
        /// Signs each message.
        secret_file: PathBuf,
    },
    /// Mail to these.
    Mail(Vec<String>),
}

/// The mail server that takes our mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// Its name, which its certificate has to be of.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is protected.
    pub tls: MailTls,
    /// Who we are.
    pub from: String,
    /// Name and the file of the password; none where it takes mail of everybody here.
    pub login: Option<(String, PathBuf)>,
}

/// How the way to the mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// TLS after a greeting in the clear (port 587); without it nothing is sent.
    StartTls,
    /// TLS from the first byte (port 465).
    Implicit,
    /// None: only for a relay on this machine.
    None,
}

impl Receiver {
    /// What of it concerns this receiver. The end of what it was told is told whatever it got to be.
    pub fn wants(&self, notice: &Notice) -> bool {
        let of_firm = match (&self.firms, notice.condition.subject.firm()) {
            (None, _) => true,
            (Some(firms), Some(firm)) => firms.contains(&firm),
            (Some(_), None) => false,
        };
        of_firm && notice.worst >= self.least
    }
}

/// Addresses with the same first bits: `10.0.0.0/8`, or one alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Net {
    first: IpAddr,
    bits: u8,
}

impl Net {
    /// Whether an address is among them.
    pub fn holds(&self, address: IpAddr) -> bool {
        let shifted = |bits: u128, width: u8| bits.checked_shr(u32::from(width - self.bits)).unwrap_or(0);
        match (self.first, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                shifted(u128::from(u32::from(a)), 32) == shifted(u128::from(u32::from(b)), 32)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => shifted(u128::from(a), 128) == shifted(u128::from(b), 128),
            _ => false,
        }
    }
}

impl FromStr for Net {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let first: IpAddr = address.parse().map_err(|_| ())?;
        let width = if first.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), str::parse).map_err(|_| ())?;
        if bits > width { Err(()) } else { Ok(Self { first, bits }) }
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

/// Whether an address is one of the internet at large: neither of this machine nor of a network of
/// somebody's own, nor one by which a cloud tells its machines their secrets.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => {
            let [a, b, c, _] = it.octets();
            let reserved = matches!(
                (a, b, c),
                (0 | 240..=255, _, _)          // this network, and what is kept for later
                    | (100, 64..=127, _)       // behind a carrier's NAT
                    | (192, 0, 0 | 2)          // protocol assignments, documentation
                    | (198, 18 | 19, _)        // benchmarks
                    | (198, 51, 100) | (203, 0, 113)
                    | (192, 88, 99) // old relays
            );
            !(reserved || it.is_private() || it.is_loopback() || it.is_link_local() || it.is_multicast())
        }
        IpAddr::V6(it) => {
            if let Some(mapped) = it.to_ipv4_mapped() {
                return is_public(IpAddr::V4(mapped));
            }
            let [a, b, ..] = it.segments();
            // Only what is routed: without documentation, and without what wraps an address of version 4.
            let wraps = matches!((a, b), (0x2001, 0..=0x1ff | 0xdb8) | (0x2002 | 0x3fff, _));
            (0x2000..=0x3fff).contains(&a) && !wraps
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_at_large_are_public() {
        for public in ["8.8.8.8", "1.1.1.1", "211.1.2.3", "2404:6800::1", "::ffff:8.8.8.8", "172.32.0.1"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        let others = [
            "127.0.0.1",
            "127.8.8.8",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "198.18.0.1",
            "192.0.0.192",
            "::",
            "::1",
            "fe80::1",
            "fd00:ec2::254",
            "fc00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001::1",
            "2001:db8::1",
            "::7f00:1",
        ];
        for other in others {
            assert!(!is_public(other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn a_net_is_an_address_with_its_first_bits() {
        let holds = |net: &str, address: &str| net.parse::<Net>().unwrap().holds(address.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("192.168.0.7", "192.168.0.7") && !holds("192.168.0.7", "192.168.0.8"));
        assert!(holds("0.0.0.0/0", "1.2.3.4") && !holds("0.0.0.0/0", "::1") && holds("::/0", "::1"));
        assert!(holds("fd00::/8", "fd12::1") && !holds("fd00::/8", "fe80::1"));
        for wrong in ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "host", "::/129"] {
            assert!(wrong.parse::<Net>().is_err(), "{wrong}");
        }
    }
}
