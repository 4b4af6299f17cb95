//! `status`: asks the running gateway over its local HTTP server; the exit code says whether all is well.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::TcpStream;

use crate::clock;
use crate::config::Config;
use crate::health::{ClockStatus, LinkStatus, SignalsStatus, Status};

/// A gateway that runs answers at once, also on a slow box.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A status of the most links there may be is smaller.
const MAX_STATUS_BYTES: usize = 4 << 20;
/// An acknowledgement that takes longer is worth a word.
const SILENCE_MS: u64 = 10_000;
/// So is a clock that is farther off: one with working NTP never is.
const DEVIATION_MS: i64 = 2_000;

pub(super) async fn status(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let at = config.http.listen;
    if at.port() == 0 {
        bail!("[http] listen has port 0, so the port is known to the running gateway alone; name a port");
    }
    let body = tokio::time::timeout(TIMEOUT, ask(at))
        .await
        .with_context(|| format!("no answer from {at}"))?
        .with_context(|| format!("no gateway answers on {at}; is it running?"))?;
    let status: Status = serde_json::from_slice(&body).context("the answer is of another kind of server")?;
    let wrong = wrong(&status, clock::wall_us());
    if json {
        let told = Told { status: &status, wrong: &wrong };
        println!("{}", serde_json::to_string_pretty(&told)?);
    } else {
        print!("{}{}", sentences(&status), summed_up(&wrong));
    }
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What scripts read.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    status: &'a Status,
    /// See [`wrong`].
    wrong: &'a [String],
}

/// What is wrong now, each in a few words: what was lost before, and ended, is in the metrics.
fn wrong(status: &Status, wall_us: i64) -> Vec<String> {
    let Status { links, uplink, clock, config, spool, .. } = status;
    let is_ill = |link: &&LinkStatus| link.state == "down" || link.state == "flaky";
    let mut wrong: Vec<String> =
        links.iter().filter(is_ill).map(|link| format!("device {} is {}", link.device, link.state)).collect();
    let mut say = |is_so: bool, what: &str| {
        if is_so {
            wrong.push(what.to_owned());
        }
    };
    say(!uplink.connected, "the ingest is not connected");
    say(uplink.waiting_ms > SILENCE_MS, "the ingest acknowledges nothing");
    say(uplink.asked_to_wait.is_some(), "the ingest asks to send later");
    say(
        uplink.connected && spool.backlog_readings > 0 && spool.backlog_drains_in_ms.is_none(),
        "the backlog does not drain",
    );
    say(clock.source == "unknown", "the wall time is not known");
    let off = clock.deviation_ms.into_iter().chain(clock.stored_deviation_ms).any(|millis| millis.abs() > DEVIATION_MS);
    say(off, "the clock is off");
    say(uplink.certificate_fault.is_some(), "the certificate cannot be renewed");
    say(uplink.certificate_expires_us.is_some_and(|expires_us| expires_us <= wall_us), "the certificate has expired");
    say(config.refused.is_some(), "a changed configuration was refused");
    wrong
}

fn summed_up(wrong: &[String]) -> String {
    match wrong {
        [] => "all is well\n".to_owned(),
        some => format!("wrong: {}\n", some.join("; ")),
    }
}

async fn ask(at: std::net::SocketAddr) -> anyhow::Result<Bytes> {
    let stream = TcpStream::connect(at).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = hyper::Request::get("/status").header(HOST, at.to_string()).body(Empty::<Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        if response.status() != hyper::StatusCode::OK {
            bail!("it answers {}", response.status());
        }
        let body = Limited::new(response.into_body(), MAX_STATUS_BYTES).collect().await;
        Ok(body.map_err(|error| anyhow::anyhow!(error))?.to_bytes())
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        body = &mut exchange => body,
        // The server may end the connection with its answer: what came is still there.
        ended = connection => { ended?; exchange.await }
    }
}

