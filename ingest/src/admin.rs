//! What the command line can do to the service: one enum of commands, one function
//! that carries them out, and the Unix socket that brings them to a running `serve`.
//!
//! It promises that a command does the same whether the service runs or not, but for
//! those that only a running one can answer. Whoever may open the socket (mode 0600) or
//! the data directory is the operator of the host.

pub mod alerts;
pub mod dead_letters;
pub mod export;
mod gateways;
mod refused;
mod rules;
pub mod socket;
pub mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use sandan_proto::id::{AssetId, FirmId, GatewayId, GroupId, MetricId};
use sandan_proto::v1::goodbye::Reason;
use serde::{Deserialize, Serialize};

pub use self::refused::Refused;
use self::refused::behind;
use crate::access::{Access, Deed};
use crate::alert::Courier;
use crate::audit::seal::{Proof, PublicKey};
use crate::audit::{Chain, Draft, Entry, Head, Kind, Verifier};
use crate::auth::{Secret, Sessions, TokenKind};
use crate::ca::{Authority, AuthorityEntry};
use crate::consent::{
    AccessWindow, AllianceRule, Consent, EventWindow, Group, GroupKind, Layer, Role, SharedForm, TermFault, Terms,
    has_hidden,
};
use crate::fleet::{Board, Condition, View};
use crate::id::{ConsentId, MemberId, OperatorId, PersonId};
use crate::notary::Notary;
use crate::session;
use crate::store::control::{
    Change, Control, ControlError, Firm, GatewayEntry, MemberEntry, OperatorEntry, RunEntry, SharingChange,
};
use crate::store::{BackupOrder, Holdings, Manifest, Pass, Readings};
use crate::time::rfc3339;
use crate::witness::Witness;

/// How the audit log names whoever has a shell on this host.
const ACTOR: &str = "command line";
/// Entries read at once while a chain is checked or exported.
const AUDIT_PAGE: usize = 1_000;
/// Bytes that a backup copies in a second at most unless it is said otherwise: half of what the slowest disk worth
/// running on does (128 MB/s), so that commits and reads keep theirs.
pub(crate) const BACKUP_RATE: u64 = 64 << 20;
/// Longest name of a firm, member or operator, in characters.
const MAX_NAME_CHARS: usize = 100;

/// One command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Command {
    FirmAdd(Firm),
    FirmList,
    GatewayInvite { id: GatewayId, life_us: i64, replace: bool },
    GatewayList,
    Fleet,
    GatewayRelease { id: GatewayId },
    GatewayRevoke { id: GatewayId },
    MemberAdd { firm: FirmId, name: String, role: Role, until_us: Option<i64> },
    MemberList,
    MemberRevoke { id: MemberId },
    OperatorAdd { name: String, role: Role },
    GroupAdd { id: GroupId, kind: GroupKind, coordinator: FirmId, firms: BTreeSet<FirmId> },
    GroupList,
    AllianceRule { rule: Option<Box<AllianceRule>> },
    FirmRule { firm: FirmId, rule: Option<Layer> },
    FirmClose { firm: FirmId },
    RunPut { firm: FirmId, run: RunEntry },
    RunImport { firm: FirmId, text: String },
    RunList { firm: FirmId },
    OperatorList,
    OperatorRevoke { id: OperatorId },
    OperatorLink { id: Option<OperatorId> },
    MemberLink { id: MemberId },
    OfficerLink { firm: FirmId, life_us: i64 },
    CaList,
    CaRotate,
    CaRetire { number: u32, force: bool },
    ConsentGrant(Grant),
    ConsentList,
    ConsentShow { id: ConsentId },
    ConsentConfirm { id: ConsentId },
    ConsentRevoke { id: ConsentId },
    AuditPage { chain: Chain, after: u64 },
    AuditVerify { chain: Chain },
    AuditHead { chain: Chain },
    AuditKeys,
    DeadLetterList(dead_letters::Chosen),
    DeadLetterRetry(dead_letters::Chosen),
    DeadLetterDiscard(dead_letters::Chosen),
    Backup(WantedBackup),
    Retention { firm: Option<FirmId>, pass: Pass },
    FirmHoldings { firm: FirmId },
    FirmErase { firm: FirmId },
    FirmExport(export::WantedExport),
    AlertList,
    AlertMute(alerts::WantedMute),
    AlertUnmute { id: u64 },
    AlertTest { receiver: Option<String> },
    MaintenanceAdd(alerts::WantedWindow),
    MaintenanceList,
    MaintenanceEnd { id: u64 },
}

