//! Test vectors that another implementation can run: JSON below tests/cases/consent/vectors,
//! made of the matrix and read back from the files as a stranger would. docs/consent.md says
//! what their fields mean.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::*;
use crate::consent::tests::{life, matrix};
use crate::id::CommandId;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Decisions {
    about: String,
    cases: Vec<DecisionCase>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DecisionCase {
    name: String,
    grantor: FirmId,
    epoch: u64,
    now_us: i64,
    grants: Vec<VectorGrant>,
    rules: Rules,
    used_rows: BTreeMap<ConsentId, u64>,
    questions: Vec<Question>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VectorGrant {
    id: ConsentId,
    grantee: Grantee,
    status: Status,
    mark: Option<Mark>,
    /// As it stands in a store, so that what cannot be understood is a vector too.
    terms: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    asker: FirmId,
    asset: String,
    metric: String,
    /// None: every reading.
    bucket_us: Option<i64>,
    functions: BTreeSet<Function>,
    from_us: i64,
    to_us: i64,
    purpose: Option<Purpose>,
    pseudonym_of: Option<ConsentId>,
    keeps_commits: bool,
    keeps_quotas: bool,
    answer: DecisionAnswer,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum DecisionAnswer {
    Served(Vec<Served>),
    /// Consent and code, for each in which one falls short.
    Denied(BTreeSet<(ConsentId, String)>),
    NotFound,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Served {
    from_us: i64,
    to_us: i64,
    through_commit: Option<u64>,
    rows: Option<u64>,
}

impl DecisionAnswer {
    fn of(answer: &Result<Decision, Denial>) -> Self {
        match answer {
            Ok(decision) => Self::Served(
                decision
                    .permits
                    .iter()
                    .map(|it| Served {
                        from_us: it.from_us(),
                        to_us: it.to_us(),
                        through_commit: it.through_commit(),
                        rows: it.quota().map(|(_, rows)| rows),
                    })
                    .collect(),
            ),
            Err(Denial { known: false, .. }) => Self::NotFound,
            Err(Denial { reasons, .. }) => {
                Self::Denied(reasons.iter().map(|it| (it.consent, it.why.code().to_owned())).collect())
            }
        }
    }
}

impl DecisionCase {
    fn snapshot(&self) -> Snapshot {
        let grant = |it: &VectorGrant| Grant {
            id: it.id,
            grantee: it.grantee.clone(),
            status: it.status,
            terms: StoredTerms::parse(&it.terms.to_string()),
            mark: it.mark,
        };
        let grants = self.grants.iter().map(grant).collect();
        let mut snapshot = Snapshot::of(self.grantor.clone(), self.epoch, grants, self.rules.clone());
        snapshot.used.clone_from(&self.used_rows);
        snapshot
    }

    fn request(&self, asked: &Question) -> Request {
        let series = SeriesKey {
            firm: self.grantor.clone(),
            asset: asked.asset.parse().unwrap(),
            metric: asked.metric.parse().unwrap(),
        };
        let holds = Holds { commits: asked.keeps_commits, quotas: asked.keeps_quotas };
        let address = asked.pseudonym_of.map_or(Address::Name, Address::Pseudonym);
        Request {
            asker: asked.asker.clone(),
            series,
            form: asked.bucket_us.map_or(Form::Raw, Form::buckets),
            functions: asked.functions.clone(),
            from_us: asked.from_us,
            to_us: asked.to_us,
            manner: Manner { purpose: asked.purpose, address, holds },
        }
    }
}

fn question(request: &Request) -> Question {
    let bucket_us = match &request.form {
        Form::Raw => None,
        Form::Bucketed { grid } => Some(grid.describe().unwrap()),
    };
    Question {
        asker: request.asker.clone(),
        asset: request.series.asset.to_string(),
        metric: request.series.metric.to_string(),
        bucket_us,
        functions: request.functions.clone(),
        from_us: request.from_us,
        to_us: request.to_us,
        purpose: request.manner.purpose,
        pseudonym_of: match request.manner.address {
            Address::Name => None,
            Address::Pseudonym(consent) => Some(consent),
        },
        keeps_commits: request.manner.holds.commits,
        keeps_quotas: request.manner.holds.quotas,
        answer: DecisionAnswer::NotFound,
    }
}

fn decisions() -> Decisions {
    let case = |case: matrix::Case| {
        let grant = |it: Grant| {
            let StoredTerms::Known(terms) = it.terms else { panic!("the cases are known") };
            let terms = serde_json::to_value(terms).unwrap();
            VectorGrant { id: it.id, grantee: it.grantee, status: it.status, mark: it.mark, terms }
        };
        let used = case.used.iter().map(|(number, rows)| (ConsentId::numbered(*number), *rows)).collect();
        let mut made = DecisionCase {
            name: case.name.to_owned(),
            grantor: firm("hanbit"),
            epoch: 7,
            now_us: NOW,
            grants: case.grants.into_iter().map(grant).collect(),
            rules: case.rules,
            used_rows: used,
            questions: matrix::full_requests().iter().map(|(_, request)| question(request)).collect(),
        };
        let snapshot = made.snapshot();
        let answer = |asked| DecisionAnswer::of(&decide(&snapshot, &made.request(asked), NOW));
        let answers: Vec<_> = made.questions.iter().map(answer).collect();
        for (question, answer) in made.questions.iter_mut().zip(answers) {
            question.answer = answer;
        }
        made
    };
    let about = "what a set of consents answers: docs/consent.md, \"Vectors\"".to_owned();
    Decisions { about, cases: matrix::cases().into_iter().map(case).collect() }
}

#[test]
fn the_vectors_of_decisions_hold() {
    bless("vectors/decide.json", decisions);
    let Decisions { cases, .. } = read("vectors/decide.json");
    let mut asked = 0;
    for case in cases {
        let snapshot = case.snapshot();
        let indexed = snapshot.clone().indexed();
        for (number, question) in case.questions.iter().enumerate() {
            for snapshot in [&snapshot, &indexed] {
                let answer = decide(snapshot, &case.request(question), case.now_us);
                assert_eq!(DecisionAnswer::of(&answer), question.answer, "{}, question {number}", case.name);
            }
            asked += 1;
        }
    }
    assert!(asked > 400, "{asked}");
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lives {
    about: String,
    officers: Officers,
    page: PageHash,
    commit: u64,
    actors: BTreeMap<String, Actor>,
    acts: BTreeMap<String, Act>,
    states: Vec<State>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    name: String,
    now_us: i64,
    phase: Phase,
    agreement: Agreement,
    /// Actor, act, and what comes of it: an event and the phase after it, `unchanged`, or the
    /// code of a refusal.
    commands: Vec<(String, String, String)>,
}

impl Lives {
    fn answer(&self, state: &State, actor: &str, act: &str) -> String {
        let actor = self.actors[actor].clone();
        let command =
            Command { key: CommandId::random(), on: state.agreement.revision, actor, act: self.acts[act].clone() };
        let situation = Situation {
            officers: &self.officers,
            coordinator: None,
            page: self.page,
            commit: self.commit,
            now_us: state.now_us,
        };
        match state.agreement.apply(&command, &situation) {
            Ok(Applied { event: None, .. }) => "unchanged".to_owned(),
            Ok(Applied { agreement, event: Some(event) }) => {
                format!("{} {}", event.as_str(), agreement.phase(state.now_us))
            }
            Err(refusal) => refusal.code().to_owned(),
        }
    }
}

fn lives() -> Lives {
    let named = |(name, actor): (&str, Actor)| (name.to_owned(), actor);
    let mut lives = Lives {
        about: "what comes of a command on a consent: docs/consent.md, \"Vectors\"".to_owned(),
        officers: life::officers(),
        page: life::page(),
        commit: 50,
        actors: matrix::acts::actors().into_iter().map(named).collect(),
        acts: matrix::acts::acts().into_iter().map(|(name, act)| (name.to_owned(), act)).collect(),
        states: Vec::new(),
    };
    for (name, agreement, now_us) in matrix::acts::states() {
        let phase = agreement.phase(now_us);
        let mut state = State { name: name.to_owned(), now_us, phase, agreement, commands: Vec::new() };
        for act in lives.acts.keys() {
            for actor in lives.actors.keys() {
                let answer = lives.answer(&state, actor, act);
                state.commands.push((actor.clone(), act.clone(), answer));
            }
        }
        lives.states.push(state);
    }
    lives
}

#[test]
fn the_vectors_of_lives_hold() {
    bless("vectors/life.json", lives);
    let lives: Lives = read("vectors/life.json");
    let mut given = 0;
    for state in &lives.states {
        assert_eq!(state.agreement.phase(state.now_us), state.phase, "{}", state.name);
        for (actor, act, wanted) in &state.commands {
            assert_eq!(lives.answer(state, actor, act), *wanted, "{actor}: {act} on {}", state.name);
            given += 1;
        }
    }
    assert!(given > 3_000, "{given}");
}

/// What a record looks like, and what is none.
#[test]
fn the_vectors_of_records_hold() {
    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Records {
        about: String,
        /// Name, record, and whether it is understood in full.
        records: Vec<(String, Value, bool)>,
    }
    let records: Records = read("vectors/records.json");
    let (known, unknown): (Vec<_>, Vec<_>) = records.records.iter().partition(|(_, _, known)| *known);
    assert!(known.len() > 3 && unknown.len() > 9);
    for (name, record, known) in &records.records {
        let read = StoredTerms::parse(&record.to_string());
        assert_eq!(matches!(read, StoredTerms::Known(_)), *known, "{name}");
        if let StoredTerms::Known(terms) = read {
            assert_eq!(serde_json::to_value(terms).unwrap(), *record, "{name} is written as it was read");
        }
    }
}

fn bless<T: Serialize>(name: &str, made: impl FnOnce() -> T) {
    if std::env::var_os("SANDAN_BLESS").is_some() {
        std::fs::create_dir_all(case("vectors")).unwrap();
        let text = serde_json::to_string(&made()).unwrap();
        // A line for each case, so that a change can be read.
        let text = text.replace("{\"name\":", "\n{\"name\":") + "\n";
        std::fs::write(case(name), text).unwrap();
    }
}

fn read<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    serde_json::from_str(&std::fs::read_to_string(case(name)).unwrap()).unwrap()
}
