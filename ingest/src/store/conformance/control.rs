//! Firms, gateways, members, consents and the audit log: the same on every engine.

use std::collections::BTreeSet;

use sandan_proto::id::{FirmId, GatewayId};

use crate::audit::{Broken, Chain, Draft, Head, Kind, Verifier};
use crate::auth::{KeyHash, Operator, Principal, Secret, TokenHash, TokenKind};
use crate::consent::{AccessWindow, EventWindow, Role, SharedForm, Status, StoredTerms, Terms};
use crate::id::{ConsentId, MemberId, OperatorId, PersonId};
use crate::store::control::{
    BrowserEntry, BrowserKind, Care, CareKind, Certified, Change, Contact, Control, ControlError, DeskChange, Firm,
    Part, PasswordEntry, Restored, Revocations, Stamp, Undone,
};

/// Control data of an engine, in a place of its own.
pub(crate) trait ControlEngine: Sized {
    /// Data that was never used.
    async fn new() -> Self;
    /// The data.
    fn control(&self) -> &dyn Control;
    /// The process stops and starts.
    async fn reopen(&mut self);
    /// Runs SQL behind its back. The engines have the same tables.
    async fn behind(&self, sql: &str);
}

/// A test for each case, over one engine.
macro_rules! conform_control {
    ($engine:ty) => {
        crate::store::conformance::sharing::conform_sharing!($engine);
        crate::store::conformance::control::conform_control! { @cases $engine =>
            a_token_finds_its_principal_until_it_is_revoked,
            an_invitation_opens_one_enrolment_and_a_replaced_key_is_dead,
            each_grant_and_revocation_raises_the_grantors_epoch_and_is_logged_with_it,
            what_is_missing_or_there_already_is_said_and_leaves_no_entry,
            a_changed_row_is_found_by_the_chain_and_unknown_terms_are_kept_as_unknown,
            every_consent_waits_for_its_grantor_and_what_was_withdrawn_stays_so,
            a_suspended_consent_is_confirmed_once_and_a_revoked_one_never,
            of_many_at_once_each_is_done_once_and_the_chains_hold,
            entries_of_many_tasks_in_random_chains_are_written_in_groups_without_holes,
            lists_are_in_the_same_order,
            a_firm_without_consents_has_an_epoch,
            browsers_passwords_and_what_was_written_down_are_kept_and_go_with_their_people,
            what_alerts_remember_is_kept_by_name_with_its_entries,
        }
    };
    (@cases $engine:ty => $($case:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                crate::store::conformance::control::$case::<$engine>().await;
            }
        )+
    };
}
pub(crate) use conform_control;

pub(crate) fn firm(id: &str) -> FirmId {
    FirmId::new(id).unwrap()
}

pub(crate) fn by() -> Stamp {
    Stamp { actor: "command line".into(), now_us: 1_000 }
}

fn at(now_us: i64) -> Stamp {
    Stamp { now_us, ..by() }
}

pub(crate) async fn add_firms(control: &dyn Control) {
    for id in ["hanbit", "saesol"] {
        let it = Firm { id: firm(id), name_ko: "한빛".into(), name_en: id.into() };
        control.apply(Change::AddFirm(it), by()).await.unwrap();
    }
}

async fn with_firms<E: ControlEngine>() -> E {
    let engine = E::new().await;
    add_firms(engine.control()).await;
    engine
}

pub(crate) fn grant(id: ConsentId) -> Change {
    Change::Grant {
        id,
        grantor: firm("hanbit"),
        grantee: firm("saesol"),
        terms: Terms {
            assets: ["press-1".parse().unwrap()].into(),
            metrics: ["press_force".parse().unwrap()].into(),
            form: SharedForm::Raw,
            event: EventWindow { from_us: None, to_us: None },
            access: AccessWindow { not_before_us: 0, until_us: 9_000 },
            agreed: None,
        },
    }
}

fn gateway_id() -> GatewayId {
    GatewayId::new("hanbit/gw").unwrap()
}

pub(crate) fn invite(token: &TokenHash, added: bool, replace: bool) -> Change {
    Change::InviteGateway { id: gateway_id(), token: token.clone(), expires_us: 5_000, added, replace }
}