impl Command {
    /// Whether it runs over all that is stored, and ends when nobody waits for it any more.
    pub(crate) fn is_long(&self) -> bool {
        matches!(self, Self::Backup(_) | Self::Retention { .. } | Self::FirmErase { .. } | Self::FirmExport(_))
    }

    /// Whether it takes something back that must not return with a restore.
    fn withdraws(&self) -> bool {
        use Command::{ConsentRevoke, FirmErase, GatewayRevoke, MemberRevoke, OperatorRevoke};
        matches!(
            self,
            ConsentRevoke { .. }
                | GatewayRevoke { .. }
                | MemberRevoke { .. }
                | OperatorRevoke { .. }
                | FirmErase { .. }
        )
    }
}

/// A backup as it is asked for. The service may have another working directory: its paths are whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedBackup {
    /// The directory to make.
    pub to: PathBuf,
    /// Whether the authority's keys go with it.
    pub with_keys: bool,
    /// An earlier one to share with.
    pub since: Option<PathBuf>,
    /// Most bytes in a second, where that is said.
    pub bytes_per_second: Option<u64>,
}

/// A consent to be granted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Grant {
    pub grantor: FirmId,
    pub grantee: FirmId,
    pub assets: BTreeSet<AssetId>,
    pub metrics: BTreeSet<MetricId>,
    pub form: SharedForm,
    pub event: EventWindow,
    /// None: now.
    pub not_before_us: Option<i64>,
    pub until_us: i64,
}

/// An invitation that was just made. Its line holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Invited {
    pub gateway: GatewayId,
    pub invitation: String,
    pub expires_us: i64,
}

/// A gateway in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayLine {
    /// What is known of it.
    #[serde(flatten)]
    pub entry: GatewayEntry,
    /// `revoked`, `fenced`, `enrolled`, `expired`, `invited` or `to be invited`.
    pub state: String,
    /// Whether a spool of it was refused, and none let in since.
    pub fenced: bool,
}

/// The fleet at a moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FleetNow {
    /// When, µs since 1970.
    pub now_us: i64,
    /// What is wrong with the ingest itself.
    pub own: Vec<Condition>,
    /// Every gateway, what is worst first.
    pub views: Vec<View>,
}

impl FleetNow {
    /// At how many places somebody has to do something: gateways, and the ingest.
    pub fn wrong(&self) -> usize {
        self.own.len() + self.views.iter().filter(|view| view.needs_attention()).count()
    }
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Answer {
    Done,
    /// A token, link or id: it stands alone on standard output, and a token is never shown again.
    Line(String),
    /// Its id stands alone on standard output, the notes on standard error.
    Granted {
        id: ConsentId,
        notes: Vec<String>,
    },
    Firms(Vec<Firm>),
    Gateways(Vec<GatewayLine>),
    Fleet(Box<FleetNow>),
    Members(Vec<MemberEntry>),
    Operators(Vec<OperatorEntry>),
    Groups(BTreeMap<GroupId, Group>),
    Runs(Vec<RunEntry>),
    Invited(Invited),
    Authorities(Vec<AuthorityEntry>),
    Consents(Vec<Consent>),
    Consent(Box<Consent>),
    /// Empty at the end of the log.
    Audit(Vec<Entry>),
    AuditHolds(Head),
    AuditProof(Box<Proof>),
    AuditKeys(Vec<PublicKey>),
    /// Empty at the end of the list.
    DeadLetters(Vec<dead_letters::Line>),
    DeadLettersHandled(dead_letters::Outcome),
    BackedUp(Box<Manifest>),
    Retention(Vec<upkeep::RetentionLine>),
    Holdings(Holdings),
    Exported(Box<export::Exported>),
    Alerts(alerts::Alerts),
    Windows(Vec<crate::alert::Window>),
    Tried(Vec<alerts::Tried>),
}

/// What only a running service has.
pub struct Running {
    /// Browsers.
    pub sessions: Sessions,
    /// What a browser has to call, without a slash at the end; none where that is not known.
    pub console_url: Option<String>,
}

/// What invitations are made of.
pub struct Inviting {
    /// Signs, and is named in each.
    pub ca: Arc<Authority>,
    /// Host and port that a gateway has to call; none where that is not known.
    pub address: Option<(String, u16)>,
}

/// Carries commands out.
pub struct Admin {
    /// Consents change through it, under its lock.
    pub access: Arc<Access>,
    /// Lets gateways in.
    pub inviting: Inviting,
    /// Everything else of the control data.
    pub control: Arc<dyn Control>,
    /// What the console shows.
    pub fleet: Arc<Board>,
    /// Lets fenced gateways in again.
    pub readings: Arc<dyn Readings>,
    /// Sessions of gateways; none of them while the service does not run.
    pub links: Arc<session::Sessions>,
    /// Holds what is withdrawn, where one is configured.
    pub witness: Option<Arc<Witness>>,
    /// Signs where the log stands.
    pub notary: Arc<Notary>,
    /// Ways to people.
    pub courier: Arc<Courier>,
    /// Name of the installation.
    pub complex: String,
    /// None while the service does not run.
    pub running: Option<Running>,
}

impl Admin {
    /// Carries one command out. A withdrawal is done, and fails all the same, when the
    /// witness does not have it.
    pub async fn execute(&self, command: Command) -> Result<Answer, Refused> {
        let withdraws = command.withdraws();
        let answer = self.carry_out(command).await?;
        match &self.witness {
            Some(witness) if withdraws => witness.write().await.map_err(|error| behind(&error)).map(|()| answer),
            _ => Ok(answer),
        }
    }

