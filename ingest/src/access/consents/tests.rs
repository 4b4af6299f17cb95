use std::sync::atomic::Ordering;

use super::rehearsal::MAX_EXAMPLES;
use super::*;
use crate::access::fixture::{BEGIN, Complex, NOW, firm, force};
use crate::access::{AccessError, Chain, Kind, OfficerDone, OfficerTask, Rows};
use crate::auth::{Secret, TokenKind};
use crate::consent::{
    AccessWindow, Agreed, EventWindow, Function, GroupKind, Identity, Membership, OfficerRefusal, OnwardUse, Party,
    Phase, Purpose, Relation, Role, SharedForm, Standing, Terms,
};
use crate::id::PersonId;
use crate::store::control::{Change, Firm};
use crate::time::{DAY_US, HOUR_US, MINUTE_US, SECOND_US};

pub(in crate::access) fn terms(form: SharedForm) -> Terms {
    let agreed = Agreed {
        dictionary: 1,
        identity: Identity::Named,
        relation: Relation::Customer,
        reason: "치수 불량의 원인을 찾기 위해".to_owned(),
        holders: ["품질팀".to_owned()].into(),
        return_by_us: NOW + 60 * DAY_US,
        minimum_age_us: 0,
        runs_of: None,
        late_data: true,
        purposes: [Purpose::Quality].into(),
        onward_use: OnwardUse::Holders,
        quota_rows_per_day: None,
        cohort_floor: None,
    };
    Terms {
        assets: [force().asset].into(),
        metrics: [force().metric].into(),
        form,
        event: EventWindow { from_us: None, to_us: None },
        access: AccessWindow { not_before_us: NOW, until_us: NOW + 30 * DAY_US },
        agreed: Some(Box::new(agreed)),
    }
}

fn minutes() -> SharedForm {
    SharedForm::Bucketed { floor_us: MINUTE_US, functions: [Function::Mean, Function::Max].into() }
}

/// hanbit has two confirmed officers; saesol a member, and a third firm an officer.
struct Stage {
    complex: Complex,
    kim: Actor,
    park: Actor,
    partner: Actor,
    stranger: Actor,
}

async fn first(complex: &Complex, of: &str, name: &str) -> Actor {
    let link = Secret::mint(TokenKind::OfficerLink).unwrap();
    let expires_us = complex.access.now_us() + HOUR_US;
    let change = SharingChange::LinkOfficer { firm: firm(of), link: link.hash(), expires_us };
    complex.access.apply(change.into(), "command line").await.unwrap();
    let link = link.reveal();
    let (for_firm, done) = complex.access.first_officer(&link, name.to_owned()).await.unwrap();
    assert_eq!((for_firm, done.standing), (firm(of), Some(Standing::Confirmed)));
    let again = complex.access.first_officer(&link, "또".to_owned()).await;
    assert!(matches!(again, Err(ConsentError::BadLink)), "a link works once");
    officer(of, done.person)
}

fn officer(of: &str, person: PersonId) -> Actor {
    Actor { person, role: Role::DataOfficer, firm: Some(firm(of)) }
}

impl Stage {
    async fn new() -> Self {
        let complex = Complex::new().await;
        let daeyang = Firm { id: firm("daeyang"), name_ko: "대양".into(), name_en: "Daeyang".into() };
        complex.access.apply(Change::AddFirm(daeyang), "command line").await.unwrap();
        let kim = first(&complex, "hanbit", "김하늘").await;
        let minted =
            complex.access.deal_with_officer(&kim, None, OfficerTask::Mint("박서연".to_owned())).await.unwrap();
        assert!(matches!(minted.standing, Some(Standing::Waiting { .. })));
        complex.access.deal_with_officer(&kim, None, OfficerTask::Confirm(minted.person)).await.unwrap();
        let park = officer("hanbit", minted.person);
        let stranger = first(&complex, "daeyang", "이서준").await;
        let partner = complex.partner.0.acts();
        Self { complex, kim, park, partner, stranger }
    }

    fn access(&self) -> &std::sync::Arc<Access> {
        &self.complex.access
    }

