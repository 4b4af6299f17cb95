//! The loop: looks at the fleet, moves alerts on, and has messages sent.
//!
//! Of several processes on one database one does it at a time, whichever holds the lease; the others write
//! down what they see. What is told is kept with the message in one transaction, and taken away once it was
//! handed on: a kill in between sends it again, under the same id, and loses none. While the database is
//! away, which is an alert too, it is told from memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::engine::{Engine, Saved};
use super::found::{Found, joined, of_model, of_views};
use super::kind::{Condition, Kind, Level, Subject};
use super::message::{Known, Message, Writer};
use super::queue::Queue;
use super::quiet::Quiet;
use super::receiver::{Receiver, Settings, Way};
use super::webhook::SendError;
use super::{mail, webhook};
use crate::fleet::Board;
use crate::metrics::Metrics;
use crate::store::control::{Control, ControlError};
use crate::time::{Clock, MINUTE_US, SECOND_US};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// How often a process that does not tell writes down what it sees.
const SEEN_EVERY_US: i64 = 10 * SECOND_US;
/// What a process saw longer ago than this counts no more.
const SEEN_FOR_US: i64 = MINUTE_US;
/// The database may be slow for so long before that is trouble of its own.
const PATIENCE: Duration = Duration::from_secs(10);

/// Names of what is remembered begin with these.
const STATE: &str = "state/";
const NOTICE: &str = "notice/";
const BOARD: &str = "board/";
const MUTE: &str = "quiet/mute/";
const WINDOW: &str = "quiet/window/";

/// Hands messages on.
pub struct Courier {
    settings: Settings,
    complex: String,
    now: Clock,
}

impl Courier {
    /// By the ways that are configured.
    pub fn new(settings: Settings, complex: String, now: Clock) -> Self {
        Self { settings, complex, now }
    }

    /// What is configured.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    async fn send(&self, to: &Receiver, message: &Message) -> Result<(), SendError> {
        let Settings { allowed, ca_file, relay, .. } = &self.settings;
        match &to.way {
            Way::Webhook { url, secret_file } => {
                webhook::send(url, secret_file, message, allowed, ca_file.as_deref(), (self.now)()).await
            }
            Way::Mail(people) => match relay {
                Some(relay) => mail::send(relay, people, message, ca_file.as_deref()).await,
                None => Err(SendError::Mail("no mail server is configured: [alerts.mail]".to_owned())),
            },
        }
    }

    /// Tries the way to a receiver, or to all: how it went for each.
    pub async fn try_out(&self, only: Option<&str>) -> Vec<(String, Result<(), SendError>)> {
        let known = Known::default();
        let writer = Writer { complex: &self.complex, settings: &self.settings, known: &known, now_us: (self.now)() };
        let mut tried = Vec::new();
        for to in self.settings.receivers.iter().filter(|it| only.is_none_or(|only| it.name == only)) {
            let message = writer.trial(&format!("test-{}", writer.now_us), to);
            tried.push((to.name.clone(), self.send(to, &message).await));
        }
        tried
    }
}

/// A message's number and receiver, and how it went; none: there is no such receiver any more.
type Sent = (u64, String, Option<Result<(), SendError>>);

/// What the loop needs of the rest.
pub struct Keeper {
    /// Ways to people.
    pub courier: Arc<Courier>,
    /// What is connected.
    pub board: Arc<Board>,
    /// Remembers.
    pub control: Arc<dyn Control>,
    /// What is wrong with the service itself.
    pub metrics: Arc<Metrics>,
    /// Whether it is this process that tells.
    pub has_turn: Box<dyn Fn() -> bool + Send + Sync>,
    /// The time.
    pub now: Clock,
}

/// What is in memory while it is this process's turn.
struct Turn {
    engine: Engine,
    queue: Queue,
    quiet: Quiet,
    /// To be kept, by name.
    unkept: BTreeMap<String, Option<String>>,
    /// Since when the database does not answer, µs since 1970.
    away_us: Option<i64>,
    known: Known,
    /// What was seen last by the others.
    others: Vec<Found>,
}

