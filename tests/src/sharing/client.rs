//! One member: asks, agrees, takes back and rules at random, and judges each answer.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use sandan_ingest::access::{AccessError, Reader, Receipt, Rows};
use sandan_ingest::auth::Member;
use sandan_ingest::consent::{Form, Function, Manner, Request};
use sandan_ingest::id::ConsentId;
use sandan_ingest::store::control::Change;
use sandan_proto::id::SeriesKey;
use sandan_proto::reading::Value;

use super::draw;
use super::judge::{Ended, Heard, Row, Served, Told};
use super::life::Life;
use super::reference::{Called, Deal, Question, Reader as Reads, Shared};
use super::world::{ASSETS, FIRMS, METRICS, SECOND_US, World, asset, firm, series};
use super::{Until, pull};
use crate::chance::Chance;

pub(super) struct Client {
    pub(super) world: Arc<World>,
    firm: usize,
    pub(super) member: Member,
    pub(super) token: String,
    /// Which door it asks at; none: the one in this process.
    pub(super) door: Option<usize>,
    pub(super) chance: Chance,
    /// What was asked before.
    last: Option<Question>,
    pub(super) heard: Heard,
}

impl Client {
    pub(super) async fn new(world: &Arc<World>, number: usize, chance: Chance) -> anyhow::Result<Self> {
        let firm = number % FIRMS;
        let (member, token) = world.member(firm).await?;
        // Half of them come over HTTP; all where nothing is in this process, most at the second door.
        let far = world.access.is_none() || number >= FIRMS;
        let door = far.then(|| if number == 0 { 0 } else { world.doors.len() - 1 });
        Ok(Self { world: world.clone(), firm, member, token, door, chance, last: None, heard: Heard::default() })
    }

    pub(super) async fn work(mut self, until: Until) -> anyhow::Result<Heard> {
        // Something to read from the beginning.
        for _ in 0..2 {
            self.live(Step::Agree).await?;
        }
        loop {
            let ends = match until {
                Until::Decisions(count) => self.world.decisions() >= count,
                Until::Time(time) => Instant::now() >= time,
            };
            if ends {
                return Ok(self.heard);
            }
            match self.chance.below(1_000) {
                0..14 => self.live(Step::Agree).await?,
                14..22 => self.live(Step::Change).await?,
                22..30 => self.live(Step::End).await?,
                30..36 => self.live(Step::Rule).await?,
                36..39 => self.world.deliver(self.firm).await?,
                39..41 => self.lose_token().await?,
                _ => self.ask(false).await?,
            }
        }
    }

    async fn live(&mut self, step: Step) -> anyhow::Result<()> {
        let world = self.world.clone();
        let mut life = Life::new(&world, &mut self.chance);
        match step {
            Step::Agree => life.agree(self.firm).await?,
            Step::Change => life.change(self.firm, false).await?,
            Step::End => life.change(self.firm, true).await?,
            Step::Rule => life.rule(self.firm).await?,
        }
        self.heard.lived(life.done);
        Ok(())
    }

    /// A token that was revoked opens nothing any more, and its member comes back with another.
    async fn lose_token(&mut self) -> anyhow::Result<()> {
        let change = Change::RevokeMember { id: self.member.id, firm: self.member.firm.clone() };
        self.world.apply(change).await?;
        self.ask(true).await?;
        (self.member, self.token) = self.world.member(self.firm).await?;
        Ok(())
    }

    fn question(&mut self) -> Question {
        if let Some(last) = self.last.clone().filter(|_| self.chance.percent(15)) {
            return last;
        }
        let it = self.any_question();
        if self.chance.percent(40) { it } else { self.aimed(it) }
    }

    fn any_question(&mut self) -> Question {
        let chance = &mut self.chance;
        let owner = draw::number(chance, FIRMS);
        let bucket = chance.percent(50).then(|| (draw::width(chance), draw::functions(chance)));
        let (from_us, to_us) = draw::window(chance, self.world.data, 120);
        let purpose = draw::purpose(chance);
        let (asset, metric) = (draw::number(chance, ASSETS), draw::number(chance, METRICS.len()));
        // By a pseudonym, now and then by one that is another's or that has gone.
        let ids: Vec<String> = self.world.books()[owner].deals.iter().rev().take(20).map(|it| it.id.clone()).collect();
        let is_veiled = chance.percent(10) && owner != self.firm && !ids.is_empty();
        let called = if is_veiled { Called::Pseudonym(chance.one(&ids).clone()) } else { Called::Name };
        Question { asker: self.firm, owner, asset, metric, bucket, from_us, to_us, purpose, called }
    }