fn certified(key: &str) -> Certified {
    Certified {
        id: gateway_id(),
        key: KeyHash::of(key.as_bytes()),
        serial: "4a".into(),
        certificate: vec![1, 2],
        not_after_us: 90_000,
        issuer: [7; 32],
    }
}

fn restored(revocations: Revocations) -> Restored {
    Restored { why: "a test".into(), timeline: "t".into(), revocations }
}

fn token(of: TokenKind) -> TokenHash {
    Secret::mint(of).unwrap().hash()
}

async fn assert_chain_holds(control: &dyn Control, chain: &Chain) -> u64 {
    let head = control.audit_head(chain).await.unwrap();
    let mut verifier = Verifier::new(chain.clone());
    for entry in control.audit(chain, 0, 10_000).await.unwrap() {
        verifier.take(&entry).unwrap();
    }
    verifier.finish(&head).unwrap().number
}

pub(crate) async fn a_token_finds_its_principal_until_it_is_revoked<E: ControlEngine>() {
    let engine = with_firms::<E>().await;
    let control = engine.control();
    let id = OperatorId::random();
    let token = Secret::mint(TokenKind::Operator).unwrap().hash();
    let add = Change::AddOperator { id, name: "관제실".into(), role: Role::Auditor, token: token.clone() };
    control.apply(add, by()).await.unwrap();
    let (stored, principal) = control.principal(&token).await.unwrap().unwrap();
    assert!(stored.matches(&token));
    assert_eq!(principal, Principal::Operator(Operator { id, name: "관제실".into(), role: Role::Auditor }));
    control.apply(Change::RevokeOperator(id), by()).await.unwrap();
    assert!(control.principal(&token).await.unwrap().is_none());
    let again = control.apply(Change::RevokeOperator(id), by()).await.unwrap_err();
    assert_eq!(again.to_string(), format!("operator `{id}` is revoked already"));
}

/// A key is a gateway's from its enrolment until the next one or its revocation, and never again.
pub(crate) async fn an_invitation_opens_one_enrolment_and_a_replaced_key_is_dead<E: ControlEngine>() {
    let engine = with_firms::<E>().await;
    let control = engine.control();
    let apply = async |change| control.apply(change, by()).await;
    let tokens = ["a", "b", "c"].map(TokenHash::of);
    apply(invite(&tokens[0], true, false)).await.unwrap();
    apply(invite(&tokens[1], false, false)).await.unwrap();
    let enrol = |token: &TokenHash, key| Change::EnrolGateway {
        token: token.clone(),
        certified: certified(key),
        replaced: false,
    };
    // A newer invitation ends the older one.
    assert!(matches!(apply(enrol(&tokens[0], "k1")).await, Err(ControlError::Spent)));
    apply(enrol(&tokens[1], "k1")).await.unwrap();
    assert!(matches!(apply(enrol(&tokens[1], "k2")).await, Err(ControlError::Spent)));
    let invitation = control.invitation(&tokens[1]).await.unwrap().unwrap();
    assert_eq!((invitation.used, invitation.released), (Some(certified("k1")), false));
    let key = certified("k1").key;
    assert_eq!(control.keys_in_force(89_999).await.unwrap(), [(gateway_id(), key)].into());
    assert!(control.keys_in_force(90_000).await.unwrap().is_empty());

    apply(Change::RevokeGateway(gateway_id())).await.unwrap();
    assert!(control.keys_in_force(0).await.unwrap().is_empty());
    assert!(matches!(apply(Change::RenewGateway(certified("k1"))).await, Err(ControlError::Revoked { .. })));
    apply(invite(&tokens[2], false, true)).await.unwrap();
    assert!(control.holder(&key).await.unwrap().unwrap().revoked_us.is_some(), "an invitation alone lets nobody in");
    apply(enrol(&tokens[2], "k3")).await.unwrap();
    assert!(!control.holder(&key).await.unwrap().unwrap().current);
    assert_eq!(control.keys_in_force(0).await.unwrap(), [(gateway_id(), certified("k3").key)].into());
    apply(Change::RenewGateway(Certified { not_after_us: 180_000, ..certified("k3") })).await.unwrap();
    assert_eq!(control.gateways().await.unwrap()[0].not_after_us, Some(180_000));
}