    async fn carry_out(&self, command: Command) -> Result<Answer, Refused> {
        match command {
            Command::FirmAdd(firm) => {
                named(&firm.name_ko)?;
                named(&firm.name_en)?;
                self.apply(Change::AddFirm(firm)).await
            }
            Command::FirmList => Ok(Answer::Firms(self.control.firms().await?)),
            Command::GatewayInvite { id, life_us, replace } => self.invite(id, life_us, replace).await,
            Command::GatewayList => {
                let fenced: BTreeSet<_> = self.readings.fenced().await?.into_iter().map(|(id, _)| id).collect();
                let now_us = self.access.now_us();
                let line = |entry: GatewayEntry| {
                    let fenced = fenced.contains(&entry.id);
                    GatewayLine { state: gateways::state(&entry, fenced, now_us).to_owned(), fenced, entry }
                };
                Ok(Answer::Gateways(self.control.gateways().await?.into_iter().map(line).collect()))
            }
            Command::Fleet => {
                if self.running.is_none() {
                    let hint = "start `sandan-ingest serve` first";
                    return Err(Refused::new("how gateways are is known to a running service alone", hint));
                }
                let (views, now_us) = self.fleet.views();
                Ok(Answer::Fleet(Box::new(FleetNow { now_us, own: self.fleet.own_conditions(), views })))
            }
            Command::CaList => Ok(Answer::Authorities(self.inviting.ca.list())),
            Command::CaRotate => self.rotate().await,
            Command::CaRetire { number, force } => self.retire(number, force).await,
            Command::GatewayRelease { id } => self.release(id).await,
            Command::GatewayRevoke { id } => {
                self.apply(Change::RevokeGateway(id.clone())).await?;
                self.links.end(&id, Reason::Revoked);
                self.fleet.forget(&id);
                Ok(Answer::Done)
            }
            Command::MemberAdd { firm, name, role, until_us } => {
                named(&name)?;
                let token = Secret::mint(TokenKind::Member)?;
                self.apply(Change::AddMember {
                    id: MemberId::random(),
                    firm,
                    name,
                    role,
                    until_us,
                    token: token.hash(),
                })
                .await?;
                Ok(Answer::Line(token.reveal()))
            }
            Command::MemberList => Ok(Answer::Members(self.control.members().await?)),
            Command::MemberRevoke { id } => {
                let member = self.control.members().await?.into_iter().find(|member| member.id == id);
                let member = member.ok_or_else(|| missing("member", &id))?;
                self.apply(Change::RevokeMember { id, firm: member.firm }).await
            }
            Command::OperatorAdd { name, role } => {
                named(&name)?;
                let token = Secret::mint(TokenKind::Operator)?;
                self.apply(Change::AddOperator { id: OperatorId::random(), name, role, token: token.hash() }).await?;
                Ok(Answer::Line(token.reveal()))
            }
            Command::OfficerLink { firm, life_us } => self.officer_link(firm, life_us).await,
            Command::GroupAdd { id, kind, coordinator, firms } => self.add_group(id, kind, coordinator, firms).await,
            Command::GroupList => Ok(Answer::Groups(self.control.groups().await?)),
            Command::AllianceRule { rule } => self.alliance_rule(rule).await,
            Command::FirmRule { firm, rule } => self.firm_rule(firm, rule).await,
            Command::FirmClose { firm } => self.apply(SharingChange::CloseFirm(firm).into()).await,
            Command::RunPut { firm, run } => self.put_run(firm, run).await,
            Command::RunImport { firm, text } => self.import_runs(firm, &text).await,
            Command::RunList { firm } => self.runs(&firm).await,
            Command::OperatorList => Ok(Answer::Operators(self.control.operators().await?)),
            Command::OperatorRevoke { id } => {
                // Whoever is revoked is signed in nowhere from then on.
                self.apply(Change::RevokeOperator(id)).await
            }
            Command::OperatorLink { id } => {
                if let Some(id) = id {
                    let all = self.control.operators().await?;
                    let known = all.iter().any(|it| it.id == id && it.revoked_us.is_none());
                    known.then_some(()).ok_or_else(|| missing("operator", &id))?;
                }
                self.console_link(id.map(PersonId::from)).await
            }
            Command::MemberLink { id } => {
                let all = self.control.members().await?;
                let known = all.iter().any(|it| it.id == id && it.revoked_us.is_none());
                known.then_some(()).ok_or_else(|| missing("member", &id))?;
                self.console_link(Some(id.into())).await
            }
            Command::ConsentGrant(grant) => self.grant(grant).await,
            Command::ConsentList => Ok(Answer::Consents(self.control.consents().await?)),
            Command::ConsentShow { id } => Ok(Answer::Consent(Box::new(self.consent(id).await?))),
            Command::ConsentConfirm { id } => {
                let Consent { grantor, grantee, .. } = self.consent(id).await?;
                self.apply(Change::Confirm { id, grantor, grantee }).await
            }
            Command::ConsentRevoke { id } => {
                let Consent { grantor, grantee, .. } = self.consent(id).await?;
                self.apply(Change::Revoke { id, grantor, grantee }).await
            }
            Command::AuditPage { chain, after } => {
                if self.control.audit_head(&chain).await? == Head::EMPTY {
                    return Err(missing("audit log of", &chain));
                }
                Ok(Answer::Audit(self.access.log(&chain, ACTOR, after, AUDIT_PAGE).await?))
            }
            Command::AuditVerify { chain } => self.verify(chain).await,
            Command::AuditHead { chain } => {
                let proof = self.notary.proof(&*self.control, &chain, self.access.now_us()).await?;
                Ok(Answer::AuditProof(Box::new(proof.ok_or_else(|| missing("audit log of", &chain))?)))
            }
            Command::AuditKeys => Ok(Answer::AuditKeys(self.notary.keys().to_vec())),
            Command::DeadLetterList(chosen) => self.dead_letters(&chosen).await,
            Command::DeadLetterRetry(chosen) => self.handle_dead(&chosen, Deed::Retry).await,
            Command::DeadLetterDiscard(chosen) => self.handle_dead(&chosen, Deed::Discard).await,
            Command::Backup(wanted) => self.back_up(wanted).await,
            Command::FirmHoldings { firm } => {
                self.known(&firm).await?;
                Ok(Answer::Holdings(self.readings.holdings(&firm).await?))
            }
            Command::FirmErase { firm } => self.erase(firm).await,
            Command::FirmExport(wanted) => self.export(wanted).await,
            Command::AlertList => self.alerts().await,
            Command::AlertMute(wanted) => self.mute(wanted).await,
            Command::AlertUnmute { id } => self.unmute(id).await,
            Command::AlertTest { receiver } => self.try_receivers(receiver.as_deref()).await,
            Command::MaintenanceAdd(wanted) => self.add_window(wanted).await,
            Command::MaintenanceList => self.windows().await,
            Command::MaintenanceEnd { id } => self.end_window(id).await,
            Command::Retention { firm, pass } => self.retention(firm, pass).await,
        }
    }

