//! What can be typed, and the command it means.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use sandan_proto::id::{AssetId, FirmId, GatewayId, MetricId};

use super::alerts::{AlertVerb, MaintenanceVerb};
use super::dead_letters::DeadLetterVerb;
use super::fleet::Fleet;
use super::rules::{AllianceVerb, ComplexRole, FirmRole, FirmRule, GroupVerb, OfficerVerb, RunVerb};
use super::share::Share;
use super::upkeep::{Erase, Export, Retention};
use crate::admin::{Command, Grant, WantedBackup};
use crate::audit::Chain;
use crate::audit::seal::PublicKey;
use crate::consent::{EventWindow, Function, SharedForm};
use crate::id::{ConsentId, MemberId, OperatorId};
use crate::store::control::Firm;
use crate::time::{parse_duration, parse_time};

/// Stores factory telemetry per firm and shares it under consent.
#[derive(Debug, Parser)]
#[command(name = "sandan-ingest", version, arg_required_else_help = true)]
pub(super) struct Args {
    /// The configuration, TOML.
    #[arg(long, global = true, env = "SANDAN_INGEST_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Print JSON where a table is printed.
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

// One is made per run, so its size is nobody's concern.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Take sessions and answer pulls until SIGTERM.
    Serve,
    /// Check the configuration and show what would be served.
    Check {
        /// Decode everything that is stored as well, and compare it with what is noted of it.
        #[arg(long)]
        deep: bool,
    },
    /// Companies.
    #[command(subcommand)]
    Firm(FirmVerb),
    /// Edge installations of firms.
    #[command(subcommand)]
    Gateway(GatewayVerb),
    /// The authority that signs gateways' certificates.
    #[command(subcommand)]
    Ca(CaVerb),
    /// People and programs that read for a firm.
    #[command(subcommand)]
    Member(MemberVerb),
    /// People at the console.
    #[command(subcommand)]
    Operator(OperatorVerb),
    /// Who decides for a firm what is shared of it.
    #[command(subcommand)]
    Officer(OfficerVerb),
    /// Firms that consents can be given to together.
    #[command(subcommand)]
    Group(GroupVerb),
    /// What holds over all consents.
    #[command(subcommand)]
    Alliance(AllianceVerb),
    /// Lots and charges of firms, to which consents can be bound.
    #[command(subcommand)]
    Run(RunVerb),
    /// What one firm shares with another.
    #[command(subcommand)]
    Consent(ConsentVerb),
    /// Ask for data, offer it, and decide on it, from any machine, over the service's HTTP address.
    Share(Share),
    /// Who did what, per firm.
    #[command(subcommand)]
    Audit(AuditVerb),
    /// Copy everything durable into a new directory while the service goes on.
    Backup {
        /// The directory to make; its parent has to be there.
        dir: PathBuf,
        /// The keys of the built-in certificate authority as well: whoever has them can be any gateway.
        #[arg(long)]
        with_keys: bool,
        /// An earlier backup on the same disk: files that have not changed since are shared with it.
        #[arg(long, value_name = "PREVIOUS")]
        since: Option<PathBuf>,
        /// Most MiB copied in a second; 64 unless it is said otherwise.
        #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
        rate: Option<u64>,
        /// Make none: read the one that is there, and compare every file with its manifest.
        #[arg(long, conflicts_with_all = ["with_keys", "since", "rate"])]
        verify: bool,
    },
    /// Put a backup into the empty data directory of a service that does not run.
    Restore {
        /// What `backup` made.
        dir: PathBuf,
    },
    /// Write a firm's own readings, catalogue and gaps into a new directory, as JSON lines.
    Export(Export),
    /// Delete everything of a firm but its id and its audit log; its gateways are refused from then on.
    Erase(Erase),
    /// Let go what is past its retention.
    Retention(Retention),
    /// How every gateway is, what is worst first. Exit code 1 when something is wrong.
    Fleet(Fleet),
    /// What came and could not be stored, per firm.
    #[command(subcommand)]
    DeadLetter(DeadLetterVerb),
    /// Print what a shell needs to complete commands: `source <(sandan-ingest completions bash)`.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// What is wrong, and who is told of it.
    #[command(subcommand)]
    Alert(AlertVerb),
    /// When somebody works on machines, and nobody is told of what fails meanwhile.
    #[command(subcommand)]
    Maintenance(MaintenanceVerb),
}