    /// A request of saesol, sent.
    async fn requested(&self, terms: Terms) -> ConsentId {
        let between = Between::Ask { grantor: firm("hanbit"), group: None };
        let wanted = Wanted { key: None, between, terms };
        let drafted = self.access().draft_consent(&self.partner, wanted).await.unwrap();
        let id = drafted[0].id();
        self.signed(&self.partner, id, |page| Act::Send { page }).await.unwrap();
        id
    }

    /// An act under the page that the actor reads.
    async fn signed(&self, by: &Actor, id: ConsentId, act: fn(PageHash) -> Act) -> Result<Seen, ConsentError> {
        let (seen, paper) = self.access().consent_page(by, id).await?;
        let order = Order { key: None, on: Some(seen.agreement().revision), act: act(paper.page.hash) };
        self.access().act_on_consent(by, id, order).await
    }

    async fn act(&self, by: &Actor, id: ConsentId, act: Act) -> Result<Seen, ConsentError> {
        let seen = self.access().consent(by, id).await?;
        let order = Order { key: None, on: Some(seen.agreement().revision), act };
        self.access().act_on_consent(by, id, order).await
    }

    /// A consent in force.
    async fn approved(&self, form: SharedForm) -> ConsentId {
        let raw = form == SharedForm::Raw;
        let id = self.requested(terms(form)).await;
        self.signed(&self.kim, id, |page| Act::Approve { page }).await.unwrap();
        if raw {
            self.signed(&self.park, id, |page| Act::Approve { page }).await.unwrap();
        }
        assert_eq!(self.access().consent(&self.partner, id).await.unwrap().phase, Phase::Active);
        id
    }

    async fn kinds(&self, of: &str) -> Vec<Kind> {
        let log = self.complex.control.audit(&Chain::Firm(firm(of)), 0, 1_000).await.unwrap();
        log.into_iter().map(|entry| entry.kind).collect()
    }
}

#[tokio::test]
async fn a_request_takes_two_officers_for_raw_readings_and_ends_by_revocation() {
    let stage = Stage::new().await;
    let id = stage.requested(terms(SharedForm::Raw)).await;
    let once = stage.signed(&stage.kim, id, |page| Act::Approve { page }).await.unwrap();
    assert_eq!((once.phase, once.proposal().unwrap().approvals.len()), (Phase::Requested, 1));
    let again = stage.signed(&stage.kim, id, |page| Act::Approve { page }).await;
    assert!(matches!(again, Err(ConsentError::Refused(Refusal::SecondOfficer))));
    let active = stage.signed(&stage.park, id, |page| Act::Approve { page }).await.unwrap();
    assert_eq!(active.phase, Phase::Active);
    assert_eq!(active.agreement().in_force.as_ref().unwrap().mark.commit, 1, "the newest that is stored");
    let seen = stage.access().consent(&stage.partner, id).await.unwrap();
    assert_eq!((seen.party, seen.phase), (Party::Grantee, Phase::Active));
    let held = stage.act(&stage.park, id, Act::Suspend).await.unwrap();
    assert_eq!(held.phase, Phase::Suspended);
    assert_eq!(stage.act(&stage.kim, id, Act::Resume).await.unwrap().phase, Phase::Active);
    assert_eq!(stage.act(&stage.kim, id, Act::Revoke).await.unwrap().phase, Phase::Revoked);
    // Once more is nothing more.
    assert_eq!(stage.act(&stage.park, id, Act::Revoke).await.unwrap().phase, Phase::Revoked);
    let late = stage.act(&stage.kim, id, Act::Resume).await;
    assert!(matches!(late, Err(ConsentError::Refused(Refusal::Ended { phase: Phase::Revoked }))));
    assert_eq!(stage.act(&stage.partner, id, Act::Attest).await.unwrap().phase, Phase::Revoked);
    let wanted = [
        Kind::ConsentRequested,
        Kind::ConsentApprovedOnce,
        Kind::ConsentApproved,
        Kind::ConsentSuspended,
        Kind::ConsentResumed,
        Kind::ConsentRevoked,
        Kind::ConsentAttested,
    ];
    let of_consent = |kinds: Vec<Kind>| kinds.into_iter().filter(|kind| wanted.contains(kind)).collect::<Vec<_>>();
    assert_eq!(of_consent(stage.kinds("hanbit").await), wanted);
    assert_eq!(of_consent(stage.kinds("saesol").await), wanted, "both logs hold it");
}