impl Keeper {
    /// Goes on until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let keeper = Arc::new(self);
        let mut turn: Option<Turn> = None;
        let mut sending: JoinSet<Sent> = JoinSet::new();
        let process = uuid::Uuid::new_v4().to_string();
        let mut told_seen_us = 0;
        while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            if !(keeper.has_turn)() {
                // What is under way ends by itself; another process goes on with what was kept.
                turn = None;
                keeper.write_down(&process, &mut told_seen_us).await;
                continue;
            }
            if turn.is_none() {
                turn = keeper.begin(&process).await;
            }
            let Some(turn) = &mut turn else { continue };
            while let Some(Ok((number, to, sent))) = sending.try_join_next() {
                keeper.settle(turn, number, &to, sent);
            }
            keeper.look(turn).await;
            for (number, message) in turn.queue.due((keeper.now)()) {
                let keeper = keeper.clone();
                sending.spawn(async move {
                    let receivers = &keeper.courier.settings.receivers;
                    let sent = match receivers.iter().find(|it| it.name == message.receiver) {
                        Some(to) => Some(keeper.courier.send(to, &message).await),
                        None => None,
                    };
                    (number, message.receiver, sent)
                });
            }
        }
    }

    /// What was kept when it was last anybody's turn; none while it cannot be read.
    async fn begin(&self, process: &str) -> Option<Turn> {
        let read = async || -> Result<Turn, ControlError> {
            let state = self.control.alerting(STATE).await?;
            let notices = self.control.alerting(NOTICE).await?;
            let saved = state.iter().filter_map(|(name, body)| parsed::<Saved>(name, body));
            let now_us = (self.now)();
            let queued = notices.iter().filter_map(|(name, body)| {
                let number = name.strip_prefix(NOTICE)?.parse().ok()?;
                parsed::<Message>(name, body).map(|message| (number, now_us, message))
            });
            Ok(Turn {
                engine: Engine::restore(saved),
                queue: Queue::restore(queued),
                quiet: Quiet::default(),
                // What this process saw while it was another's turn.
                unkept: [(format!("{BOARD}{process}"), None)].into(),
                away_us: None,
                known: Known::default(),
                others: Vec::new(),
            })
        };
        match read().await {
            Ok(turn) => {
                tracing::info!("alerts are told by this process");
                Some(turn)
            }
            Err(error) => {
                tracing::debug!(%error, "what is remembered of alerts cannot be read yet");
                None
            }
        }
    }

    /// One look: conditions in, messages into the queue, and what changed kept.
    async fn look(&self, turn: &mut Turn) {
        let now_us = (self.now)();
        match tokio::time::timeout(PATIENCE, self.refresh(turn)).await {
            Ok(Ok(())) => turn.away_us = None,
            Ok(Err(error)) => {
                tracing::debug!(%error, "the store does not answer while alerts are looked after");
                turn.away_us.get_or_insert(now_us);
            }
            Err(_) => drop(turn.away_us.get_or_insert(now_us)),
        }
        let (views, _) = self.board.views();
        let mut conditions = joined(of_views(&views, now_us), turn.others.clone());
        conditions.extend(self.own(turn.away_us, now_us));
        conditions.extend(self.board.own_conditions().iter().filter_map(of_model));
        let settings = &self.courier.settings;
        let notices = turn.engine.look(&conditions, &turn.quiet, &settings.timing, now_us);
        for (key, saved) in turn.engine.changes() {
            let body = saved.and_then(|saved| serde_json::to_string(&saved).ok());
            turn.unkept.insert(format!("{STATE}{key}"), body);
        }
        if !notices.is_empty() {
            let writer = Writer { complex: &self.courier.complex, settings, known: &turn.known, now_us };
            let id = now_us.to_string();
            for to in &settings.receivers {
                let Some(message) = writer.message(&id, &notices, to) else { continue };
                tracing::info!(receiver = to.name, alerts = message.alerts.len(), "an alert is told");
                let body = serde_json::to_string(&message).ok();
                let (number, gone) = turn.queue.push(message, now_us);
                turn.unkept.insert(notice_name(number), body);
                for number in gone {
                    tracing::error!(receiver = to.name, "too many messages wait: the oldest is given up");
                    turn.unkept.insert(notice_name(number), None);
                }
            }
        }
        self.keep(turn).await;
        let waiting = i64::try_from(turn.queue.len()).unwrap_or(i64::MAX);
        self.metrics.alert_messages_waiting.set(waiting);
        let firing = turn.engine.shown().iter().filter(|it| it.is_firing).count();
        self.metrics.alerts_firing.set(i64::try_from(firing).unwrap_or(i64::MAX));
    }

    /// Reads what others may have changed.
    async fn refresh(&self, turn: &mut Turn) -> Result<(), ControlError> {
        let now_us = (self.now)();
        turn.quiet = quiet(&*self.control).await?;
        let (mutes, windows) = turn.quiet.forget(now_us);
        turn.unkept.extend(mutes.into_iter().map(|id| (mute_name(id), None)));
        turn.unkept.extend(windows.into_iter().map(|id| (window_name(id), None)));
        let seen = self.control.alerting(BOARD).await?;
        turn.others.clear();
        for (name, body) in seen {
            match parsed::<Found>(&name, &body) {
                Some(found) if (now_us - found.at_us).abs() < SEEN_FOR_US => turn.others.push(found),
                // Of a process that is gone.
                _ => drop(turn.unkept.insert(name, None)),
            }
        }
        let firms = self.control.firms().await?;
        turn.known.names = firms.into_iter().map(|it| (it.id, (it.name_ko, it.name_en))).collect();
        turn.known.calls = self.courier.settings.calls.clone();
        Ok(())
    }

    /// What is wrong with the service itself.
    fn own(&self, away_us: Option<i64>, now_us: i64) -> Vec<Condition> {
        let service = |kind, level, since_us| {
            let subject = Subject::Service;
            Condition { kind, level, subject, since_us, number: None, is_hidden: false }
        };
        let mut own = Vec::new();
        let is_short = self.metrics.disk_short.get() != 0;
        if let Some(since_us) = away_us.or(is_short.then_some(now_us)) {
            own.push(service(Kind::NotStoring, Level::Critical, since_us));
        }
        if self.metrics.witness_behind.get() != 0 {
            own.push(service(Kind::WitnessBehind, Level::Warn, now_us));
        }
        own
    }

    /// A message was handed on, or not; none: its receiver is not configured any more.
    fn settle(&self, turn: &mut Turn, number: u64, to: &str, sent: Option<Result<(), SendError>>) {
        let is_done = match sent {
            Some(Ok(())) => {
                self.metrics.alert_messages_sent.inc();
                turn.queue.done(number);
                true
            }
            Some(Err(error)) => {
                self.metrics.alert_message_failures.inc();
                let (tries, is_old) = turn.queue.failed(number, (self.now)());
                if is_old {
                    tracing::error!(receiver = to, %error, "a message is given up: it could not be handed on for days");
                } else if tries == 1 {
                    tracing::warn!(receiver = to, %error, "a message could not be handed on; it is tried again");
                } else {
                    tracing::debug!(receiver = to, tries, %error, "a message could not be handed on");
                }
                is_old
            }
            None => {
                tracing::warn!(receiver = to, "a message for a receiver that is configured no more is dropped");
                turn.queue.done(number);
                true
            }
        };
        if is_done {
            turn.unkept.insert(notice_name(number), None);
        }
    }

    /// Makes durable what changed; what cannot be is tried again with the next look.
    async fn keep(&self, turn: &mut Turn) {
        if turn.unkept.is_empty() {
            return;
        }
        let rows: Vec<_> = turn.unkept.clone().into_iter().collect();
        let kept = tokio::time::timeout(PATIENCE, self.control.keep_alerting(rows, Vec::new(), (self.now)())).await;
        if matches!(kept, Ok(Ok(()))) {
            turn.unkept.clear();
        }
    }

    /// What this process sees, for the one that tells.
    async fn write_down(&self, process: &str, told_us: &mut i64) {
        let now_us = (self.now)();
        if now_us - *told_us < SEEN_EVERY_US {
            return;
        }
        *told_us = now_us;
        let (views, _) = self.board.views();
        let Ok(body) = serde_json::to_string(&of_views(&views, now_us)) else { return };
        let row = vec![(format!("{BOARD}{process}"), Some(body))];
        if let Err(error) = self.control.keep_alerting(row, Vec::new(), now_us).await {
            tracing::debug!(%error, "what this process sees could not be written down");
        }
    }
}