#[derive(Debug, Subcommand)]
pub(super) enum FirmVerb {
    /// Add a firm.
    Add {
        /// a-z, 0-9 and -.
        id: FirmId,
        /// 한빛금형
        #[arg(long, value_name = "NAME")]
        name_ko: String,
        /// Hanbit Mould
        #[arg(long, value_name = "NAME")]
        name_en: String,
    },
    /// All firms.
    List,
    /// A firm's floor under all its consents, as JSON; with a floor or an age, rule it.
    Rule(FirmRule),
    /// The firm is no more, such as by a merger: nobody reads under its consents again.
    Close {
        /// Which.
        id: FirmId,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum GatewayVerb {
    /// Invite a box to become a gateway; the invitation is printed once and never again.
    Invite {
        /// FIRM/NAME
        id: GatewayId,
        /// How long it can be used.
        #[arg(long, value_name = "DURATION", default_value = "24h")]
        expires: String,
        /// A new box takes the place of one that was enrolled or revoked.
        #[arg(long)]
        replace: bool,
    },
    /// All gateways, and how their certificates stand.
    List,
    /// Let a fenced gateway (restored or copied spool) begin a session again.
    Release {
        /// FIRM/NAME
        id: GatewayId,
    },
    /// Refuse a gateway's certificate from now on, and end its session.
    Revoke {
        /// FIRM/NAME
        id: GatewayId,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum CaVerb {
    /// All authorities that are trusted.
    List,
    /// Make a new authority, which signs from now on; the older one stays trusted.
    Rotate,
    /// End the trust in an older authority, once every gateway has renewed.
    Retire {
        /// As `list` prints it.
        number: u32,
        /// Even though some gateways know no other: each of them has to be enrolled again.
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum MemberVerb {
    /// Add a member of a firm; the token is printed once and never again.
    Add {
        /// The firm to read for.
        firm: FirmId,
        /// For people.
        #[arg(long)]
        name: String,
        /// In what capacity.
        #[arg(long, value_enum, default_value = "member")]
        role: FirmRole,
        /// The token is refused from this time on, such as now+14d; an installer needs it.
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
    },
    /// All members.
    List,
    /// Refuse a member's token from now on.
    Revoke {
        /// As `list` prints it.
        id: MemberId,
    },
    /// A console address that signs one browser of a member in, once, for 15 minutes; there they set a password.
    Link {
        /// As `list` prints it.
        id: MemberId,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum OperatorVerb {
    /// Add an operator; the token is printed once and never again.
    Add {
        /// For people.
        #[arg(long)]
        name: String,
        /// In what capacity.
        #[arg(long, value_enum, default_value = "operator")]
        role: ComplexRole,
    },
    /// All operators.
    List,
    /// Refuse an operator's token from now on, and sign them out.
    Revoke {
        /// As `list` prints it.
        id: OperatorId,
    },
    /// A console address that signs one browser in, once, for 15 minutes.
    Link {
        /// As whom, as `list` prints it: there they set a password. Without it as nobody by name.
        id: Option<OperatorId>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FormArg {
    /// Every reading.
    Raw,
    /// Statistics of buckets.
    Bucketed,
}

// One is made per run, so its size is nobody's concern.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Subcommand)]
pub(super) enum ConsentVerb {
    /// Share; the consent's id is printed.
    Grant {
        /// The firm that owns the series.
        #[arg(long, value_name = "FIRM")]
        grantor: FirmId,
        /// The firm that may read.
        #[arg(long, value_name = "FIRM")]
        grantee: FirmId,
        /// A machine; repeat for more.
        #[arg(long = "asset", required = true, value_name = "ASSET")]
        assets: Vec<AssetId>,
        /// What is measured; repeat for more.
        #[arg(long = "metric", required = true, value_name = "METRIC")]
        metrics: Vec<MetricId>,
        /// How coarse.
        #[arg(long, value_enum)]
        form: FormArg,
        /// The smallest bucket, such as 60s; buckets are whole multiples of it.
        #[arg(long, value_name = "DURATION", required_if_eq("form", "bucketed"))]
        floor: Option<String>,
        /// mean, min, max, sum, count, first, last, `time_mean`, increase or durations; repeat for more.
        #[arg(long = "function", value_name = "FUNCTION", required_if_eq("form", "bucketed"))]
        functions: Vec<Function>,
        /// First observation time that is shared.
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// Observation times before this are shared.
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
        /// Reads may happen from this time on; default now.
        #[arg(long, value_name = "TIME")]
        not_before: Option<String>,
        /// Reads may happen before this time.
        #[arg(long, value_name = "TIME")]
        until: String,
    },
    /// All consents, also revoked ones.
    List,
    /// One consent.
    Show {
        /// As `grant` printed it.
        id: ConsentId,
    },
    /// Stand by a consent that a restore suspended, in its grantor's name.
    Confirm {
        /// As `list` prints it.
        id: ConsentId,
    },
    /// Withdraw a consent for good; reads under it end at once.
    Revoke {
        /// As `grant` printed it.
        id: ConsentId,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum AuditVerb {
    /// A firm's log, one JSON line an entry; `@complex` is the log of operators.
    Export {
        /// FIRM, or @complex.
        chain: Chain,
    },
    /// Whether a log is whole and unchanged: a firm's in the store, or, with --file, --receipt
    /// or --head, what somebody has of it, without any store.
    Verify(VerifyArgs),
    /// That a firm's log ends where it does now, signed, for the firm to keep.
    Head {
        /// FIRM, or @complex.
        chain: Chain,
    },
    /// Public halves of the keys that sign receipts and heads, for whoever is to verify.
    Keys,
}

#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// FIRM, or @complex.
    #[arg(required_unless_present_any = ["file", "receipts", "heads"], conflicts_with_all = ["file", "receipts", "heads"])]
    chain: Option<Chain>,
    /// What `audit export` wrote, or `GET /v1/audit?format=ndjson` answered.
    #[arg(long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Receipts of answers, one `Sandan-Receipt` header's value a line.
    #[arg(long = "receipt", value_name = "FILE", requires = "keys")]
    pub(super) receipts: Vec<PathBuf>,
    /// What `audit head` or `GET /v1/audit/head` answered, one a line.
    #[arg(long = "head", value_name = "FILE", requires = "keys")]
    pub(super) heads: Vec<PathBuf>,
    /// A public key that is trusted to sign, from `audit keys`.
    #[arg(long = "key", value_name = "HEX")]
    pub(super) keys: Vec<PublicKey>,
}

impl Verb {
    /// What is to be verified without a store; none for everything else.
    pub(super) fn offline(&self) -> Option<&VerifyArgs> {
        match self {
            Verb::Audit(AuditVerb::Verify(args)) if args.chain.is_none() => Some(args),
            _ => None,
        }
    }

    /// The command; times are read against `now_us`. Fails with what is wrong with an argument.
    pub(super) fn command(self, now_us: i64) -> Result<Command, String> {
        Ok(match self {
            Verb::Serve
            | Verb::Check { .. }
            | Verb::Restore { .. }
            | Verb::Completions { .. }
            | Verb::Share(_)
            | Verb::Backup { verify: true, .. } => {
                return Err("this is not a command to a store".to_owned());
            }
            Verb::Firm(FirmVerb::Add { id, name_ko, name_en }) => Command::FirmAdd(Firm { id, name_ko, name_en }),
            Verb::Firm(FirmVerb::List) => Command::FirmList,
            Verb::Firm(FirmVerb::Rule(it)) => it.command()?,
            Verb::Firm(FirmVerb::Close { id }) => Command::FirmClose { firm: id },
            Verb::Officer(verb) => verb.command()?,
            Verb::Group(verb) => verb.command(),
            Verb::Alliance(verb) => verb.command()?,
            Verb::Run(verb) => verb.command(now_us)?,
            Verb::Gateway(GatewayVerb::Invite { id, expires, replace }) => {
                let life_us = parse_duration(&expires).map_err(|error| format!("--expires: {error}"))?;
                Command::GatewayInvite { id, life_us, replace }
            }
            Verb::Gateway(GatewayVerb::List) => Command::GatewayList,
            Verb::Gateway(GatewayVerb::Release { id }) => Command::GatewayRelease { id },
            Verb::Gateway(GatewayVerb::Revoke { id }) => Command::GatewayRevoke { id },
            Verb::Ca(CaVerb::List) => Command::CaList,
            Verb::Ca(CaVerb::Rotate) => Command::CaRotate,
            Verb::Ca(CaVerb::Retire { number, force }) => Command::CaRetire { number, force },
            Verb::Member(MemberVerb::Add { firm, name, role, until }) => {
                let (role, until_us) = role.until(until.as_deref(), now_us)?;
                Command::MemberAdd { firm, name, role, until_us }
            }
            Verb::Member(MemberVerb::List) => Command::MemberList,
            Verb::Member(MemberVerb::Revoke { id }) => Command::MemberRevoke { id },
            Verb::Member(MemberVerb::Link { id }) => Command::MemberLink { id },
            Verb::Operator(OperatorVerb::Add { name, role }) => Command::OperatorAdd { name, role: role.role() },
            Verb::Operator(OperatorVerb::List) => Command::OperatorList,
            Verb::Operator(OperatorVerb::Revoke { id }) => Command::OperatorRevoke { id },
            Verb::Operator(OperatorVerb::Link { id }) => Command::OperatorLink { id },
            Verb::Consent(verb) => verb.command(now_us)?,
            Verb::Backup { dir, with_keys, since, rate, verify: _ } => {
                // The running service has a working directory of its own.
                let there =
                    |dir: PathBuf| std::path::absolute(&dir).map_err(|error| format!("{}: {error}", dir.display()));
                let (to, since) = (there(dir)?, since.map(there).transpose()?);
                Command::Backup(WantedBackup { to, with_keys, since, bytes_per_second: rate.map(|mib| mib << 20) })
            }
            Verb::Audit(AuditVerb::Export { chain }) => Command::AuditPage { chain, after: 0 },
            Verb::Audit(AuditVerb::Verify(VerifyArgs { chain: Some(chain), .. })) => Command::AuditVerify { chain },
            Verb::Audit(AuditVerb::Verify(_)) => return Err("name whose log is to be verified".to_owned()),
            Verb::Audit(AuditVerb::Head { chain }) => Command::AuditHead { chain },
            Verb::Audit(AuditVerb::Keys) => Command::AuditKeys,
            Verb::Fleet(_) => Command::Fleet,
            Verb::Retention(it) => it.command(),
            Verb::Export(it) => it.command(now_us)?,
            Verb::Erase(it) => Command::FirmErase { firm: it.firm },
            Verb::DeadLetter(verb) => verb.command(),
            Verb::Alert(verb) => verb.command()?,
            Verb::Maintenance(verb) => verb.command(now_us)?,
        })
    }
}

impl ConsentVerb {
    fn command(self, now_us: i64) -> Result<Command, String> {
        let time = |name: &str, text: &str| parse_time(text, now_us).map_err(|error| format!("--{name}: {error}"));
        let maybe = |name: &str, text: Option<String>| text.map(|text| time(name, &text)).transpose();
        Ok(match self {
            ConsentVerb::List => Command::ConsentList,
            ConsentVerb::Show { id } => Command::ConsentShow { id },
            ConsentVerb::Confirm { id } => Command::ConsentConfirm { id },
            ConsentVerb::Revoke { id } => Command::ConsentRevoke { id },
            ConsentVerb::Grant {
                grantor,
                grantee,
                assets,
                metrics,
                form,
                floor,
                functions,
                from,
                to,
                not_before,
                until,
            } => {
                let form = match (form, floor) {
                    (FormArg::Raw, None) if functions.is_empty() => SharedForm::Raw,
                    (FormArg::Raw, _) => return Err("--floor and --function are of --form bucketed".to_owned()),
                    (FormArg::Bucketed, floor) => {
                        let floor = floor.unwrap_or_default();
                        let floor_us = parse_duration(&floor).map_err(|error| format!("--floor: {error}"))?;
                        SharedForm::Bucketed { floor_us, functions: functions.into_iter().collect() }
                    }
                };
                Command::ConsentGrant(Grant {
                    grantor,
                    grantee,
                    assets: assets.into_iter().collect(),
                    metrics: metrics.into_iter().collect(),
                    form,
                    event: EventWindow { from_us: maybe("from", from)?, to_us: maybe("to", to)? },
                    not_before_us: maybe("not-before", not_before)?,
                    until_us: time("until", &until)?,
                })
            }
        })
    }
}