#[tokio::test]
async fn whoever_has_no_part_cannot_tell_a_consent_from_none() {
    let stage = Stage::new().await;
    let between = Between::Ask { grantor: firm("hanbit"), group: None };
    let wanted = Wanted { key: None, between, terms: terms(minutes()) };
    let id = stage.access().draft_consent(&stage.partner, wanted).await.unwrap()[0].id();
    // A draft is its author's alone.
    for by in [&stage.kim, &stage.stranger] {
        assert!(matches!(stage.access().consent(by, id).await, Err(ConsentError::NotFound)));
    }
    stage.signed(&stage.partner, id, |page| Act::Send { page }).await.unwrap();
    assert_eq!(stage.access().consent(&stage.kim, id).await.unwrap().phase, Phase::Requested);
    let order = |act| Order { key: None, on: Some(1), act };
    let trial = || Trial { terms: None, from_us: BEGIN, to_us: NOW, purpose: None };
    for unknown in [id, ConsentId::random()] {
        let stranger = &stage.stranger;
        assert!(matches!(stage.access().consent(stranger, unknown).await, Err(ConsentError::NotFound)));
        assert!(matches!(stage.access().consent_page(stranger, unknown).await, Err(ConsentError::NotFound)));
        for act in [Act::Revoke, Act::Approve { page: PageHash::of(&[]) }, Act::Relinquish] {
            let answer = stage.access().act_on_consent(stranger, unknown, order(act)).await;
            assert!(matches!(answer, Err(ConsentError::NotFound)));
        }
        let tried = stage.access().rehearse_consent(stranger, unknown, trial()).await;
        assert!(matches!(tried, Err(ConsentError::NotFound)));
    }
    for (by, count) in [(&stage.stranger, 0), (&stage.kim, 1), (&stage.partner, 1)] {
        let all = stage.access().consents(by, &Filter::default(), None, 10).await.unwrap();
        assert_eq!((all.consents.len(), all.next), (count, None));
    }
}

#[tokio::test]
async fn what_races_is_decided_again_and_what_takes_away_is_never_too_late() {
    let stage = Stage::new().await;
    let id = stage.approved(minutes()).await;
    let on = Some(stage.access().consent(&stage.kim, id).await.unwrap().agreement().revision);
    let act = |by, on, act| stage.access().act_on_consent(by, id, Order { key: None, on, act });
    // Decided on the same revision, at the same time, by both sides.
    let (suspended, relinquished, narrowed) = tokio::join!(
        act(&stage.kim, None, Act::Suspend),
        act(&stage.partner, None, Act::Relinquish),
        act(&stage.park, on, Act::Narrow { terms: Terms { assets: [force().asset].into(), ..terms(minutes()) } }),
    );
    suspended.unwrap();
    relinquished.unwrap();
    // The same terms are no change; but for that it would have been stale or in time.
    let in_time =
        matches!(&narrowed, Ok(_) | Err(ConsentError::Refused(Refusal::Stale { .. } | Refusal::Ended { .. })));
    assert!(in_time, "{narrowed:?}");
    assert_eq!(stage.access().consent(&stage.kim, id).await.unwrap().phase, Phase::Relinquished);
    let late = act(&stage.kim, on, Act::Resume).await;
    assert!(matches!(late, Err(ConsentError::Refused(Refusal::Stale { .. }))), "{late:?}");
    let unsaid = act(&stage.kim, None, Act::Resume).await;
    assert!(matches!(unsaid, Err(ConsentError::RevisionNeeded)));
}

#[tokio::test]
async fn a_command_and_a_draft_under_the_same_key_are_carried_out_once() {
    let stage = Stage::new().await;
    let key = Some(CommandId::random());
    let draft =
        || Wanted { key, between: Between::Ask { grantor: firm("hanbit"), group: None }, terms: terms(minutes()) };
    let id = stage.access().draft_consent(&stage.partner, draft()).await.unwrap()[0].id();
    assert_eq!(stage.access().draft_consent(&stage.partner, draft()).await.unwrap()[0].id(), id);
    stage.signed(&stage.partner, id, |page| Act::Send { page }).await.unwrap();
    assert_eq!(stage.access().draft_consent(&stage.partner, draft()).await.unwrap()[0].phase, Phase::Requested);
    let (seen, paper) = stage.access().consent_page(&stage.kim, id).await.unwrap();
    let order = || Order { key, on: Some(seen.agreement().revision), act: Act::Approve { page: paper.page.hash } };
    let first = stage.access().act_on_consent(&stage.kim, id, order()).await.unwrap();
    let again = stage.access().act_on_consent(&stage.kim, id, order()).await.unwrap();
    assert_eq!(first.agreement(), again.agreement());
    assert_eq!(stage.kinds("hanbit").await.iter().filter(|kind| **kind == Kind::ConsentApproved).count(), 1);
}