pub(crate) async fn each_grant_and_revocation_raises_the_grantors_epoch_and_is_logged_with_it<E: ControlEngine>() {
    let mut engine = with_firms::<E>().await;
    let control = engine.control();
    let id = ConsentId::random();
    control.apply(grant(id), by()).await.unwrap();
    assert_eq!((control.epoch(&firm("hanbit")).await.unwrap(), control.epoch(&firm("saesol")).await.unwrap()), (1, 0));
    let revoke = Change::Revoke { id, grantor: firm("hanbit"), grantee: firm("saesol") };
    control.apply(revoke.clone(), by()).await.unwrap();
    // Twice is an error and changes nothing.
    assert!(matches!(control.apply(revoke, by()).await, Err(ControlError::Revoked { .. })));
    engine.reopen().await;
    let control = engine.control();
    let snapshot = control.snapshot(&firm("hanbit"), 0).await.unwrap();
    assert_eq!((snapshot.epoch(), snapshot.grants().len()), (2, 1));
    assert_eq!(snapshot.grants()[0].status, Status::Revoked { at_us: 1_000 });
    let chain = Chain::Firm(firm("hanbit"));
    let log = control.audit(&chain, 0, 10).await.unwrap();
    let kinds: Vec<_> = log.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Kind::FirmAdded, Kind::ConsentGranted, Kind::ConsentRevoked]);
    assert_eq!(assert_chain_holds(control, &chain).await, 3);
}

pub(crate) async fn what_is_missing_or_there_already_is_said_and_leaves_no_entry<E: ControlEngine>() {
    let engine = with_firms::<E>().await;
    let control = engine.control();
    let token = Secret::mint(TokenKind::Member).unwrap().hash();
    let member = |of| Change::AddMember {
        id: MemberId::random(),
        firm: firm(of),
        name: "김하늘".into(),
        role: Role::FirmStaff,
        until_us: Some(7_000),
        token: token.clone(),
    };
    let missing = control.apply(member("nobody"), by()).await.unwrap_err();
    assert_eq!(missing.to_string(), "there is no firm `nobody`");
    assert_eq!(control.audit_head(&Chain::Firm(firm("nobody"))).await.unwrap(), Head::EMPTY);
    let twice = Change::AddFirm(Firm { id: firm("hanbit"), name_ko: "x".into(), name_en: "x".into() });
    assert_eq!(control.apply(twice, by()).await.unwrap_err().to_string(), "firm `hanbit` exists already");
    control.apply(member("hanbit"), by()).await.unwrap();
    let members = control.members().await.unwrap();
    let known = (members[0].name.as_str(), members[0].role, members[0].until_us);
    assert_eq!(known, ("김하늘", Role::FirmStaff, Some(7_000)));
}

