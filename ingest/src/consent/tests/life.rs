use super::*;
use crate::id::{CommandId, PersonId};
use crate::time::{DAY_US, HOUR_US};

pub(super) fn actor(number: u128, role: Role, firm: Option<&str>) -> Actor {
    let firm = firm.map(|id| FirmId::new(id).unwrap());
    Actor { person: PersonId::numbered(number), role, firm }
}

fn officer(number: u128) -> Actor {
    actor(number, Role::DataOfficer, Some("hanbit"))
}

fn asker() -> Actor {
    actor(21, Role::Member, Some("saesol"))
}

fn alliance() -> Actor {
    actor(42, Role::AllianceAdministrator, None)
}

/// Two officers who approve and one who waits.
pub(super) fn officers() -> Officers {
    let waiting = Standing::Waiting { since_us: 0 };
    let of = |number, standing| (PersonId::numbered(number), standing);
    Officers::new([of(1, Standing::Confirmed), of(2, Standing::Confirmed), of(3, waiting)])
}

pub(super) fn page() -> PageHash {
    PageHash::of(&["the page"])
}

pub(super) fn bucketed_terms() -> Terms {
    full(bucketed(60, &[Function::Mean, Function::Max]), |_| {})
}

pub(super) fn narrower() -> Terms {
    full(bucketed(120, &[Function::Mean]), |it| it.minimum_age_us = 5 * S)
}

pub(super) fn wider() -> Terms {
    full(bucketed(30, &[Function::Mean, Function::Max, Function::Min]), |_| {})
}

/// A consent that things happen to, an act a microsecond, from second 800 on.
#[derive(Clone)]
pub(super) struct Life {
    pub it: Agreement,
    officers: Officers,
    now_us: i64,
}

impl Life {
    fn new(author: Party, terms: Terms) -> Self {
        let grantee = Grantee::Firm(firm("saesol"));
        let it = Agreement::draft(ConsentId::numbered(1), firm("hanbit"), grantee, author, terms);
        Self { it, officers: officers(), now_us: 800 * S }
    }

    pub(super) fn drafted() -> Self {
        Self::new(Party::Grantee, bucketed_terms())
    }

    pub(super) fn offered() -> Self {
        Self::new(Party::Grantor, bucketed_terms())
    }

    fn at(self, now_us: i64) -> Self {
        Self { now_us, ..self }
    }

    fn command(&self, actor: Actor, act: Act) -> Command {
        Command { key: CommandId::random(), on: self.it.revision, actor, act }
    }

    fn apply(&self, command: &Command) -> Result<Applied, Refusal> {
        let situation =
            Situation { officers: &self.officers, coordinator: None, page: page(), commit: 40, now_us: self.now_us };
        self.it.apply(command, &situation)
    }

    fn attempt(&self, actor: Actor, act: Act) -> Result<Applied, Refusal> {
        self.apply(&self.command(actor, act))
    }

    fn then(self, actor: Actor, act: Act) -> Self {
        let Applied { agreement, event } = self.attempt(actor, act).unwrap();
        assert!(event.is_some(), "nothing happened");
        Self { it: agreement, now_us: self.now_us + 1, ..self }
    }

    pub(super) fn requested(self) -> Self {
        self.then(asker(), Act::Send { page: page() })
    }
    pub(super) fn countered(self) -> Self {
        self.then(officer(1), Act::Counter { terms: narrower() })
    }
    pub(super) fn approved(self) -> Self {
        self.then(officer(1), Act::Approve { page: page() })
    }
    pub(super) fn amended(self, by: Party) -> Self {
        let by = if by == Party::Grantor { officer(1) } else { asker() };
        self.then(by, Act::Amend { terms: wider() })
    }
    pub(super) fn suspended(self, by: Party) -> Self {
        self.then(if by == Party::Alliance { alliance() } else { officer(1) }, Act::Suspend)
    }
    pub(super) fn restored(self) -> Self {
        Self { it: self.it.restored(self.now_us), ..self }
    }
    pub(super) fn revoked(self) -> Self {
        self.then(officer(1), Act::Revoke)
    }
    pub(super) fn rejected(self) -> Self {
        self.then(officer(1), Act::Reject)
    }
    pub(super) fn withdrawn(self) -> Self {
        self.then(asker(), Act::Withdraw)
    }
    pub(super) fn relinquished(self) -> Self {
        self.then(asker(), Act::Relinquish)
    }

    fn phase(&self) -> Phase {
        self.it.phase(self.now_us)
    }