#[tokio::test]
async fn a_group_is_asked_firm_by_firm_and_nobody_sees_who_declined() {
    let stage = Stage::new().await;
    let group: GroupId = GroupId::new("moulds").unwrap();
    let firms = [firm("hanbit"), firm("daeyang"), firm("saesol")];
    let after = Group::new(GroupKind::ValueChain, firm("daeyang"), firms.into());
    let change = SharingChange::SaveGroup { id: group.clone(), before: None, after };
    stage.access().apply(change.into(), "command line").await.unwrap();
    let wanted = Wanted { key: None, between: Between::AskEach(group.clone()), terms: terms(minutes()) };
    let drafted = stage.access().draft_consent(&stage.partner, wanted).await.unwrap();
    assert_eq!(drafted.len(), 2, "each of the others");
    for it in &drafted {
        stage.signed(&stage.partner, it.id(), |page| Act::Send { page }).await.unwrap();
    }
    let of = |grantor: &str| drafted.iter().find(|it| it.agreement().grantor == firm(grantor)).unwrap().id();
    let declined = of("daeyang");
    assert_eq!(stage.act(&stage.stranger, declined, Act::Reject).await.unwrap().phase, Phase::Rejected);
    let (one, other) = (of("hanbit"), declined);
    let seen = async |id| {
        let seen = stage.access().consent(&stage.partner, id).await.unwrap();
        let acts = stage.access().open_acts(&stage.partner, &seen).await.unwrap();
        let page = stage.access().consent_page(&stage.partner, id).await.is_ok();
        (seen.phase, seen.agreement().revision, seen.proposal().map(|it| it.turn), acts, page)
    };
    assert_eq!(seen(one).await, seen(other).await);
    assert!(!stage.kinds("saesol").await.contains(&Kind::ConsentRejected));
    assert!(stage.kinds("daeyang").await.contains(&Kind::ConsentRejected));
    for id in [one, other] {
        assert_eq!(stage.act(&stage.partner, id, Act::Withdraw).await.unwrap().phase, Phase::Withdrawn);
    }
}

#[tokio::test]
async fn a_dry_run_shows_the_grantors_officer_alone_what_would_be_seen_and_grants_nothing() {
    let stage = Stage::new().await;
    let mut wanted = terms(minutes());
    wanted.assets.insert("press-9".parse().unwrap());
    wanted.access.not_before_us = NOW + DAY_US;
    let id = stage.requested(wanted.clone()).await;
    let trial = |from_us, to_us| Trial { terms: None, from_us, to_us, purpose: None };
    let week = trial(NOW - 7 * DAY_US, NOW);
    let found = stage.access().rehearse_consent(&stage.kim, id, week.clone()).await.unwrap();
    let one = &found.series[0];
    assert_eq!((found.grantee.as_str(), one.info.key.clone(), one.rows, one.more), ("saesol", force(), 50, false));
    let Rows::Buckets(rows) = &one.examples else { panic!() };
    assert_eq!((rows.len(), rows[0].start_us, rows[0].mean()), (MAX_EXAMPLES, BEGIN, 29.5));
    assert_eq!(found.assets_without_series.len(), 1);
    // Other terms, as a counter would have them.
    let raw = Trial { terms: Some(terms(SharedForm::Raw)), ..week.clone() };
    assert_eq!(stage.access().rehearse_consent(&stage.kim, id, raw).await.unwrap().series[0].rows, 3_000);
    let other = Trial { purpose: Some(Purpose::Energy), ..week.clone() };
    let none = stage.access().rehearse_consent(&stage.kim, id, other).await.unwrap();
    assert_eq!((none.series[0].rows, none.series[0].reasons[0].code()), (0, "purpose"));
    assert!(matches!(
        stage.access().rehearse_consent(&stage.kim, id, trial(NOW, NOW)).await,
        Err(ConsentError::Trial(_))
    ));
    // The other side learns nothing by it, and nothing is open.
    let tried = stage.access().rehearse_consent(&stage.partner, id, week).await;
    assert!(matches!(tried, Err(ConsentError::Refused(Refusal::NoSay))));
    let request = crate::access::fixture::request("saesol", crate::consent::Form::buckets(MINUTE_US), 0, 600);
    let member = &stage.complex.partner.0;
    assert!(matches!(stage.access().read(member, request, None).await.err(), Some(AccessError::NotFound)));
    let logged = stage.kinds("hanbit").await.iter().filter(|kind| **kind == Kind::ConsentRehearsed).count();
    assert_eq!(logged, 3, "each is in the firm's log");
}

