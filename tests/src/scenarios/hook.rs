//! A webhook of this machine: takes every message, and remembers when it came.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value as Json;

/// Whoever connects and says nothing is not waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// One alert of a message.
#[derive(Debug, Clone)]
pub struct Told {
    /// When it came.
    pub at: Instant,
    /// `firing`, `worse`, `still` or `resolved`.
    pub event: String,
    /// Its kind.
    pub kind: String,
    /// `ko` or `en`.
    pub language: String,
    /// The sentence.
    pub what: String,
    /// Of the message; one that comes twice, as after a kill, is the same.
    message: String,
}

/// The receiver; it listens until the process ends.
#[derive(Debug, Clone)]
pub struct Hook {
    address: SocketAddr,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Hook {
    /// On a free port of loopback.
    pub fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let told = Arc::<Mutex<Vec<Told>>>::default();
        let into = told.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // What is no message is answered with nothing, and tried again by whoever sent it.
                if let Ok(message) = take(stream) {
                    let mut told = into.lock().unwrap_or_else(PoisonError::into_inner);
                    let is_new = told.iter().all(|it| Some(it.message.as_str()) != message["id"].as_str());
                    told.extend(alerts(&message).into_iter().filter(|_| is_new));
                }
            }
        });
        Ok(Self { address, told })
    }
    /// Where it is reached.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
    /// All alerts that came.
    pub fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// The first of this event, kind and language.
    pub fn find(&self, event: &str, kind: &str, language: &str) -> Option<Told> {
        self.told().into_iter().find(|it| (&*it.event, &*it.kind, &*it.language) == (event, kind, language))
    }
}

/// Reads a request and takes it: its body.
fn take(stream: TcpStream) -> anyhow::Result<Json> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut from = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        from.read_line(&mut line)?;
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(given) = header.strip_prefix("content-length:") {
            length = given.trim().parse().context("a length that is none")?;
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    let message = serde_json::from_slice(&body)?;
    from.into_inner().write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")?;
    Ok(message)
}

fn alerts(message: &Json) -> Vec<Told> {
    let at = Instant::now();
    let text = |from: &Json| from.as_str().unwrap_or_default().to_owned();
    let alerts = message["alerts"].as_array().into_iter().flatten();
    let told = |it: &Json| Told {
        at,
        event: text(&it["event"]),
        kind: text(&it["kind"]),
        language: text(&message["language"]),
        what: text(&it["what"]),
        message: text(&message["id"]),
    };
    alerts.map(told).collect()
}

/// What is said without since when, and with `N` for each number: the same each time.
pub(super) fn sentence(what: &str) -> String {
    let bare = match (what.rsplit_once(", since "), what.split_once("부터 ")) {
        (Some((english, _)), _) => format!("{english}."),
        (None, Some((_, korean))) => korean.to_owned(),
        (None, None) => what.to_owned(),
    };
    let mut told = String::new();
    for sign in bare.chars() {
        match sign {
            '0'..='9' if told.ends_with('N') => {}
            '0'..='9' => told.push('N'),
            _ => told.push(sign),
        }
    }
    // How many minutes or hours it is depends on the machine.
    told.replace("N h", "N min").replace("N시간", "N분")
}