/// In the order of numbers.
fn notice_name(number: u64) -> String {
    format!("{NOTICE}{number:020}")
}

/// What another build wrote, or nobody, is passed over.
fn parsed<T: serde::de::DeserializeOwned>(name: &str, body: &str) -> Option<T> {
    serde_json::from_str(body)
        .inspect_err(|error| tracing::warn!(name, %error, "what is remembered of an alert cannot be read"))
        .ok()
}

/// Under which name a mute is kept.
pub(crate) fn mute_name(id: u64) -> String {
    format!("{MUTE}{id:010}")
}

/// Under which name a window is kept.
pub(crate) fn window_name(id: u64) -> String {
    format!("{WINDOW}{id:010}")
}

/// Mutes and windows, as they are kept.
pub(crate) async fn quiet(control: &dyn Control) -> Result<Quiet, ControlError> {
    let (mutes, windows) = (control.alerting(MUTE).await?, control.alerting(WINDOW).await?);
    Ok(Quiet {
        mutes: mutes.iter().filter_map(|(name, body)| parsed(name, body)).collect(),
        windows: windows.iter().filter_map(|(name, body)| parsed(name, body)).collect(),
    })
}

/// Alerts that are told, or wait for the end of quiet.
pub(crate) async fn firing(control: &dyn Control) -> Result<Vec<Saved>, ControlError> {
    let rows = control.alerting(STATE).await?;
    let mut all: Vec<Saved> = rows.iter().filter_map(|(name, body)| parsed(name, body)).collect();
    all.sort_by_key(|it| (std::cmp::Reverse(it.condition.level), it.condition.since_us));
    Ok(all)
}