    /// The same, of something that a consent is about.
    fn aimed(&mut self, it: Question) -> Question {
        let (world, owner) = (self.world.clone(), (self.firm + 1 + draw::number(&mut self.chance, FIRMS - 1)) % FIRMS);
        let (deals, runs) = {
            let books = world.books();
            let reaches =
                |deal: &&Deal| deal.reader == Reads::Firm(self.firm) || matches!(deal.reader, Reads::Group(..));
            let deals: Vec<Deal> = books[owner].deals.iter().rev().take(40).filter(reaches).cloned().collect();
            (deals, books[owner].runs.newest().clone())
        };
        let chance = &mut self.chance;
        if deals.is_empty() {
            return it;
        }
        let deal = chance.one(&deals);
        let Some(paper) = &deal.states.newest().paper else { return it };
        let bucket = match &paper.shared {
            Shared::Bucketed(floor, functions) => {
                Some((floor * (1 + chance.below(3)).cast_signed(), draw::some(chance, functions)))
            }
            _ => it.bucket.filter(|_| chance.percent(50)),
        };
        let more = paper.more.as_ref();
        let is_veiled = more.is_some_and(|more| !more.is_named);
        let called = if is_veiled { Called::Pseudonym(deal.id.clone()) } else { Called::Name };
        let purpose = more.map(|more| *chance.one(&more.purposes)).or(it.purpose);
        let asset = *chance.one(&paper.assets);
        let lot =
            runs.iter().find(|run| more.is_some_and(|more| more.runs_of == Some(run.customer)) && run.asset == asset);
        let from_us = lot.map(|run| run.from).or(paper.event.0).filter(|_| chance.percent(60)).unwrap_or(it.from_us);
        let to_us = from_us + bucket.as_ref().map_or(0, |it| 2 * it.0).max(it.to_us - it.from_us);
        let metric = *chance.one(&paper.metrics);
        Question { asker: self.firm, owner, asset, metric, bucket, from_us, to_us, purpose, called }
    }

    async fn ask(&mut self, is_revoked: bool) -> anyhow::Result<()> {
        let it = self.question();
        self.last = Some(it.clone());
        self.world.decide();
        self.heard.decisions += 1;
        let key = self.key(&it)?;
        // All of it can be counted towards a quota, until it is known what was.
        let cells = it.cells(self.world.data, SECOND_US).len() as u64;
        let reserved = self.reserve(&it, cells);
        let begun = self.world.now_us();
        let mut served = Served::new(it.clone(), begun);
        match self.door {
            Some(door) => pull::ask(self, door, &key, &mut served)?,
            None => self.ask_here(&key, &mut served).await?,
        }
        served.done = self.world.now_us();
        // What was handed on is what was counted, where it came to its end.
        let used = if served.is_whole() { served.rows.len() as u64 } else { cells };
        self.release(&it, &reserved, cells - used.min(cells));
        let world = self.world.clone();
        self.heard.judge(&world, served, is_revoked);
        Ok(())
    }

    /// The name that the series is called by.
    fn key(&self, it: &Question) -> anyhow::Result<SeriesKey> {
        let Called::Pseudonym(id) = &it.called else { return series(it.owner, it.asset, it.metric) };
        let id: ConsentId = id.parse()?;
        let asset = asset(it.asset).parse()?;
        let (names, none) = (&self.world.names, "no pseudonym could be made");
        let (firm, asset) = (names.firm(id).context(none)?, names.asset(id, &asset).context(none)?);
        Ok(SeriesKey { firm, asset, metric: METRICS[it.metric].parse()? })
    }

    /// Notes rows that may be counted, of each consent that may be the ground.
    fn reserve(&self, it: &Question, rows: u64) -> Vec<String> {
        let mut books = self.world.books();
        let about = books[it.owner].about(it);
        let ids: Vec<String> = about.deals.into_iter().map(|deal| deal.id).collect();
        books[it.owner].deals.iter_mut().filter(|deal| ids.contains(&deal.id)).for_each(|deal| deal.spent.1 += rows);
        ids
    }