    fn status(&self) -> Option<Status> {
        self.it.grant().map(|grant| grant.status)
    }
}

#[test]
fn a_request_is_countered_accepted_and_approved_and_begins_and_ends_by_the_clock() {
    let life = Life::drafted();
    assert_eq!((life.phase(), life.status()), (Phase::Draft, None));
    let life = life.requested();
    assert_eq!((life.phase(), life.status()), (Phase::Requested, None));
    let life = life.countered();
    assert_eq!((life.phase(), life.status()), (Phase::Countered, None));
    let life = life.then(asker(), Act::Accept { page: page() });
    assert_eq!(life.phase(), Phase::Requested);
    let life = life.approved();
    let at = |now_us| life.clone().at(now_us).phase();
    assert_eq!(at(NOT_BEFORE - 1), Phase::Approved);
    assert_eq!(at(NOT_BEFORE), Phase::Active);
    assert_eq!(at(UNTIL - 1), Phase::Active);
    assert_eq!(at(UNTIL), Phase::Expired);
    assert_eq!(life.status(), Some(Status::Active), "the windows tell the rest");
    let in_force = life.it.in_force.unwrap();
    assert_eq!((in_force.version, in_force.supersedes, in_force.terms), (1, None, narrower()));
    assert_eq!(in_force.mark, Mark { at_us: life.now_us - 1, commit: 40 });
    let signed: Vec<_> = life.it.signatures.iter().map(|it| it.party).collect();
    assert_eq!(signed, [Party::Grantee, Party::Grantee, Party::Grantor], "both sides stand by the page");
}

#[test]
fn an_offer_of_the_grantor_takes_the_grantee_and_then_an_officer() {
    let life = Life::offered().then(officer(1), Act::Send { page: page() });
    assert_eq!(life.phase(), Phase::Countered);
    let early = life.attempt(officer(1), Act::Approve { page: page() });
    assert_eq!(early, Err(Refusal::NotNow { phase: Phase::Countered }));
    let life = life.then(asker(), Act::Accept { page: page() }).approved();
    assert_eq!(life.phase(), Phase::Approved);
}

#[test]
fn a_command_that_comes_again_is_carried_out_once() {
    let life = Life::drafted().requested();
    let command = life.command(officer(1), Act::Approve { page: page() });
    let once = life.apply(&command).unwrap();
    assert_eq!(once.event, Some(Event::Approved));
    let after = Life { it: once.agreement.clone(), ..life };
    assert_eq!(after.apply(&command), Ok(Applied { agreement: once.agreement, event: None }));
    // Also a read of the consent from the store must know it.
    let stored: Agreement = serde_json::from_str(&serde_json::to_string(&after.it).unwrap()).unwrap();
    assert_eq!(stored, after.it);
    assert_eq!(Life { it: stored, ..after }.apply(&command).unwrap().event, None);
}

#[test]
fn a_command_that_was_decided_on_something_else_is_refused_but_for_what_takes_away() {
    let life = Life::drafted().requested();
    let stale = |life: &Life, actor, act| {
        let decided = Command { on: 0, ..life.command(actor, act) };
        life.apply(&decided).map(|applied| applied.event)
    };
    let refused = Err(Refusal::Stale { decided: 0, newest: 1 });
    assert_eq!(stale(&life, officer(1), Act::Approve { page: page() }), refused);
    assert_eq!(stale(&life, officer(1), Act::Reject), refused);
    let life = life.approved();
    assert_eq!(
        stale(&life, officer(1), Act::Narrow { terms: narrower() }),
        Err(Refusal::Stale { decided: 0, newest: 2 })
    );
    assert_eq!(stale(&life, officer(1), Act::Suspend), Ok(Some(Event::Suspended)));
    assert_eq!(stale(&life, alliance(), Act::Suspend), Ok(Some(Event::Suspended)));
    assert_eq!(stale(&life, officer(1), Act::Revoke), Ok(Some(Event::Revoked)));
    assert_eq!(stale(&life, asker(), Act::Relinquish), Ok(Some(Event::Relinquished)));
}

#[test]
fn an_officer_approves_the_page_that_was_read_and_no_other() {
    let life = Life::drafted().requested();
    let other = PageHash::of(&["another page"]);
    assert_eq!(life.attempt(officer(1), Act::Approve { page: other }), Err(Refusal::OtherPage));
    assert_eq!(Life::drafted().attempt(asker(), Act::Send { page: other }), Err(Refusal::OtherPage));
}

