//! `enroll`: an invitation in, an identity on the disk.

use std::io::{IsTerminal, Read};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use sandan_proto::invitation::{Invitation, MAX_INVITATION_BYTES};

use crate::clock;
use crate::config::Config;
use crate::identity::{self, Identity};
use crate::pipeline::proxy;
use crate::uplink;

/// Where an invitation may stand that is not typed.
const VARIABLE: &str = "SANDAN_INVITATION";

pub(super) async fn enroll(config: &Config, file: Option<&Path>, json: bool) -> anyhow::Result<ExitCode> {
    let invitation = Invitation::parse(&text(file)?)?;
    let at = invitation.authority();
    if let Some(ingest) = config.uplink.ingest.as_ref().map(ToString::to_string)
        && ingest != at
    {
        bail!(
            "the invitation is for the ingest at {at}, and [uplink] url names {ingest}; leave url out, or correct it"
        );
    }
    let identity = Identity::new(&config.state_dir, config.gateway.clone());
    let proxy = proxy(config);
    let connect = async |tls| uplink::connect(&at, proxy.as_ref(), tls).await;
    let enrolled = identity::enroll(&identity, &invitation, Arc::new(clock::wall_us), connect).await?;
    let until = Timestamp::from_microsecond(enrolled.not_after_us).unwrap_or(Timestamp::MAX);
    let gateway = identity.gateway();
    if json {
        let answer = serde_json::json!({
            "gateway": gateway, "ingest": at, "enrolled_before": enrolled.before, "certificate_expires": until.to_string(),
        });
        println!("{answer}");
    } else {
        let how = if enrolled.before { "was enrolled before with this invitation" } else { "is enrolled" };
        println!("{gateway} {how} at {at}; its certificate renews by itself, this one expires at {until}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The invitation's text, from where it was given.
fn text(file: Option<&Path>) -> anyhow::Result<String> {
    // One byte more than there may be, so that too long a text is seen.
    let limit = MAX_INVITATION_BYTES as u64 + 64;
    let mut text = String::new();
    if let Some(path) = file {
        let read = std::fs::File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text));
        read.with_context(|| format!("cannot read the invitation file {}", path.display()))?;
    } else if let Ok(given) = std::env::var(VARIABLE) {
        text = given;
    } else {
        let stdin = std::io::stdin();
        if stdin.is_terminal() {
            eprintln!("paste the invitation that `sandan-ingest gateway invite` printed, and press Enter:");
            stdin.read_line(&mut text).context("cannot read the invitation")?;
        } else {
            stdin.take(limit).read_to_string(&mut text).context("cannot read the invitation from standard input")?;
        }
    }
    Ok(text)
}