    fn release(&self, it: &Question, ids: &[String], rows: u64) {
        let mut books = self.world.books();
        books[it.owner].deals.iter_mut().filter(|deal| ids.contains(&deal.id)).for_each(|deal| deal.spent.1 -= rows);
    }

    async fn ask_here(&mut self, key: &SeriesKey, served: &mut Served) -> anyhow::Result<()> {
        let access = self.world.access.clone().context("there is no door in this process")?;
        let answer = access.read(&self.member, request(&served.question, key), None).await;
        let actor = self.member.actor();
        let mut tell = |is_denial, receipt: Option<Receipt>| {
            served.told.push(Told { question: served.question.clone(), actor: actor.clone(), receipt, is_denial });
        };
        match answer {
            Ok(reader) => {
                tell(false, reader.receipt().cloned());
                self.drain(reader, served).await
            }
            Err(AccessError::Denied(_, receipt)) => {
                tell(true, receipt.as_deref().cloned());
                served.ended = Ended::Denied;
                Ok(())
            }
            Err(AccessError::QuotaExceeded { .. }) => {
                tell(true, None);
                served.ended = Ended::UsedUp;
                Ok(())
            }
            Err(AccessError::NotFound) => {
                served.ended = Ended::Unknown;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the rows, in one or in many pieces.
    async fn drain(&mut self, mut reader: Reader, served: &mut Served) -> anyhow::Result<()> {
        let piece = if self.chance.percent(40) { 1 + self.chance.below(10) } else { 10_000 };
        let leaves = self.chance.percent(5);
        served.ended = loop {
            if leaves && !served.rows.is_empty() {
                break Ended::Left;
            }
            let asked = self.world.now_us();
            match reader.next(usize::try_from(piece)?).await {
                Ok(Some(rows)) => {
                    let when = (asked, self.world.now_us());
                    served.rows.extend(shown(&served.question, &rows)?.into_iter().map(|row| (row, when)));
                }
                Ok(None) => break Ended::Complete,
                Err(AccessError::Withdrawn) => break Ended::Withdrawn,
                Err(AccessError::Revoked) => break Ended::Revoked,
                Err(AccessError::QuotaExceeded { .. }) => break Ended::UsedUp,
                Err(error) => return Err(error.into()),
            }
        };
        Ok(())
    }
}

/// What is done beside asking.
enum Step {
    Agree,
    Change,
    End,
    Rule,
}

/// Rows with what is shown of them.
fn shown(it: &Question, rows: &Rows) -> anyhow::Result<Vec<Row>> {
    let functions = it.bucket.iter().flat_map(|(_, functions)| functions);
    Ok(match rows {
        Rows::Raw(rows) => {
            let value = |value: &Option<Value>| match value {
                Some(Value::F64(value)) => *value,
                _ => f64::NAN,
            };
            rows.iter().map(|row| Row { cell: (row.time_us, row.time_us), shown: vec![value(&row.value)] }).collect()
        }
        Rows::Buckets(rows) => {
            let functions: Vec<Function> = functions.copied().collect();
            let mut all = Vec::with_capacity(rows.len());
            for row in rows {
                let mut shown = Vec::new();
                for function in &functions {
                    shown.push(match function {
                        Function::Mean => row.mean(),
                        Function::Min => row.min,
                        Function::Max => row.max,
                        Function::Sum => row.sum,
                        Function::Count => row.count as f64,
                        Function::First => row.first,
                        Function::Last => row.last,
                        other => bail!("nobody asked for {other}"),
                    });
                }
                all.push(Row { cell: (row.start_us, row.end_us), shown });
            }
            all
        }
    })
}

fn request(it: &Question, key: &SeriesKey) -> Request {
    Request {
        asker: firm(it.asker),
        series: key.clone(),
        form: it.bucket.as_ref().map_or(Form::Raw, |(width, _)| Form::buckets(*width)),
        functions: it.bucket.iter().flat_map(|(_, functions)| functions.iter().copied()).collect(),
        from_us: it.from_us,
        to_us: it.to_us,
        manner: Manner { purpose: it.purpose, ..Manner::default() },
    }
}