pub(crate) async fn a_changed_row_is_found_by_the_chain_and_unknown_terms_are_kept_as_unknown<E: ControlEngine>() {
    let engine = with_firms::<E>().await;
    let control = engine.control();
    control.apply(grant(ConsentId::random()), by()).await.unwrap();
    engine.behind("UPDATE audit SET actor = 'nobody' WHERE chain = 'hanbit' AND number = 1").await;
    engine.behind(r#"UPDATE consent SET terms = '{"purpose": "research",' || substr(terms, 2)"#).await;
    let chain = Chain::Firm(firm("hanbit"));
    let log = control.audit(&chain, 0, 10).await.unwrap();
    let broken = Verifier::new(chain).take(&log[0]).unwrap_err();
    assert_eq!(broken, Broken::Changed { number: 1 });
    assert_eq!(control.snapshot(&firm("hanbit"), 0).await.unwrap().grants()[0].terms, StoredTerms::Unknown);
}

pub(crate) async fn every_consent_waits_for_its_grantor_and_what_was_withdrawn_stays_so<E: ControlEngine>() {
    let engine = with_firms::<E>().await;
    let control = engine.control();
    let ids = [ConsentId::random(), ConsentId::random(), ConsentId::random()];
    for id in ids {
        control.apply(grant(id), by()).await.unwrap();
    }
    let revoke = |id| Change::Revoke { id, grantor: firm("hanbit"), grantee: firm("saesol") };
    control.apply(revoke(ids[0]), by()).await.unwrap();
    let (member, operator) = (MemberId::random(), OperatorId::random());
    let (members, operators) = (token(TokenKind::Member), token(TokenKind::Operator));
    let add = Change::AddMember {
        id: member,
        firm: firm("saesol"),
        name: "김하늘".into(),
        role: Role::Member,
        until_us: None,
        token: members.clone(),
    };
    control.apply(add, by()).await.unwrap();
    let add =
        Change::AddOperator { id: operator, name: "관제실".into(), role: Role::Operator, token: operators.clone() };
    control.apply(add, by()).await.unwrap();
    let witness = Revocations {
        consents: [(ids[1], 2_000), (ConsentId::random(), 2_000)].into(),
        members: [(member, 2_000)].into(),
        operators: [(operator, 2_000)].into(),
        ..Revocations::default()
    };
    let epoch = control.epoch(&firm("hanbit")).await.unwrap();
    let undone = control.after_restore(restored(witness.clone()), at(3_000)).await.unwrap();
    assert_eq!(undone, Undone { suspended: 1, revoked: 3 });
    let status = control.consents().await.unwrap().into_iter().map(|it| it.status).collect::<Vec<_>>();
    let expected =
        [Status::Revoked { at_us: 1_000 }, Status::Revoked { at_us: 2_000 }, Status::Suspended { since_us: 3_000 }];
    assert_eq!(status, expected);
    assert!(control.epoch(&firm("hanbit")).await.unwrap() > epoch, "open reads decide anew");
    assert!(control.principal(&members).await.unwrap().is_none());
    assert!(control.principal(&operators).await.unwrap().is_none());
    let testimony = control.testimony().await.unwrap();
    assert_eq!(testimony.revocations.consents, [(ids[0], 1_000), (ids[1], 2_000)].into());
    assert_eq!(testimony.revocations.members, witness.members);
    for chain in ["hanbit", "saesol", "@complex"].map(|it| it.parse::<Chain>().unwrap()) {
        let log = control.audit(&chain, 0, 100).await.unwrap();
        assert_eq!(log.last().map(|entry| entry.kind), Some(Kind::StoreRestored), "{chain}");
        assert_eq!(testimony.heads[&chain], log.last().unwrap().head());
    }
    let again = control.after_restore(restored(witness), at(4_000)).await.unwrap();
    assert_eq!(again, Undone::default());
}

pub(crate) async fn a_suspended_consent_is_confirmed_once_and_a_revoked_one_never<E: ControlEngine>() {
    let engine = with_firms::<E>().await;
    let control = engine.control();
    let id = ConsentId::random();
    control.apply(grant(id), by()).await.unwrap();
    let confirm = Change::Confirm { id, grantor: firm("hanbit"), grantee: firm("saesol") };
    let refused = control.apply(confirm.clone(), by()).await.unwrap_err();
    assert_eq!(refused.to_string(), format!("consent `{id}` is not suspended"));
    control.after_restore(restored(Revocations::default()), by()).await.unwrap();
    let epoch = control.epoch(&firm("hanbit")).await.unwrap();
    control.apply(confirm.clone(), by()).await.unwrap();
    assert_eq!(control.consents().await.unwrap()[0].status, Status::Active);
    assert_eq!(control.epoch(&firm("hanbit")).await.unwrap(), epoch + 1);
    let chain = Chain::Firm(firm("hanbit"));
    let log = control.audit(&chain, 0, 100).await.unwrap();
    assert_eq!(log.last().map(|entry| entry.kind), Some(Kind::ConsentConfirmed));
    assert!(matches!(control.apply(confirm.clone(), by()).await, Err(ControlError::NotSuspended { .. })));
    control.after_restore(restored(Revocations::default()), by()).await.unwrap();
    control.apply(Change::Revoke { id, grantor: firm("hanbit"), grantee: firm("saesol") }, by()).await.unwrap();
    assert!(matches!(control.apply(confirm, by()).await, Err(ControlError::Revoked { .. })));
}

/// Who changes something at the same moment as others finds all of it, and no entry is lost or
/// stands twice.
pub(crate) async fn of_many_at_once_each_is_done_once_and_the_chains_hold<E: ControlEngine>() {
    const EACH: usize = 8;
    let engine = with_firms::<E>().await;
    let control = engine.control();
    let id = ConsentId::random();
    control.apply(grant(id), by()).await.unwrap();
    let revoke = || Change::Revoke { id, grantor: firm("hanbit"), grantee: firm("saesol") };
    let revoked = futures::future::join_all((0..EACH).map(|_| control.apply(revoke(), by())));
    let granted = futures::future::join_all((0..EACH).map(|_| control.apply(grant(ConsentId::random()), by())));
    let chains = [Chain::Firm(firm("hanbit")), Chain::Firm(firm("saesol")), Chain::Complex];
    let entry = |number: usize| {
        let draft = Draft::new(chains[number % chains.len()].clone(), Kind::LinkMade, "somebody");
        control.append(draft.with("number", i64::try_from(number).unwrap()), 2_000)
    };
    let appended = futures::future::join_all((0..3 * EACH).map(entry));
    let (revoked, granted, appended) = futures::join!(revoked, granted, appended);
    assert_eq!(revoked.iter().filter(|done| done.is_ok()).count(), 1, "{revoked:?}");
    assert!(revoked.iter().all(|done| matches!(done, Ok(()) | Err(ControlError::Revoked { .. }))));
    assert!(granted.iter().all(Result::is_ok), "{granted:?}");
    let numbers: BTreeSet<_> = appended.into_iter().map(|it| it.unwrap()).map(|it| (it.chain, it.number)).collect();
    assert_eq!(numbers.len(), 3 * EACH);
    let snapshot = control.snapshot(&firm("hanbit"), 0).await.unwrap();
    assert_eq!((snapshot.epoch(), snapshot.grants().len()), (2 + EACH as u64, 1 + EACH));
    let mut entries = 0;
    for chain in &chains {
        entries += assert_chain_holds(control, chain).await;
    }
    // Two firms, the first consent, its end, and the others.
    assert_eq!(entries, 2 + 2 + 4 * EACH as u64);
}

/// 64 tasks write to random chains, some of which nobody has begun, while consents change.
pub(crate) async fn entries_of_many_tasks_in_random_chains_are_written_in_groups_without_holes<E: ControlEngine>() {
    const TASKS: i64 = 64;
    const EACH: i64 = 6;
    let engine = with_firms::<E>().await;
    let control = engine.control();
    let mut state = 64_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let names = ["@complex", "hanbit", "saesol", "daon", "a", "zz-9", "mirae"];
    let chains: Vec<Chain> = names.iter().map(|name| name.parse().unwrap()).collect();
    let plans: Vec<Vec<usize>> = (0..TASKS).map(|_| (0..EACH).map(|_| random(chains.len())).collect()).collect();
    let task = async |task: i64, plan: &[usize]| {
        let mut written = Vec::new();
        for (step, chain) in (0..).zip(plan) {
            let draft = Draft::new(chains[*chain].clone(), Kind::ReadStarted, "member 한빛 of saesol");
            let draft =
                draft.with("task", task).with("step", step).with("assets", vec!["프레스 \0 1".into(), String::new()]);
            written.push(control.append(draft, 2_000 + step).await.unwrap());
        }
        written
    };
    let tasks = futures::future::join_all((0..).zip(&plans).map(|(number, plan)| task(number, plan)));
    let grants = futures::future::join_all((0..4).map(|_| control.apply(grant(ConsentId::random()), by())));
    let (written, granted) = futures::join!(tasks, grants);
    assert!(granted.iter().all(Result::is_ok), "{granted:?}");
    let mut entries = 0;
    for chain in &chains {
        entries += assert_chain_holds(control, chain).await;
        let stored = control.audit(chain, 0, 10_000).await.unwrap();
        for mut task in written.iter().map(|task| task.iter().filter(|entry| entry.chain == *chain).peekable()) {
            // What a task was answered stands there as it was answered, in the task's order.
            for entry in &stored {
                task.next_if_eq(&entry);
            }
            assert_eq!(task.next(), None);
        }
    }
    assert_eq!(entries, 2 + 4 + TASKS.unsigned_abs() * EACH.unsigned_abs());
}

/// By their bytes, whatever the database's language makes of capitals and of Korean.
pub(crate) async fn lists_are_in_the_same_order<E: ControlEngine>() {
    let engine = with_firms::<E>().await;
    let control = engine.control();
    let member = |name: &str| Change::AddMember {
        id: MemberId::random(),
        firm: firm("hanbit"),
        name: name.into(),
        role: Role::Member,
        until_us: None,
        token: token(TokenKind::Member),
    };
    for name in ["한결", "zoe", "Änne", "Bora", "anna", "가람"] {
        control.apply(member(name), by()).await.unwrap();
    }
    let names: Vec<_> = control.members().await.unwrap().into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["Bora", "anna", "zoe", "Änne", "가람", "한결"]);
}

