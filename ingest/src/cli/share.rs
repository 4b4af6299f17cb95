//! `sandan-ingest share`: what data officers and members do from their own machines, over the
//! API of a service somewhere else.

mod show;
mod terms;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{ArgGroup, Subcommand};
use sandan_proto::id::{FirmId, GroupId};
use serde_json::{Value, json};

use self::terms::TermArgs;
use super::Failure;
use crate::client::{Client, ClientError, Question, Token};
use crate::consent::{PageHash, Purpose, Terms};
use crate::id::{ConsentId, PersonId};

/// Holds a token, where no file does.
const TOKEN_VARIABLE: &str = "SANDAN_TOKEN";

/// Share and ask for data from any machine, with a token, over the service's HTTP address.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(super) struct Share {
    /// The service, such as <https://sandan.example>.
    #[arg(long, global = true, env = "SANDAN_SERVER", value_name = "URL")]
    server: Option<String>,
    /// A file that holds one's token alone; without it the token is taken from `SANDAN_TOKEN`.
    #[arg(long, global = true, env = "SANDAN_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificates (PEM) to trust instead of those of this machine.
    #[arg(long, global = true, env = "SANDAN_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    #[command(subcommand)]
    verb: ShareVerb,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Lang {
    Ko,
    En,
}

impl Lang {
    fn as_str(self) -> &'static str {
        match self {
            Lang::Ko => "ko",
            Lang::En => "en",
        }
    }
}

// One is made per run, so its size is nobody's concern.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Subcommand)]
enum ShareVerb {
    /// Consents that one's firm has a part in, newest first.
    List {
        /// Only in this state: draft, requested, countered, approved, active, suspended, …
        #[arg(long)]
        state: Option<String>,
        /// Only of this grantor; the alliance has to say of which.
        #[arg(long, value_name = "FIRM")]
        grantor: Option<FirmId>,
    },
    /// One consent, and what one may do to it now.
    Show {
        /// As `list` prints it.
        id: ConsentId,
    },
    /// The page that people read before they agree, and its hash.
    Page {
        /// As `list` prints it.
        id: ConsentId,
        /// Korean unless it is said otherwise.
        #[arg(long, value_enum, default_value = "ko")]
        lang: Lang,
        /// Print the hash alone.
        #[arg(long)]
        hash: bool,
    },
    /// Drafts for a subcontract: the written request and the terms of confidentiality.
    Papers {
        /// As `list` prints it.
        id: ConsentId,
        /// Korean unless it is said otherwise.
        #[arg(long, value_enum, default_value = "ko")]
        lang: Lang,
    },
    /// What the other side would see under it, on one's own real data; nothing is granted by it.
    DryRun {
        /// As `list` prints it.
        id: ConsentId,
        /// First observation time; a week before its end.
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// Observation times before this; now.
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
        /// What for; the first purpose of the consent.
        #[arg(long)]
        purpose: Option<Purpose>,
    },
    /// Ask for data: drafts a request, shows its page, and sends it. Its id is printed.
    #[command(group(ArgGroup::new("whom").required(true).args(["grantor", "each_of"])))]
    Request {
        /// The firm that owns the data.
        #[arg(long = "from-firm", value_name = "FIRM")]
        grantor: Option<FirmId>,
        /// Each firm of a group, of which each answers alone.
        #[arg(long = "from-group", value_name = "GROUP")]
        each_of: Option<GroupId>,
        /// For a group that one's own firm coordinates.
        #[arg(long, value_name = "GROUP", requires = "grantor")]
        for_group: Option<GroupId>,
        /// Draft it only; `send` sends it.
        #[arg(long)]
        draft: bool,
        #[command(flatten)]
        terms: TermArgs,
    },
    /// Offer one's own data: drafts an offer, shows its page, and sends it. Its id is printed.
    #[command(group(ArgGroup::new("whom").required(true).args(["grantee", "group"])))]
    Offer {
        /// The firm that may read.
        #[arg(long = "to-firm", value_name = "FIRM")]
        grantee: Option<FirmId>,
        /// The firms of a group as it is now.
        #[arg(long = "to-group", value_name = "GROUP")]
        group: Option<GroupId>,
        /// Draft it only; `send` sends it.
        #[arg(long)]
        draft: bool,
        #[command(flatten)]
        terms: TermArgs,
    },
    /// Send a draft to the other side.
    Send(Read),
    /// Take what the grantor offered or countered; an officer of it then approves.
    Accept(Read),
    /// Say yes as an officer of the grantor. Raw readings take two.
    Approve(Read),
    /// Answer with other terms: those of the proposal, but for what is said.
    Counter(Changed),
    /// Take something away at once: the terms in force, but for what is said.
    Narrow(Changed),
    /// Propose other terms while those in force go on: the same, but for what is said.
    Amend(Changed),
    /// Turn a request down.
    Reject(Simple),
    /// Take one's own request or draft back.
    Withdraw(Simple),
    /// Hold a consent: reads end at once.
    Suspend(Simple),
    /// Let a held consent go on.
    Resume(Simple),
    /// End a consent for good; reads under it end at once.
    Revoke(Simple),
    /// Give a consent up for good, as the one who reads.
    Relinquish(Simple),
    /// Say that copies are returned or deleted, once it is over.
    Attest(Simple),
    /// Groups and their firms.
    Groups,
    /// Put a firm on a group's roster, as its coordinator.
    Join {
        /// As `groups` prints it.
        group: GroupId,
        /// Which.
        firm: FirmId,
    },
    /// Take a firm off a group's roster: one's own, or any as its coordinator.
    Leave {
        /// As `groups` prints it.
        group: GroupId,
        /// Which.
        firm: FirmId,
    },
    /// The data officers of one's firm.
    Officers(OfFirm),
    /// Become the firm's first officer by a one-off link; the token is printed once.
    First {
        /// A file that holds the link's text alone.
        #[arg(long, value_name = "FILE")]
        link_file: PathBuf,
        /// For people.
        #[arg(long)]
        name: String,
    },
    /// A further officer, who waits to be confirmed; the token is printed once.
    Mint {
        /// For people.
        #[arg(long)]
        name: String,
        #[command(flatten)]
        of: OfFirm,
    },
    /// A new token for an officer, who waits again; it is printed once.
    Reset(Person),
    /// Vouch for an officer who waits.
    Confirm(Person),
    /// An officer no more.
    Remove(Person),
}