#[test]
fn terms_that_nobody_can_grant_are_neither_sent_nor_countered_nor_amended() {
    let nothing = full(bucketed(60, &[]), |it| it.purposes.clear());
    let faults = Err(Refusal::Faults(vec![TermFault::NoFunction, TermFault::NoPurpose]));
    let life = Life::new(Party::Grantee, nothing.clone());
    assert_eq!(life.attempt(asker(), Act::Send { page: page() }), faults);
    let counter = Act::Counter { terms: nothing.clone() };
    assert_eq!(Life::drafted().requested().attempt(officer(1), counter), faults);
    let active = Life::drafted().requested().approved();
    assert_eq!(active.attempt(asker(), Act::Amend { terms: nothing.clone() }), faults);
    assert_eq!(active.attempt(officer(1), Act::Narrow { terms: nothing }), faults);
    let late = Life::drafted().requested().at(UNTIL);
    let over = Err(Refusal::WindowOver { until_us: UNTIL });
    assert_eq!(late.attempt(officer(1), Act::Approve { page: page() }), over);
}

fn raw_request() -> Life {
    Life::new(Party::Grantee, full(SharedForm::Raw, |_| {})).requested()
}

#[test]
fn raw_readings_take_two_officers() {
    let yes = || Act::Approve { page: page() };
    let life = raw_request();
    let once = life.attempt(officer(1), yes()).unwrap();
    assert_eq!(once.event, Some(Event::ApprovedOnce));
    let once = Life { it: once.agreement, ..life };
    assert_eq!((once.phase(), once.status()), (Phase::Requested, None));
    assert_eq!(once.attempt(officer(1), yes()), Err(Refusal::SecondOfficer), "the same one is no second");
    assert_eq!(once.clone().at(once.now_us + 9 * DAY_US).attempt(officer(1), yes()).unwrap_err().code(), "window_over");
    assert_eq!(once.attempt(officer(3), yes()), Err(Refusal::Waiting));
    assert_eq!(once.attempt(officer(2), yes()).unwrap().event, Some(Event::Approved));
    // The first who was reset since does not count, and the second is the first.
    let reset = Officers::new([
        (PersonId::numbered(1), Standing::Waiting { since_us: 1 }),
        (PersonId::numbered(2), Standing::Confirmed),
    ]);
    let after = Life { officers: reset, ..once.clone() };
    assert_eq!(after.attempt(officer(2), yes()).unwrap().event, Some(Event::ApprovedOnce));
    // A counter in between begins anew.
    let countered = once.then(officer(2), Act::Counter { terms: full(SharedForm::Raw, |it| it.minimum_age_us = 1) });
    let again = countered.then(asker(), Act::Accept { page: page() });
    assert_eq!(again.attempt(officer(2), yes()).unwrap().event, Some(Event::ApprovedOnce));
}

#[test]
fn the_one_officer_of_a_firm_says_yes_to_raw_readings_twice_a_day_apart() {
    let yes = || Act::Approve { page: page() };
    let mut long = full(SharedForm::Raw, |it| it.return_by_us = 9 * DAY_US);
    long.access.until_us = 9 * DAY_US;
    let alone = Officers::new([
        (PersonId::numbered(1), Standing::Confirmed),
        (PersonId::numbered(3), Standing::Waiting { since_us: 0 }),
    ]);
    let life = Life { officers: alone, ..Life::new(Party::Grantee, long) }.requested().at(HOUR_US);
    let once = life.then(officer(1), yes());
    let from_us = HOUR_US + DAY_US;
    assert_eq!(once.clone().at(from_us - 1).attempt(officer(1), yes()), Err(Refusal::SecondThought { from_us }));
    assert_eq!(once.at(from_us).attempt(officer(1), yes()).unwrap().event, Some(Event::Approved));
}