/// A firm that is not there has no consent, and one that is there may have none.
pub(crate) async fn a_firm_without_consents_has_an_epoch<E: ControlEngine>() {
    let engine = with_firms::<E>().await;
    for name in ["hanbit", "nobody"] {
        let snapshot = engine.control().snapshot(&firm(name), 0).await.unwrap();
        assert_eq!((snapshot.epoch(), snapshot.grants().len(), snapshot.grantor()), (0, 0, &firm(name)));
        let stranger = MemberId::random();
        assert_eq!(engine.control().footing(stranger, &firm(name)).await.unwrap(), (false, 0));
    }
    assert_eq!(engine.control().newest_audit_us().await.unwrap(), 1_000);
    assert!(!engine.control().is_witnessed().await.unwrap());
    for _ in 0..2 {
        engine.control().set_witnessed(5).await.unwrap();
    }
    assert!(engine.control().is_witnessed().await.unwrap());
}

pub(crate) async fn browsers_passwords_and_what_was_written_down_are_kept_and_go_with_their_people<E: ControlEngine>() {
    let mut engine = E::new().await;
    let people = [MemberId::random(), MemberId::random()];
    for (id, name) in people.into_iter().zip(["hanbit", "saesol"]) {
        let added = Firm { id: firm(name), name_ko: name.into(), name_en: name.into() };
        engine.control().apply(Change::AddFirm(added), by()).await.unwrap();
        let token = TokenHash::of(&id.to_string());
        let role = Role::DataOfficer;
        let member = Change::AddMember { id, firm: firm(name), name: "김".into(), role, until_us: None, token };
        engine.control().apply(member, by()).await.unwrap();
    }
    let gateway = GatewayId::new("hanbit/gw").unwrap();
    let invited = Change::InviteGateway {
        id: gateway.clone(),
        token: TokenHash::of("invitation"),
        expires_us: 2_000,
        added: true,
        replace: false,
    };
    engine.control().apply(invited, by()).await.unwrap();
    let person = PersonId::from(people[0]);
    let browser = |name: &str, person, begun_us| BrowserEntry {
        hash: TokenHash::of(name),
        kind: BrowserKind::Session,
        person,
        begun_us,
        seen_us: begun_us,
        until_us: 1_000,
    };
    let at = engine.control();
    for (name, begun_us) in [("a", 1), ("b", 2), ("c", 3)] {
        at.open_browser(browser(name, Some(person), begun_us), 2).await.unwrap();
    }
    let link = BrowserEntry { kind: BrowserKind::Link, ..browser("link", None, 4) };
    at.open_browser(link.clone(), 2).await.unwrap();
    assert!(at.browser(&TokenHash::of("a")).await.unwrap().is_none(), "the oldest of three");
    at.saw_browser(&TokenHash::of("b"), 9).await.unwrap();
    at.saw_browser(&TokenHash::of("b"), 8).await.unwrap();
    let password = |person, login: &str, keep: &str| {
        Change::from(DeskChange::SetPassword {
            person,
            chain: Chain::Complex,
            login: login.into(),
            hash: "slow".into(),
            keep: TokenHash::of(keep),
        })
    };
    at.apply(password(person, "kim", "b"), by()).await.unwrap();
    let taken = at.apply(password(people[1].into(), "kim", "x"), by()).await.unwrap_err();
    assert!(matches!(taken, ControlError::Exists { kind: "sign-in name", .. }), "{taken:?}");
    at.apply(password(person, "kim.1", "b"), by()).await.unwrap();
    let contact = |name: &str, phone: &str| {
        let (firm, part) = (firm("hanbit"), Part::Installer);
        Contact { firm, part, name: name.into(), phone: phone.into() }
    };
    let care = |words: &str| Care {
        gateway: gateway.clone(),
        kind: CareKind::Visit,
        words: words.into(),
        name: "김".into(),
        at_us: 5,
    };
    for name in ["박", "이"] {
        at.apply(DeskChange::SetContact(contact(name, "010-1")).into(), by()).await.unwrap();
        at.apply(DeskChange::SetCare(care(name)).into(), by()).await.unwrap();
    }
    let nowhere = Care { gateway: GatewayId::new("hanbit/none").unwrap(), ..care("x") };
    let missing = at.apply(DeskChange::SetCare(nowhere).into(), by()).await.unwrap_err();
    assert!(matches!(missing, ControlError::Missing { kind: "gateway", .. }), "{missing:?}");

    engine.reopen().await;
    let at = engine.control();
    let found = at.browser(&TokenHash::of("b")).await.unwrap();
    assert_eq!(found, Some(BrowserEntry { seen_us: 9, ..browser("b", Some(person), 2) }));
    assert!(at.browser(&TokenHash::of("c")).await.unwrap().is_none(), "another browser of a new password");
    assert_eq!(at.browser(&TokenHash::of("link")).await.unwrap(), Some(link));
    assert!(at.end_browser(&TokenHash::of("link")).await.unwrap());
    assert!(!at.end_browser(&TokenHash::of("link")).await.unwrap(), "of two who use it one does");
    assert!(at.password("kim").await.unwrap().is_none());
    assert_eq!(at.password("kim.1").await.unwrap(), Some(PasswordEntry { person, hash: "slow".into() }));
    assert_eq!(at.login(person).await.unwrap().as_deref(), Some("kim.1"));
    assert!(matches!(at.person(person).await.unwrap(), Some(Principal::Member(it)) if it.role == Role::DataOfficer));
    assert_eq!(at.contacts(None).await.unwrap(), [contact("이", "010-1")]);
    assert_eq!(at.contacts(Some(&firm("saesol"))).await.unwrap(), []);
    assert_eq!(at.cares().await.unwrap().into_values().collect::<Vec<_>>(), [care("이")]);

    at.apply(DeskChange::SetContact(contact("", "")).into(), by()).await.unwrap();
    at.apply(DeskChange::EndCare { gateway, kind: CareKind::Visit }.into(), by()).await.unwrap();
    assert!(at.contacts(None).await.unwrap().is_empty() && at.cares().await.unwrap().is_empty());
    at.end_browsers_of(Some(people[1].into())).await.unwrap();
    assert!(at.browser(&TokenHash::of("b")).await.unwrap().is_some());
    at.apply(Change::RevokeMember { id: people[0], firm: firm("hanbit") }, by()).await.unwrap();
    assert!(at.person(person).await.unwrap().is_none());
    let held = crate::store::Holdings::default();
    at.apply(Change::EraseFirm { id: firm("hanbit"), held }, by()).await.unwrap();
    assert!(at.password("kim.1").await.unwrap().is_none() && at.browser(&TokenHash::of("b")).await.unwrap().is_none());
}