#[derive(Debug, clap::Args)]
struct OfFirm {
    /// For the alliance: of which firm.
    #[arg(long, value_name = "FIRM")]
    firm: Option<FirmId>,
}

#[derive(Debug, clap::Args)]
struct Person {
    /// As `officers` prints it.
    person: PersonId,
    #[command(flatten)]
    of: OfFirm,
}

#[derive(Debug, clap::Args)]
struct Simple {
    /// As `list` prints it.
    id: ConsentId,
    /// The revision that it was decided on; the newest unless it is said.
    #[arg(long, value_name = "NUMBER")]
    revision: Option<u64>,
}

#[derive(Debug, clap::Args)]
struct Read {
    #[command(flatten)]
    it: Simple,
    /// The hash of the page that was read, as `page` prints it.
    #[arg(long, value_name = "HASH")]
    page: PageHash,
}

#[derive(Debug, clap::Args)]
struct Changed {
    #[command(flatten)]
    it: Simple,
    #[command(flatten)]
    terms: TermArgs,
}

impl Share {
    /// Asks the service and prints what it says.
    pub(super) async fn run(self, json: bool, now_us: i64) -> Result<(), Failure> {
        let server = self
            .server
            .ok_or_else(|| Failure::Usage("name the service with --server URL or SANDAN_SERVER".to_owned()))?;
        let token = match (&self.verb, self.token_file) {
            // Who uses the link has no token yet.
            (ShareVerb::First { .. }, _) => None,
            (_, Some(file)) => Some(Token::read(&file)?),
            (_, None) => {
                let none = || Failure::Usage(format!("name one's token with --token-file FILE or {TOKEN_VARIABLE}"));
                Some(Token::new(&std::env::var(TOKEN_VARIABLE).map_err(|_| none())?, TOKEN_VARIABLE)?)
            }
        };
        let client = Client::new(&server, token, self.ca.as_deref())?;
        Session { client, json, now_us }.carry_out(self.verb).await
    }
}

/// One command's conversation with the service.
struct Session {
    client: Client,
    json: bool,
    now_us: i64,
}