#[test]
fn narrowing_is_at_once_and_alone_and_widening_takes_both() {
    let life = Life::drafted().requested().approved().at(NOW);
    assert_eq!(life.attempt(officer(1), Act::Narrow { terms: wider() }), Err(Refusal::Wider));
    assert_eq!(life.attempt(asker(), Act::Narrow { terms: narrower() }), Err(Refusal::NoSay));
    let mark = life.it.in_force.as_ref().unwrap().mark;
    let narrowed = life.clone().then(officer(1), Act::Narrow { terms: narrower() });
    let in_force = narrowed.it.in_force.clone().unwrap();
    assert_eq!((in_force.version, in_force.supersedes, in_force.mark), (2, Some(1), mark));
    assert_eq!(narrowed.attempt(officer(1), Act::Narrow { terms: narrower() }).unwrap().event, None);
    // An amendment leaves what is in force in force until the other side has said yes.
    let amended = life.amended(Party::Grantee);
    assert_eq!(amended.it.in_force.as_ref().unwrap().terms, bucketed_terms());
    assert_eq!(amended.attempt(asker(), Act::Amend { terms: wider() }), Err(Refusal::ProposalOpen));
    let approved = amended.clone().approved();
    let in_force = approved.it.in_force.clone().unwrap();
    assert_eq!((in_force.version, in_force.supersedes, in_force.terms), (2, Some(1), wider()));
    assert!(in_force.mark.at_us > mark.at_us, "what is agreed anew covers what is stored by now");
    let rejected = amended.rejected();
    assert_eq!((rejected.phase(), rejected.it.in_force.unwrap().terms), (Phase::Active, bucketed_terms()));
}

#[test]
fn an_amendment_to_raw_takes_two_officers_too_and_a_narrowing_forgets_the_first() {
    let yes = || Act::Approve { page: page() };
    let life = Life::drafted().requested().approved().at(NOW);
    let life = life.then(asker(), Act::Amend { terms: full(SharedForm::Raw, |_| {}) });
    let once = life.then(officer(1), yes());
    assert_eq!(once.phase(), Phase::Active);
    assert_eq!(once.it.in_force.as_ref().unwrap().terms, bucketed_terms());
    let narrowed = once.clone().then(officer(1), Act::Narrow { terms: narrower() });
    assert_eq!(narrowed.attempt(officer(2), yes()).unwrap().event, Some(Event::ApprovedOnce));
    assert_eq!(once.attempt(officer(2), yes()).unwrap().event, Some(Event::Approved));
}

#[test]
fn the_alliance_suspends_and_lets_go_and_the_grantor_puts_in_force_again() {
    let held = Life::drafted().requested().approved().suspended(Party::Alliance).at(NOW);
    assert_eq!(held.phase(), Phase::Suspended);
    assert!(matches!(held.status(), Some(Status::Suspended { .. })));
    assert_eq!(held.attempt(officer(1), Act::Resume), Err(Refusal::HeldByAlliance));
    assert_eq!(held.attempt(alliance(), Act::Suspend).unwrap().event, None);
    let both = held.clone().suspended(Party::Grantor);
    let own = both.then(officer(1), Act::Resume);
    assert_eq!(own.phase(), Phase::Suspended, "its own hold is gone, the alliance's is not");
    let released = held.then(alliance(), Act::Resume);
    assert_eq!(released.phase(), Phase::Suspended, "the alliance puts nothing in force");
    assert_eq!(released.attempt(alliance(), Act::Resume).unwrap().event, None);
    assert_eq!(released.attempt(officer(3), Act::Resume), Err(Refusal::Waiting));
    assert_eq!(released.then(officer(1), Act::Resume).phase(), Phase::Active);
}

#[test]
fn a_restore_holds_what_is_in_force_until_the_grantor_resumes_it() {
    let life = Life::drafted().requested().approved().restored().at(NOW);
    assert_eq!(life.phase(), Phase::Suspended);
    assert_eq!(life.then(officer(1), Act::Resume).phase(), Phase::Active);
    let ended = Life::drafted().requested().approved().revoked().restored().at(NOW);
    assert_eq!(ended.phase(), Phase::Revoked);
    assert_eq!(Life::drafted().requested().restored().phase(), Phase::Requested);
}

#[test]
fn revoking_twice_is_revoking_once() {
    let life = Life::drafted().requested().approved().at(NOW);
    let command = life.command(officer(1), Act::Revoke);
    let revoked = Life { it: life.apply(&command).unwrap().agreement, ..life };
    assert_eq!(revoked.apply(&command).unwrap(), Applied { agreement: revoked.it.clone(), event: None });
    // Another officer, who has not heard of it.
    let second = Command { on: 0, ..revoked.command(officer(2), Act::Revoke) };
    assert_eq!(revoked.apply(&second).unwrap(), Applied { agreement: revoked.it.clone(), event: None });
    assert_eq!(revoked.phase(), Phase::Revoked);
}