#[tokio::test]
async fn names_of_machines_stand_on_the_page_once_their_owner_put_them_there() {
    let stage = Stage::new().await;
    let id = stage.requested(terms(minutes())).await;
    let text = async |by: &Actor| stage.access().consent_page(by, id).await.unwrap().1;
    let (asked, owners) = (text(&stage.partner).await, text(&stage.kim).await);
    assert!(asked.page.korean.contains("설비: press-1\n") && asked.machines.is_empty(), "{}", asked.page.korean);
    assert_eq!((asked.page.hash, owners.machines.len()), (owners.page.hash, 1), "one page, and the names beside it");
    assert!(asked.papers.is_some());
    let mut finer = terms(minutes());
    finer.access.until_us -= DAY_US;
    stage.act(&stage.kim, id, Act::Counter { terms: finer }).await.unwrap();
    let countered = text(&stage.partner).await;
    assert!(countered.page.korean.contains("설비: 1호 프레스 (press-1)\n"), "{}", countered.page.korean);
    assert!(countered.page.korean.contains("제공하는 업체: 한빛금형 (hanbit)\n"), "{}", countered.page.korean);
    stage.signed(&stage.partner, id, |page| Act::Accept { page }).await.unwrap();
    assert_eq!(text(&stage.kim).await.page.hash, countered.page.hash, "what was accepted is what is approved");
    let active = stage.signed(&stage.kim, id, |page| Act::Approve { page }).await.unwrap();
    let signed: Vec<_> = active.agreement().signatures.iter().rev().take(2).map(|it| it.page).collect();
    assert_eq!(signed, [countered.page.hash; 2]);
    // Another page than the one of now is not approved.
    let id = stage.requested(terms(minutes())).await;
    let order = Order { key: None, on: Some(1), act: Act::Approve { page: countered.page.hash } };
    let other = stage.access().act_on_consent(&stage.kim, id, order).await;
    assert!(matches!(other, Err(ConsentError::Refused(Refusal::OtherPage))));
}

#[tokio::test]
async fn an_offer_under_a_pseudonym_tells_neither_firm_nor_machine() {
    let stage = Stage::new().await;
    let mut veiled = terms(minutes());
    veiled.agreed.as_mut().unwrap().identity = Identity::Pseudonym;
    let wanted = Wanted { key: None, between: Between::Offer(firm("saesol")), terms: veiled };
    let id = stage.access().draft_consent(&stage.kim, wanted).await.unwrap()[0].id();
    stage.signed(&stage.kim, id, |page| Act::Send { page }).await.unwrap();
    let (seen, paper) = stage.access().consent_page(&stage.partner, id).await.unwrap();
    assert!(seen.is_veiled() && seen.grantor().is_none());
    for name in ["hanbit", "한빛", "press-1", "1호"] {
        assert!(!paper.page.korean.contains(name) && !paper.page.english.contains(name), "{name}");
    }
    assert!(!stage.access().consent(&stage.kim, id).await.unwrap().is_veiled());
}

