//! One command on one consent.

use super::act::{Act, Applied, Command, Event, Refusal, Situation, party};
use super::{
    Agreement, Approval, End, Hold, InForce, MAX_REMEMBERED, Party, Phase, Proposal, SECOND_THOUGHT_US, Signature, Turn,
};
use crate::consent::page::PageHash;
use crate::consent::record::Grantee;
use crate::consent::terms::{TermFault, Terms};
use crate::id::PersonId;

impl Agreement {
    /// Carries a command out, or says why not. The same command again changes nothing.
    pub fn apply(&self, command: &Command, situation: &Situation<'_>) -> Result<Applied, Refusal> {
        let unchanged = || Ok(Applied { agreement: self.clone(), event: None });
        let party = party(self, &command.actor, situation.coordinator).ok_or(Refusal::NoSay)?;
        if self.done.contains(&command.key) {
            return unchanged();
        }
        if command.on != self.revision && !command.act.only_takes() {
            return Err(Refusal::Stale { decided: command.on, newest: self.revision });
        }
        let mut after = self.clone();
        // To whoever asked a group, a firm that declined looks like one that did not answer.
        if self.phase_for(party, situation.now_us) != self.phase(situation.now_us) {
            after.end = None;
        }
        let Some(event) = Doing { it: &mut after, party, by: command.actor.person, situation }.act(&command.act)?
        else {
            return unchanged();
        };
        // Whoever asked must not see by the count that it was declined.
        if !(event == Event::Rejected && self.asked_in_a_group) {
            after.revision += 1;
        }
        if after.done.len() == MAX_REMEMBERED {
            after.done.pop_front();
        }
        after.done.push_back(command.key);
        Ok(Applied { agreement: after, event: Some(event) })
    }
}

/// An act that is being carried out.
struct Doing<'a> {
    it: &'a mut Agreement,
    party: Party,
    by: PersonId,
    situation: &'a Situation<'a>,
}

