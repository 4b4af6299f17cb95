//! Alerts, mutes and windows of maintenance, as the host deals with them.

use serde::{Deserialize, Serialize};

use super::{Admin, Answer, Refused, missing, named};
use crate::alert::{
    Kind as AlertKind, MAX_MUTE_US, Mute, Saved, Scope, When, Window, firing, mute_name, quiet, window_name,
};
use crate::audit::{Chain, Draft, Kind};
use crate::store::control::ControlError;
use crate::time::rfc3339;

/// Most mutes and windows at once: each is looked at with each alert.
const MAX_QUIET: usize = 1_000;

/// A mute that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct WantedMute {
    pub scope: Scope,
    pub kind: Option<AlertKind>,
    /// µs.
    pub life_us: i64,
    pub by: String,
    pub why: String,
}

/// A window that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct WantedWindow {
    pub scope: Scope,
    pub when: When,
    pub by: String,
    pub why: String,
}

/// What is wrong, and what of it is muted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Alerts {
    pub alerts: Vec<Line>,
    pub mutes: Vec<Mute>,
}

/// One alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What is known of it.
    #[serde(flatten)]
    pub alert: Saved,
    /// Whether a mute or a window covers it now.
    pub is_quiet: bool,
}

/// How a test of a receiver went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Tried {
    pub receiver: String,
    /// None: it took the message.
    pub error: Option<String>,
}

impl Admin {
    pub(super) async fn alerts(&self) -> Result<Answer, Refused> {
        let (quiet, now_us) = (quiet(&*self.control).await?, self.access.now_us());
        let line = |alert: Saved| {
            let is_quiet = quiet.covers(alert.condition.kind, &alert.condition.subject, now_us);
            Line { alert, is_quiet }
        };
        let alerts = firing(&*self.control).await?.into_iter().map(line).collect();
        let mutes = quiet.mutes.iter().filter(|it| now_us < it.until_us).cloned().collect();
        Ok(Answer::Alerts(Alerts { alerts, mutes }))
    }

    pub(super) async fn mute(&self, wanted: WantedMute) -> Result<Answer, Refused> {
        let WantedMute { scope, kind, life_us, by, why } = wanted;
        said(&by, &why)?;
        if !(1..=MAX_MUTE_US).contains(&life_us) {
            return Err(Refused::new("a mute is 31 days long at most", "switch a kind off with `off` in [alerts]"));
        }
        let now_us = self.access.now_us();
        let id = self.next_id().await?;
        let mute = Mute { id, scope, kind, until_us: now_us.saturating_add(life_us), by, why, made_us: now_us };
        let draft = entry(&mute.scope, Kind::AlertMuted, &mute.by).with("until", rfc3339(mute.until_us));
        let draft = kind.iter().fold(draft, |draft, kind| draft.with("kind", kind.as_str()));
        let draft = draft.with("mute", mute.id.to_string()).with("why", mute.why.as_str());
        self.keep(mute_name(id), Some(json(&mute)?), draft).await?;
        Ok(Answer::Line(id.to_string()))
    }

    pub(super) async fn unmute(&self, id: u64) -> Result<Answer, Refused> {
        let found = quiet(&*self.control).await?.mutes.into_iter().find(|it| it.id == id);
        let found = found.ok_or_else(|| missing("mute", &id))?;
        let draft = entry(&found.scope, Kind::AlertUnmuted, &found.by).with("mute", id.to_string());
        self.keep(mute_name(id), None, draft).await
    }

    pub(super) async fn try_receivers(&self, only: Option<&str>) -> Result<Answer, Refused> {
        let tried = self.courier.try_out(only).await;
        if tried.is_empty() {
            return Err(match only {
                Some(name) => missing("receiver", &name),
                None => Refused::new("no receiver is configured", "add one: [alerts.receiver.NAME]"),
            });
        }
        let line = |(receiver, sent): (String, Result<(), _>)| Tried {
            receiver,
            error: sent.err().map(|error: crate::alert::SendError| error.to_string()),
        };
        Ok(Answer::Tried(tried.into_iter().map(line).collect()))
    }

    pub(super) async fn add_window(&self, wanted: WantedWindow) -> Result<Answer, Refused> {
        let WantedWindow { scope, when, by, why } = wanted;
        said(&by, &why)?;
        when.check().map_err(|error| Refused::new(&error, ""))?;
        let now_us = self.access.now_us();
        if when.is_over(now_us) {
            return Err(Refused::new("the window lies in the past", "name a time to come, such as now+2h"));
        }
        let id = self.next_id().await?;
        let window = Window { id, scope, when, by, why, made_us: now_us };
        let draft = entry(&window.scope, Kind::MaintenanceAdded, &window.by)
            .with("window", id.to_string())
            .with("when", json(&window.when)?)
            .with("why", window.why.as_str());
        self.keep(window_name(id), Some(json(&window)?), draft).await?;
        Ok(Answer::Line(id.to_string()))
    }

    pub(super) async fn windows(&self) -> Result<Answer, Refused> {
        let (quiet, now_us) = (quiet(&*self.control).await?, self.access.now_us());
        Ok(Answer::Windows(quiet.windows.into_iter().filter(|it| !it.when.is_over(now_us)).collect()))
    }

    pub(super) async fn end_window(&self, id: u64) -> Result<Answer, Refused> {
        let found = quiet(&*self.control).await?.windows.into_iter().find(|it| it.id == id);
        let found = found.ok_or_else(|| missing("window", &id))?;
        let draft = entry(&found.scope, Kind::MaintenanceEnded, &found.by).with("window", id.to_string());
        self.keep(window_name(id), None, draft).await
    }

    async fn next_id(&self) -> Result<u64, Refused> {
        let quiet = quiet(&*self.control).await?;
        if quiet.mutes.len() + quiet.windows.len() >= MAX_QUIET {
            let what = format!("there are {MAX_QUIET} mutes and windows already");
            return Err(Refused::new(&what, "end some of them: `alert unmute`, `maintenance end`"));
        }
        Ok(quiet.next_id())
    }

    async fn keep(&self, name: String, body: Option<String>, draft: Draft) -> Result<Answer, Refused> {
        self.control.keep_alerting(vec![(name, body)], vec![draft], self.access.now_us()).await?;
        Ok(Answer::Done)
    }
}

/// In the log of the firm, or of the complex where it is about more than one.
fn entry(scope: &Scope, kind: Kind, by: &str) -> Draft {
    let chain = match scope {
        Scope::All => Chain::Complex,
        Scope::Firm(firm) => Chain::Firm(firm.clone()),
        Scope::Gateway(gateway) | Scope::Device(gateway, _) => Chain::Firm(gateway.firm()),
    };
    Draft::new(chain, kind, super::ACTOR).with("scope", scope.to_string()).with("by", by)
}

fn said(by: &str, why: &str) -> Result<(), Refused> {
    named(by)?;
    named(why)
}

fn json(it: &impl Serialize) -> Result<String, Refused> {
    serde_json::to_string(it).map_err(|error| Refused::from(ControlError::Engine(error.into())))
}