pub(crate) async fn what_alerts_remember_is_kept_by_name_with_its_entries<E: ControlEngine>() {
    let mut engine = with_firms::<E>().await;
    let text = |name: &str, body: Option<&str>| (name.to_owned(), body.map(str::to_owned));
    let rows = vec![text("state/b", Some("2")), text("state/a", Some("1")), text("stately", Some("3"))];
    let draft = Draft::new(Chain::Firm(firm("hanbit")), Kind::AlertMuted, "command line").with("mute", "1");
    engine.control().keep_alerting(rows, vec![draft], 5).await.unwrap();
    engine
        .control()
        .keep_alerting(vec![text("state/a", Some("한글")), text("state/none", None)], vec![], 6)
        .await
        .unwrap();
    engine.reopen().await;
    let control = engine.control();
    let named = |all: &[(&str, &str)]| -> Vec<(String, String)> {
        all.iter().map(|(name, body)| ((*name).to_owned(), (*body).to_owned())).collect()
    };
    assert_eq!(control.alerting("state/").await.unwrap(), named(&[("state/a", "한글"), ("state/b", "2")]));
    control.keep_alerting(vec![text("state/b", None)], vec![], 7).await.unwrap();
    assert_eq!(control.alerting("state/").await.unwrap(), named(&[("state/a", "한글")]));
    let log = control.audit(&Chain::Firm(firm("hanbit")), 0, 10).await.unwrap();
    assert_eq!(log.iter().filter(|entry| entry.kind == Kind::AlertMuted).count(), 1);
}