impl Doing<'_> {
    fn act(&mut self, act: &Act) -> Result<Option<Event>, Refusal> {
        let phase = self.it.phase(self.situation.now_us);
        self.may(act)?;
        if phase.is_end() && *act != Act::Attest {
            // There is nothing left that could be taken away.
            return if act.only_takes() { Ok(None) } else { Err(Refusal::Ended { phase }) };
        }
        match act {
            Act::Send { page } => self.send(*page),
            Act::Counter { terms } => self.counter(terms),
            Act::Accept { page } => {
                self.turn_is(Turn::Grantee)?;
                self.sign(*page)?;
                self.pass_to(Turn::Grantor);
                Ok(Some(Event::Requested))
            }
            Act::Approve { page } => self.approve(*page),
            Act::Reject => {
                Refusal::unless(self.sent().is_some(), Refusal::NotNow { phase })?;
                if self.it.in_force.is_some() {
                    self.it.proposal = None;
                } else {
                    self.it.end = Some(End::Rejected { at_us: self.situation.now_us });
                }
                Ok(Some(Event::Rejected))
            }
            Act::Withdraw => {
                Refusal::unless(self.own_draft() || self.sent().is_some(), Refusal::NotNow { phase })?;
                self.it.proposal = None;
                if self.it.in_force.is_none() {
                    self.it.end = Some(End::Withdrawn { at_us: self.situation.now_us });
                }
                Ok(Some(Event::Withdrawn))
            }
            Act::Narrow { terms } => self.narrow(terms),
            Act::Amend { terms } => self.amend(terms),
            Act::Suspend => {
                Refusal::unless(self.it.in_force.is_some(), Refusal::NotNow { phase })?;
                let hold = if self.party == Party::Alliance { Hold::Alliance } else { Hold::Grantor };
                if self.it.holds.contains_key(&hold) {
                    return Ok(None);
                }
                self.it.holds.insert(hold, self.situation.now_us);
                Ok(Some(Event::Suspended))
            }
            Act::Resume => self.resume(phase),
            Act::Revoke => {
                Refusal::unless(self.it.in_force.is_some(), Refusal::NotNow { phase })?;
                self.it.proposal = None;
                self.it.end = Some(End::Revoked { at_us: self.situation.now_us });
                Ok(Some(Event::Revoked))
            }
            Act::Relinquish => {
                Refusal::unless(self.it.in_force.is_some(), Refusal::NotNow { phase })?;
                self.it.proposal = None;
                self.it.end = Some(End::Relinquished { at_us: self.situation.now_us });
                Ok(Some(Event::Relinquished))
            }
            Act::Attest => {
                let over = phase.is_end() && self.it.in_force.is_some();
                Refusal::unless(over, Refusal::NotNow { phase })?;
                if self.it.attested_us.is_some() {
                    return Ok(None);
                }
                self.it.attested_us = Some(self.situation.now_us);
                Ok(Some(Event::Attested))
            }
        }
    }

    /// Whether this side may do this at all, at whatever time.
    fn may(&self, act: &Act) -> Result<(), Refusal> {
        // A draft is its author's alone.
        if let (None, Some(Proposal { turn: Turn::Draft { author }, .. })) = (&self.it.in_force, &self.it.proposal) {
            Refusal::unless(*author == self.party, Refusal::NoSay)?;
        }
        let parties: &[Party] = match act {
            Act::Send { .. } | Act::Counter { .. } | Act::Amend { .. } => &[Party::Grantor, Party::Grantee],
            Act::Accept { .. } | Act::Withdraw | Act::Relinquish | Act::Attest => &[Party::Grantee],
            Act::Approve { .. } | Act::Reject | Act::Narrow { .. } | Act::Revoke => &[Party::Grantor],
            Act::Suspend | Act::Resume => &[Party::Grantor, Party::Alliance],
        };
        // A grantor gives up its own draft.
        let own_draft = self.own_draft() && *act == Act::Withdraw && self.party == Party::Grantor;
        Refusal::unless(parties.contains(&self.party) || own_draft, Refusal::NoSay)?;
        if self.party == Party::Grantor && *act != Act::Suspend {
            match self.situation.officers.standing(self.by) {
                None => return Err(Refusal::NoSay),
                Some(_) => Refusal::unless(self.situation.officers.approves(self.by), Refusal::Waiting)?,
            }
        }
        // Who is no officer of the grantor any more does not even suspend.
        let unknown = self.party == Party::Grantor && self.situation.officers.standing(self.by).is_none();
        Refusal::unless(!unknown, Refusal::NoSay)
    }

    fn phase(&self) -> Phase {
        self.it.phase(self.situation.now_us)
    }

    fn not_now(&self) -> Refusal {
        Refusal::NotNow { phase: self.phase() }
    }

    fn own_draft(&self) -> bool {
        let draft = Turn::Draft { author: self.party };
        self.it.proposal.as_ref().is_some_and(|it| it.turn == draft)
    }

    /// The proposal that both sides see.
    fn sent(&self) -> Option<&Proposal> {
        self.it.proposal.as_ref().filter(|it| !matches!(it.turn, Turn::Draft { .. }))
    }

    fn turn_is(&self, turn: Turn) -> Result<&Proposal, Refusal> {
        self.it.proposal.as_ref().filter(|it| it.turn == turn).ok_or_else(|| self.not_now())
    }

    fn pass_to(&mut self, turn: Turn) {
        if let Some(proposal) = &mut self.it.proposal {
            proposal.turn = turn;
            proposal.approvals.clear();
        }
    }

    /// Whose turn it is once this side has spoken.
    fn other(&self) -> (Turn, Event) {
        match self.party {
            Party::Grantor => (Turn::Grantee, Event::Countered),
            _ => (Turn::Grantor, Event::Requested),
        }
    }

    fn grantable(&self, terms: &Terms) -> Result<(), Refusal> {
        let mut faults = terms.own_faults();
        if matches!(&self.it.grantee, Grantee::Firm(firm) if *firm == self.it.grantor) {
            faults.push(TermFault::SameFirm);
        }
        Refusal::unless(faults.is_empty(), Refusal::Faults(faults))?;
        let until_us = terms.access.until_us;
        Refusal::unless(self.situation.now_us < until_us, Refusal::WindowOver { until_us })
    }

    /// Stands by the page that is made of the proposal.
    fn sign(&mut self, page: PageHash) -> Result<(), Refusal> {
        Refusal::unless(page == self.situation.page, Refusal::OtherPage)?;
        let signature = Signature { party: self.party, by: self.by, at_us: self.situation.now_us, page };
        self.it.signatures.push(signature);
        Ok(())
    }

    fn send(&mut self, page: PageHash) -> Result<Option<Event>, Refusal> {
        let draft = self.turn_is(Turn::Draft { author: self.party })?;
        self.grantable(&draft.terms.clone())?;
        self.sign(page)?;
        let (turn, event) = self.other();
        self.pass_to(turn);
        Ok(Some(event))
    }

    fn counter(&mut self, terms: &Terms) -> Result<Option<Event>, Refusal> {
        if self.own_draft() {
            if let Some(proposal) = &mut self.it.proposal {
                proposal.terms = terms.clone();
            }
            return Ok(Some(Event::Drafted));
        }
        let mine = if self.party == Party::Grantor { Turn::Grantor } else { Turn::Grantee };
        self.turn_is(mine)?;
        self.grantable(terms)?;
        let (turn, event) = self.other();
        self.it.proposal = Some(Proposal { terms: terms.clone(), turn, approvals: Vec::new() });
        Ok(Some(event))
    }

    fn approve(&mut self, page: PageHash) -> Result<Option<Event>, Refusal> {
        let proposal = self.turn_is(Turn::Grantor)?.clone();
        self.grantable(&proposal.terms)?;
        let now_us = self.situation.now_us;
        let officers = self.situation.officers;
        // An officer who was reset or removed since does not count.
        let first = proposal.approvals.iter().find(|it| officers.approves(it.by));
        let enough = match first {
            _ if !proposal.terms.is_raw() => true,
            None => false,
            Some(first) if first.by != self.by => true,
            Some(_) if officers.approving() > 1 => return Err(Refusal::SecondOfficer),
            Some(first) => {
                let from_us = first.at_us.saturating_add(SECOND_THOUGHT_US);
                Refusal::unless(now_us >= from_us, Refusal::SecondThought { from_us })?;
                true
            }
        };
        self.sign(page)?;
        if !enough {
            if let Some(proposal) = &mut self.it.proposal {
                proposal.approvals = vec![Approval { by: self.by, at_us: now_us }];
            }
            return Ok(Some(Event::ApprovedOnce));
        }
        self.it.proposal = None;
        self.put_in_force(proposal.terms);
        Ok(Some(Event::Approved))
    }

    fn put_in_force(&mut self, terms: Terms) {
        let supersedes = self.it.in_force.as_ref().map(|it| it.version);
        let version = supersedes.map_or(1, |it| it.saturating_add(1));
        self.it.in_force = Some(InForce { terms, version, supersedes, mark: self.situation.mark() });
    }

    fn narrow(&mut self, terms: &Terms) -> Result<Option<Event>, Refusal> {
        let in_force = self.it.in_force.clone().ok_or_else(|| self.not_now())?;
        let faults = terms.own_faults();
        Refusal::unless(faults.is_empty(), Refusal::Faults(faults))?;
        Refusal::unless(terms.lie_within(&in_force.terms), Refusal::Wider)?;
        if *terms == in_force.terms {
            return Ok(None);
        }
        self.put_in_force(terms.clone());
        if let Some(now) = &mut self.it.in_force {
            now.mark = in_force.mark;
        }
        // Whoever said yes to an amendment said it beside other terms.
        if let Some(proposal) = &mut self.it.proposal {
            proposal.approvals.clear();
        }
        Ok(Some(Event::Narrowed))
    }

    fn amend(&mut self, terms: &Terms) -> Result<Option<Event>, Refusal> {
        Refusal::unless(self.it.in_force.is_some(), self.not_now())?;
        Refusal::unless(self.it.proposal.is_none(), Refusal::ProposalOpen)?;
        self.grantable(terms)?;
        let (turn, event) = self.other();
        self.it.proposal = Some(Proposal { terms: terms.clone(), turn, approvals: Vec::new() });
        Ok(Some(event))
    }

    fn resume(&mut self, phase: Phase) -> Result<Option<Event>, Refusal> {
        Refusal::unless(phase == Phase::Suspended, Refusal::NotNow { phase })?;
        let holds = &mut self.it.holds;
        if self.party == Party::Alliance {
            let Some(since_us) = holds.remove(&Hold::Alliance) else { return Ok(None) };
            // It can take away, so it can let go; only the grantor puts in force again.
            holds.insert(Hold::Released, since_us);
            return Ok(Some(Event::Released));
        }
        let before = holds.len();
        holds.retain(|hold, _| *hold == Hold::Alliance);
        match (holds.is_empty(), holds.len() < before) {
            (true, _) => Ok(Some(Event::Resumed)),
            // Its own hold is gone, the alliance's is not.
            (false, true) => Ok(Some(Event::Released)),
            (false, false) => Err(Refusal::HeldByAlliance),
        }
    }
}