    async fn apply(&self, change: Change) -> Result<Answer, Refused> {
        self.access.apply(change, ACTOR).await?;
        Ok(Answer::Done)
    }

    /// An address that signs one browser in, once: as a person, or as whoever has a shell on this host.
    async fn console_link(&self, person: Option<PersonId>) -> Result<Answer, Refused> {
        let Some(running) = &self.running else {
            return Err(Refused::new("a link is of a running service", "start `sandan-ingest serve` first"));
        };
        let Some(console_url) = &running.console_url else {
            let hint = "set `public_url` in [http], such as \"https://sandan.example\"";
            return Err(Refused::new("it is not known what a browser has to call", hint));
        };
        let opened = running.sessions.open_link(person, self.access.now_us()).await;
        let link = opened.map_err(|error| Refused::new(&error, "`check` looks at the store"))?.reveal();
        // Nobody has the link yet: without an entry there is none.
        let draft = Draft::new(Chain::Complex, Kind::LinkMade, ACTOR);
        let draft = person.iter().fold(draft, |draft, it| draft.with("person", it.to_string()));
        self.control.append(draft, self.access.now_us()).await?;
        Ok(Answer::Line(format!("{console_url}/sign-in?link={link}")))
    }

    async fn consent(&self, id: ConsentId) -> Result<Consent, Refused> {
        let found = self.control.consents().await?.into_iter().find(|consent| consent.id == id);
        found.ok_or_else(|| missing("consent", &id))
    }