#[test]
fn what_ended_never_opens_again() {
    let begun = Life::drafted().requested();
    let in_force = begun.clone().approved().at(NOW);
    let ended = [
        in_force.clone().revoked(),
        in_force.clone().relinquished(),
        in_force.clone().at(UNTIL),
        in_force.suspended(Party::Alliance).at(UNTIL),
        begun.clone().rejected(),
        begun.withdrawn(),
    ];
    let acts = [
        (officer(1), Act::Approve { page: page() }),
        (officer(1), Act::Resume),
        (officer(1), Act::Narrow { terms: narrower() }),
        (officer(1), Act::Amend { terms: wider() }),
        (asker(), Act::Amend { terms: wider() }),
        (asker(), Act::Send { page: page() }),
        (asker(), Act::Accept { page: page() }),
        (alliance(), Act::Resume),
    ];
    for life in ended {
        let phase = life.phase();
        assert!(phase.is_end(), "{phase}");
        for (actor, act) in &acts {
            assert_eq!(life.attempt(actor.clone(), act.clone()), Err(Refusal::Ended { phase }), "{}", act.as_str());
        }
        let suspended = life.attempt(alliance(), Act::Suspend).unwrap();
        assert_eq!(suspended, Applied { agreement: life.it.clone(), event: None });
    }
}

#[test]
fn the_grantee_attests_once_it_is_over() {
    let active = Life::drafted().requested().approved().at(NOW);
    assert_eq!(active.attempt(asker(), Act::Attest), Err(Refusal::NotNow { phase: Phase::Active }));
    for over in [active.clone().revoked(), active.clone().relinquished(), active.clone().at(UNTIL)] {
        assert_eq!(over.attempt(officer(1), Act::Attest), Err(Refusal::NoSay));
        let attested = over.then(asker(), Act::Attest);
        assert_eq!(attested.it.attested_us, Some(attested.now_us - 1));
        assert_eq!(attested.attempt(asker(), Act::Attest).unwrap().event, None);
    }
}

#[test]
fn nobody_sees_which_firm_of_a_group_declined() {
    let firms = ["hanbit", "daeyang", "saesol"].map(firm);
    let drafts = Agreement::drafts_to(firms, &firm("saesol"), &bucketed_terms());
    let asked: Vec<_> = drafts.iter().map(|it| it.grantor.as_str()).collect();
    assert_eq!(asked, ["hanbit", "daeyang"], "each firm answers alone, and the asker is not asked");
    let life = Life { it: drafts.into_iter().next().unwrap(), ..Life::drafted() }.requested();
    let declined = life.clone().rejected();
    assert_eq!(declined.phase(), Phase::Rejected);
    let seen = |life: &Life, party| (life.it.phase_for(party, life.now_us), life.it.revision);
    assert_eq!(seen(&declined, Party::Grantor).0, Phase::Rejected);
    // Whatever the asker looks at or tries is the same as with a firm that has not answered.
    assert_eq!(seen(&declined, Party::Grantee), seen(&life, Party::Grantee));
    assert_eq!(seen(&declined, Party::Alliance), seen(&life, Party::Alliance));
    for act in [
        Act::Counter { terms: narrower() },
        Act::Accept { page: page() },
        Act::Amend { terms: wider() },
        Act::Relinquish,
        Act::Attest,
        Act::Withdraw,
    ] {
        let answer = |life: &Life| life.attempt(asker(), act.clone()).map(|it| it.event);
        assert_eq!(answer(&declined), answer(&life), "{}", act.as_str());
    }
    assert_eq!(declined.attempt(officer(1), Act::Approve { page: page() }).unwrap_err().code(), "ended");
}

#[test]
fn a_group_acts_by_its_coordinator() {
    let grantee = Grantee::Group { group: group("moulds"), roster: 1 };
    let it = Agreement::draft(ConsentId::numbered(1), firm("hanbit"), grantee, Party::Grantee, bucketed_terms());
    let coordinator = firm("saesol");
    let officers = officers();
    let act = |actor: Actor, coordinator| {
        let command = Command { key: CommandId::random(), on: 0, actor, act: Act::Send { page: page() } };
        let situation = Situation { officers: &officers, coordinator, page: page(), commit: 0, now_us: NOW };
        it.apply(&command, &situation).map(|applied| applied.event)
    };
    assert_eq!(act(asker(), Some(&coordinator)), Ok(Some(Event::Requested)));
    assert_eq!(act(actor(31, Role::Member, Some("daeyang")), Some(&coordinator)), Err(Refusal::NoSay));
    assert_eq!(act(asker(), None), Err(Refusal::NoSay), "a coordinator that is not known is nobody");
}