impl Session {
    async fn carry_out(&self, verb: ShareVerb) -> Result<(), Failure> {
        match verb {
            ShareVerb::List { state, grantor } => {
                let of =
                    |name: &str, value: Option<String>| value.map(|it| format!("&{name}={it}")).unwrap_or_default();
                let filter =
                    of("state", state.map(|it| escaped(&it))) + &of("grantor", grantor.map(|it| it.to_string()));
                let mut all = Vec::new();
                let mut cursor = String::new();
                loop {
                    let page = self.get(format!("/v1/consents?limit=200{filter}{cursor}")).await?;
                    all.extend(page["consents"].as_array().cloned().unwrap_or_default());
                    match page["next"].as_str() {
                        Some(next) => cursor = format!("&cursor={next}"),
                        None => break,
                    }
                }
                print(|out| show::consents(out, &all, self.json))
            }
            ShareVerb::Show { id } => {
                let it = self.get(format!("/v1/consents/{id}")).await?;
                print(|out| show::consent(out, &it, self.json))
            }
            ShareVerb::Page { id, lang, hash } => {
                let it = self.get(format!("/v1/consents/{id}/page?lang={}", lang.as_str())).await?;
                print(|out| if hash { show::text(out, &it["page"]) } else { show::page(out, &it, self.json) })
            }
            ShareVerb::Papers { id, lang } => {
                let it = self.get(format!("/v1/consents/{id}/papers?lang={}", lang.as_str())).await?;
                print(|out| show::papers(out, &it, self.json))
            }
            ShareVerb::DryRun { id, from, to, purpose } => {
                let mut body = json!({});
                for (name, value) in [("from", from), ("to", to), ("purpose", purpose.map(|it| it.to_string()))] {
                    if let Some(value) = value {
                        body[name] = json!(value);
                    }
                }
                let it = self.post(format!("/v1/consents/{id}/dry-run"), body).await?;
                print(|out| show::dry_run(out, &it, self.json))
            }
            ShareVerb::Request { grantor, each_of, for_group, draft, terms } => {
                let mut body = json!({ "terms": terms.whole(self.now_us).map_err(Failure::Usage)? });
                for (name, value) in [
                    ("grantor", grantor.map(|it| it.to_string())),
                    ("grantors_of", each_of.map(|it| it.to_string())),
                    ("for_group", for_group.map(|it| it.to_string())),
                ] {
                    if let Some(value) = value {
                        body[name] = json!(value);
                    }
                }
                self.begin(body, draft).await
            }
            ShareVerb::Offer { grantee, group, draft, terms } => {
                let mut body = json!({ "terms": terms.whole(self.now_us).map_err(Failure::Usage)? });
                match (grantee, group) {
                    (Some(firm), _) => body["grantee"] = json!(firm),
                    (None, group) => body["grantee_group"] = json!(group),
                }
                self.begin(body, draft).await
            }
            ShareVerb::Send(it) => self.read("send", it).await,
            ShareVerb::Accept(it) => self.read("accept", it).await,
            ShareVerb::Approve(it) => self.read("approve", it).await,
            ShareVerb::Counter(it) => self.change("counter", "proposal", it).await,
            ShareVerb::Narrow(it) => self.change("narrow", "in_force", it).await,
            ShareVerb::Amend(it) => self.change("amend", "in_force", it).await,
            ShareVerb::Reject(it) => self.act("reject", it, json!({})).await,
            ShareVerb::Withdraw(it) => self.act("withdraw", it, json!({})).await,
            ShareVerb::Suspend(it) => self.act("suspend", it, json!({})).await,
            ShareVerb::Resume(it) => self.act("resume", it, json!({})).await,
            ShareVerb::Revoke(it) => self.act("revoke", it, json!({})).await,
            ShareVerb::Relinquish(it) => self.act("relinquish", it, json!({})).await,
            ShareVerb::Attest(it) => self.act("attest", it, json!({})).await,
            ShareVerb::Groups => {
                let it = self.get("/v1/groups").await?;
                print(|out| show::groups(out, &it, self.json))
            }
            ShareVerb::Join { group, firm } => self.roster("join", &group, &firm).await,
            ShareVerb::Leave { group, firm } => self.roster("leave", &group, &firm).await,
            ShareVerb::Officers(of) => {
                let it = self.get(format!("/v1/officers{}", of.query())).await?;
                print(|out| show::officers(out, &it, self.json))
            }
            ShareVerb::First { link_file, name } => {
                // The text of a link has the shape of a token's.
                let link = std::fs::read_to_string(&link_file)
                    .map_err(|source| ClientError::File { path: link_file, source })?;
                let body = json!({ "link": link.trim(), "name": name });
                self.officer(Question::post("/v1/officers/first", body)).await
            }
            ShareVerb::Mint { name, of } => {
                self.officer(Question::post(format!("/v1/officers{}", of.query()), json!({ "name": name }))).await
            }
            ShareVerb::Reset(it) => self.deal("reset", it).await,
            ShareVerb::Confirm(it) => self.deal("confirm", it).await,
            ShareVerb::Remove(it) => self.deal("remove", it).await,
        }
    }