    async fn grant(&self, grant: Grant) -> Result<Answer, Refused> {
        let not_before_us = grant.not_before_us.unwrap_or_else(|| self.access.now_us());
        let terms = Terms {
            assets: grant.assets,
            metrics: grant.metrics,
            form: grant.form,
            event: grant.event,
            access: AccessWindow { not_before_us, until_us: grant.until_us },
            agreed: None,
        };
        if grant.until_us <= self.access.now_us() {
            let what = format!("`until` lies in the past: {}", rfc3339(grant.until_us));
            return Err(Refused::new(&what, "name a time to come, such as now+30d"));
        }
        let faults = terms.faults(&grant.grantor, &grant.grantee);
        if !faults.is_empty() {
            let empty =
                |fault: &TermFault| matches!(fault, TermFault::NoAsset | TermFault::NoMetric | TermFault::NoFunction);
            let hint = if faults.iter().any(empty) { "an empty term means no, so it cannot be granted" } else { "" };
            let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
            return Err(Refused::new(&faults.join("; "), hint));
        }
        let id = ConsentId::random();
        let (grantor, named) = (grant.grantor.clone(), terms.clone());
        self.apply(Change::Grant { id, grantor: grant.grantor, grantee: grant.grantee, terms }).await?;
        Ok(Answer::Granted { id, notes: self.unheard_of(&grantor, &named).await })
    }

    /// What a consent names and the grantor has no series of: not yet, or misspelt.
    async fn unheard_of(&self, grantor: &FirmId, terms: &Terms) -> Vec<String> {
        let series = match self.readings.series(grantor).await {
            Ok(series) => series,
            Err(error) => {
                // It is granted all the same.
                tracing::warn!(%error, "whether what a consent names is there could not be looked up");
                return Vec::new();
            }
        };
        let assets = terms.assets.iter().filter(|asset| !series.iter().any(|it| it.key.asset == **asset));
        let metrics = terms.metrics.iter().filter(|metric| !series.iter().any(|it| it.key.metric == **metric));
        let note = |what, name: &dyn std::fmt::Display| format!("{grantor} has no series of {what} `{name}` yet");
        assets.map(|it| note("asset", it)).chain(metrics.map(|it| note("metric", it))).collect()
    }

    async fn back_up(&self, wanted: WantedBackup) -> Result<Answer, Refused> {
        let WantedBackup { to, with_keys, since, bytes_per_second } = wanted;
        let (complex, bytes_per_second) = (self.complex.clone(), bytes_per_second.unwrap_or(BACKUP_RATE));
        let order = BackupOrder { to: to.clone(), complex, with_keys, since, bytes_per_second };
        let manifest = self.readings.back_up(order).await?;
        let bytes = i64::try_from(manifest.bytes()).unwrap_or(i64::MAX);
        let entry = Draft::new(Chain::Complex, Kind::BackedUp, ACTOR)
            .with("to", to.display().to_string())
            .with("bytes", bytes)
            .with("keys", if with_keys { "with them" } else { "without them" });
        self.control.append(entry, self.access.now_us()).await?;
        Ok(Answer::BackedUp(Box::new(manifest)))
    }

    async fn verify(&self, chain: Chain) -> Result<Answer, Refused> {
        // The head first: entries that come while the chain is read lie behind it.
        let head = self.control.audit_head(&chain).await?;
        if head == Head::EMPTY {
            return Err(missing("audit log of", &chain));
        }
        let mut verifier = Verifier::new(chain.clone());
        let mut after = 0;
        while after < head.number {
            let page = self.control.audit(&chain, after, AUDIT_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.number;
            for entry in page.iter().filter(|entry| entry.number <= head.number) {
                verifier.take(entry)?;
            }
        }
        Ok(Answer::AuditHolds(verifier.finish(&head)?))
    }
}

fn missing(kind: &'static str, id: &impl ToString) -> Refused {
    Refused::from(ControlError::Missing { kind, id: id.to_string() })
}

fn named(name: &str) -> Result<(), Refused> {
    let length = name.trim().chars().count();
    // Names stand on the pages that people sign.
    if length == 0 || length > MAX_NAME_CHARS || name.chars().any(char::is_control) || has_hidden(name) {
        let what = format!("a name has 1 to {MAX_NAME_CHARS} printable characters, and none that cannot be seen");
        return Err(Refused::new(&what, ""));
    }
    Ok(())
}