#[tokio::test]
async fn an_officer_who_waits_suspends_and_nothing_else() {
    let stage = Stage::new().await;
    let id = stage.approved(minutes()).await;
    let reset =
        stage.access().deal_with_officer(&stage.kim, None, OfficerTask::Reset(stage.park.person)).await.unwrap();
    assert!(reset.token.is_some() && matches!(reset.standing, Some(Standing::Waiting { .. })));
    let refused = stage.act(&stage.park, id, Act::Revoke).await;
    assert!(matches!(refused, Err(ConsentError::Refused(Refusal::Waiting))));
    assert_eq!(stage.act(&stage.park, id, Act::Suspend).await.unwrap().phase, Phase::Suspended);
    let own = stage.access().deal_with_officer(&stage.park, None, OfficerTask::Confirm(stage.park.person)).await;
    assert!(matches!(own, Err(ConsentError::Officer(OfficerRefusal::NoSay))));
    let OfficerDone { standing, token, .. } =
        stage.access().deal_with_officer(&stage.kim, None, OfficerTask::Confirm(stage.park.person)).await.unwrap();
    assert_eq!((standing, token.is_none()), (Some(Standing::Confirmed), true));
    let names: Vec<_> = stage.access().officers(&stage.kim, None).await.unwrap();
    assert_eq!(names.len(), 2);
    assert!(names.iter().all(|it| it.standing == Standing::Confirmed && !it.name.is_empty()));
    // Another firm's officers are nobody else's to see or change.
    let others = stage.access().officers(&stage.stranger, Some(&firm("hanbit"))).await;
    assert!(matches!(others, Err(ConsentError::NoSay)));
    let others = stage.access().deal_with_officer(&stage.partner, None, OfficerTask::Mint("아무개".to_owned())).await;
    assert!(matches!(others, Err(ConsentError::NoSay)));
}

#[tokio::test]
async fn an_older_clock_does_not_bring_an_ended_consent_back() {
    let stage = Stage::new().await;
    let id = stage.approved(minutes()).await;
    stage.complex.now_us.store(NOW + 31 * DAY_US, Ordering::Relaxed);
    assert_eq!(stage.access().consent(&stage.kim, id).await.unwrap().phase, Phase::Expired);
    stage.complex.now_us.store(NOW + SECOND_US, Ordering::Relaxed);
    let back = stage.act(&stage.kim, id, Act::Suspend).await.unwrap();
    assert_eq!(back.phase, Phase::Expired);
}

#[tokio::test]
async fn rosters_are_changed_by_those_who_run_the_group_and_asked_for_by_its_coordinator() {
    let stage = Stage::new().await;
    let group: GroupId = GroupId::new("moulds").unwrap();
    let after = Group::new(GroupKind::MiniCluster, firm("daeyang"), [firm("daeyang")].into());
    let change = SharingChange::SaveGroup { id: group.clone(), before: None, after };
    stage.access().apply(change.into(), "command line").await.unwrap();
    let join = Membership::Join(firm("saesol"));
    let refused = stage.access().change_roster(&stage.kim, &group, &join).await;
    assert!(matches!(refused, Err(ConsentError::Roster(_))));
    let joined = stage.access().change_roster(&stage.stranger, &group, &join).await.unwrap();
    assert_eq!(joined.newest().unwrap().0, 2);
    let nobody = stage.access().change_roster(&stage.stranger, &group, &Membership::Join(firm("none"))).await;
    assert!(matches!(nobody, Err(ConsentError::NoSuchFirm(_))));
    assert_eq!(stage.complex.control.groups().await.unwrap().len(), 1);
    // Its coordinator asks in its name, and nobody else does.
    let ask = || Wanted {
        key: None,
        between: Between::Ask { grantor: firm("hanbit"), group: Some(group.clone()) },
        terms: terms(minutes()),
    };
    assert!(matches!(stage.access().draft_consent(&stage.partner, ask()).await, Err(ConsentError::NoSay)));
    let id = stage.access().draft_consent(&stage.stranger, ask()).await.unwrap()[0].id();
    stage.signed(&stage.stranger, id, |page| Act::Send { page }).await.unwrap();
    stage.signed(&stage.kim, id, |page| Act::Approve { page }).await.unwrap();
    // A firm of the roster reads under it, and sees what is in force; the rest is its coordinator's.
    let seen = stage.access().consent(&stage.partner, id).await.unwrap();
    assert_eq!((seen.party, seen.phase), (Party::Grantee, Phase::Active));
    let refused = stage.act(&stage.partner, id, Act::Relinquish).await;
    assert!(matches!(refused, Err(ConsentError::Refused(Refusal::NoSay))));
}