    async fn get(&self, path: impl Into<String>) -> Result<Value, Failure> {
        Ok(self.client.ask(Question::get(path)).await?)
    }

    async fn post(&self, path: impl Into<String>, body: Value) -> Result<Value, Failure> {
        Ok(self.client.ask(Question::post(path, body)).await?)
    }

    /// Drafts, and unless only that is wanted shows each page and sends it.
    async fn begin(&self, body: Value, draft: bool) -> Result<(), Failure> {
        let drafted = self.post("/v1/consents", body).await?;
        let mut all = Vec::new();
        for it in drafted["consents"].as_array().into_iter().flatten() {
            let id = it["id"].as_str().unwrap_or_default();
            if draft {
                all.push(it.clone());
                continue;
            }
            let page = self.get(format!("/v1/consents/{id}/page")).await?;
            // People read it; what programs take stands on standard output.
            eprintln!("{}", show::safe(&page["text"]));
            let revision = page["revision"].as_u64().unwrap_or(0);
            let question = Question::post(format!("/v1/consents/{id}/send"), json!({ "page": page["page"] }));
            all.push(self.client.ask(question.on(revision)).await?);
        }
        let json = self.json;
        print(|out| all.iter().try_for_each(|it| if json { writeln!(out, "{it}") } else { show::text(out, &it["id"]) }))
    }

    async fn revision(&self, it: &Simple) -> Result<u64, Failure> {
        match it.revision {
            Some(revision) => Ok(revision),
            None => Ok(self.get(format!("/v1/consents/{}", it.id)).await?["revision"].as_u64().unwrap_or(0)),
        }
    }

    async fn act(&self, act: &str, it: Simple, body: Value) -> Result<(), Failure> {
        let mut question = Question::post(format!("/v1/consents/{}/{act}", it.id), body);
        // What only takes away is carried out on whatever the consent has become.
        if it.revision.is_some() || !matches!(act, "suspend" | "revoke" | "relinquish") {
            question = question.on(self.revision(&it).await?);
        }
        let after = self.client.ask(question).await?;
        print(|out| show::outcome(out, &after, self.json))
    }

    async fn read(&self, act: &str, it: Read) -> Result<(), Failure> {
        self.act(act, it.it, json!({ "page": it.page })).await
    }

    async fn change(&self, act: &str, of: &str, mut it: Changed) -> Result<(), Failure> {
        let now = self.get(format!("/v1/consents/{}", it.it.id)).await?;
        let base = now[of]["terms"].as_object().map(|_| now[of]["terms"].clone());
        let base = base.ok_or_else(|| Failure::Usage(format!("the consent has no terms that `{act}` could change")))?;
        let terms: Terms = it.terms.changing(base, self.now_us).map_err(Failure::Usage)?;
        // What was changed is what was seen.
        it.it.revision = it.it.revision.or(now["revision"].as_u64());
        self.act(act, it.it, json!({ "terms": terms })).await
    }

    async fn roster(&self, change: &str, group: &GroupId, firm: &FirmId) -> Result<(), Failure> {
        let it = self.post(format!("/v1/groups/{group}/{change}"), json!({ "firm": firm })).await?;
        print(|out| show::groups(out, &json!({ "groups": [it] }), self.json))
    }

    async fn deal(&self, deed: &str, it: Person) -> Result<(), Failure> {
        self.officer(Question::post(format!("/v1/officers/{}/{deed}{}", it.person, it.of.query()), json!({}))).await
    }

    async fn officer(&self, question: Question) -> Result<(), Failure> {
        let it = self.client.ask(question).await?;
        print(|out| show::officer(out, &it, self.json))
    }
}

fn print(print: impl FnOnce(&mut io::StdoutLock<'_>) -> io::Result<()>) -> Result<(), Failure> {
    Ok(print(&mut io::stdout().lock())?)
}

impl OfFirm {
    fn query(&self) -> String {
        self.firm.as_ref().map(|firm| format!("?firm={firm}")).unwrap_or_default()
    }
}

/// A word of a query: what is no letter is left to the service to refuse.
fn escaped(text: &str) -> String {
    text.chars().filter(|sign| sign.is_ascii_alphanumeric() || *sign == '_').collect()
}