fn sentences(status: &Status) -> String {
    let mut out = format!(
        "{} runs for {}, version {}, {} readings\n",
        status.gateway,
        span(status.uptime_ms),
        status.version,
        status.readings_total
    );
    for link in &status.links {
        let _ = writeln!(out, "{}", sentence(link));
    }
    let spool = &status.spool;
    let _ = write!(
        out,
        "spool: {} readings in {} records wait for the ingest, {} of {} used",
        spool.unacked_readings,
        spool.unacked_records,
        bytes(spool.bytes_used),
        bytes(spool.bytes_cap)
    );
    if spool.oldest_unacked_ms > 0 {
        let _ = write!(out, ", the oldest since {}", span(spool.oldest_unacked_ms));
    }
    if spool.backlog_records > 0 {
        let readings = short(spool.backlog_readings);
        let _ = match spool.backlog_drains_in_ms {
            Some(millis) => write!(out, "; backlog {readings}, drains in {}", span(millis)),
            None => write!(out, "; backlog {readings}, does not drain"),
        };
        let _ = write!(out, "; live data waits for {}", span(spool.live_oldest_ms));
    }
    if spool.damaged_records_total + status.readings_dropped_total > 0 {
        let (damaged, dropped) = (spool.damaged_records_total, status.readings_dropped_total);
        let _ = write!(out, "; {damaged} damaged records, {dropped} readings dropped");
    }
    let uplink = &status.uplink;
    let since = span(uplink.since_ms);
    let _ = match (&uplink.fault, uplink.connected) {
        (_, true) => write!(out, "\nuplink: connected for {since}, {} readings acknowledged", uplink.acked_total),
        (Some(fault), false) => write!(out, "\nuplink: not connected for {since}: {fault}"),
        (None, false) => write!(out, "\nuplink: not connected for {since}"),
    };
    if uplink.dead_lettered_total > 0 {
        let _ = write!(out, ", {} refused by the store", uplink.dead_lettered_total);
    }
    if uplink.waiting_ms > SILENCE_MS {
        let _ = write!(out, "; nothing of what is sent was acknowledged for {}", span(uplink.waiting_ms));
    }
    if let Some(why) = &uplink.asked_to_wait {
        let _ = write!(out, "; the ingest asks to send later: {why}");
    }
    if let Some(notice) = &uplink.notice {
        let _ = write!(out, "\nnotice: {notice}");
    }
    out.push_str(&clock_sentence(&status.clock));
    out.push('\n');
    if let Some(refused) = &status.config.refused {
        let _ = writeln!(
            out,
            "configuration: a changed one was refused {} ago, and the one before runs:",
            span(refused.age_ms)
        );
        for line in &refused.why {
            let _ = writeln!(out, "  {line}");
        }
    }
    if let Some(expires_us) = uplink.certificate_expires_us {
        let left = expires_us - clock::wall_us();
        let span = span(left.unsigned_abs() / 1_000);
        let _ = match left {
            0.. => write!(out, "certificate: expires in {span}"),
            _ => write!(out, "certificate: expired {span} ago"),
        };
        if let Some(fault) = &uplink.certificate_fault {
            let _ = write!(out, ", and cannot be renewed: {fault}");
        }
        out.push('\n');
    }
    out
}

/// Nothing to say about a clock that is known and right.
fn clock_sentence(clock: &ClockStatus) -> String {
    let told = |deviation: Option<i64>| deviation.filter(|millis| millis.abs() > DEVIATION_MS);
    if clock.source == "unknown" {
        return "\nclock: not known yet; readings are kept and get their time from the ingest".into();
    }
    let beside =
        |millis: i64| format!("{} {}", span(millis.unsigned_abs()), if millis < 0 { "behind" } else { "ahead of" });
    match (told(clock.stored_deviation_ms), told(clock.deviation_ms)) {
        (Some(stored), _) => format!("\nclock: readings of this boot are stored {} the ingest's time", beside(stored)),
        (None, Some(wall)) => {
            format!("\nclock: this machine's is {} the ingest's; stored times are right", beside(wall))
        }
        (None, None) => String::new(),
    }
}

/// A count as people say it.
fn short(count: u64) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..10_000_000 => format!("{}k", count / 1_000),
        _ => format!("{}M", count / 1_000_000),
    }
}

/// One link, one sentence.
fn sentence(link: &LinkStatus) -> String {
    let LinkStatus { device, endpoint, state, fault, .. } = link;
    let last = match link.last_good_age_ms {
        Some(age) => format!("last good value {} ago", span(age)),
        None => "no good value yet".into(),
    };
    let ill = link.signals.map(ill_signals).unwrap_or_default();
    if fault.is_empty() {
        format!("{device} ({endpoint}) is {state}: {last}, p99 {} ms{ill}", link.latency_p99_ms)
    } else {
        format!("{device} ({endpoint}) is {state}: {fault}; {last}{ill}")
    }
}

/// `; 11 of 14 signals are good: 2 bad, 1 never seen`; nothing where all are.
fn ill_signals(of: SignalsStatus) -> String {
    let ill = [(of.bad, "bad"), (of.never_seen, "never seen"), (of.stale, "stale"), (of.uncertain, "uncertain")];
    let some: Vec<_> =
        ill.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if some.is_empty() {
        return String::new();
    }
    let all = of.good + ill.iter().map(|(count, _)| count).sum::<u32>();
    format!("; {} of {all} signals are good: {}", of.good, some.join(", "))
}

/// A span as people say it.
fn span(millis: u64) -> String {
    match millis / 1_000 {
        0 => format!("{millis} ms"),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes / 1_024),
        1_048_576..10_737_418_240 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

#[cfg(test)]
mod tests;
