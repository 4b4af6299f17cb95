//! Consents with their whole life, officers, groups and rules: the same on every engine.

use std::collections::{BTreeMap, BTreeSet};

use sandan_proto::id::{FirmId, GroupId};

use super::control::{ControlEngine, add_firms, by, firm};
use crate::audit::{Chain, Kind};
use crate::auth::{FIRM_ROLES, Member, Principal, Secret, TokenHash, TokenKind};
use crate::consent::{
    AccessWindow, Act, Actor, Agreed, Agreement, AllianceRule, Command, Event, EventWindow, Grantee, Group, GroupKind,
    Hold, Identity, Layer, Membership, OfficerDeed, Officers, OnwardUse, PageHash, Party, Phase, Prohibition, Purpose,
    Relation, Role, Run, SharedForm, Situation, Standing, Status, StoredTerms, Terms,
};
use crate::id::{CommandId, ConsentId, MemberId, PersonId};
use crate::store::control::{
    Change, Control, ControlError, Means, Restored, Revocations, RunEntry, RunPlace, SharingChange, Stamp, Undone,
};
use crate::store::holdings::Holdings;
use crate::time::DAY_US;

/// A test for each case, over one engine.
macro_rules! conform_sharing {
    ($engine:ty) => {
        crate::store::conformance::sharing::conform_sharing! { @cases $engine =>
            an_agreement_is_kept_through_its_life_in_the_logs_of_both_firms,
            of_two_who_save_the_same_revision_one_is_told_to_look_again,
            what_the_asker_may_not_know_is_not_in_its_log,
            an_agreement_that_cannot_be_read_is_shown_as_such_and_denies,
            a_restore_holds_agreements_and_brings_no_revoked_one_back,
            a_first_officer_comes_by_a_link_that_works_once,
            a_firm_with_a_first_officer_again_has_its_consents_held,
            a_group_reaches_whom_its_rosters_say_and_every_epoch_moves_with_it,
            rules_and_closed_firms_are_in_the_snapshot,
            runs_are_found_by_time_and_by_customer,
            of_a_quota_used_by_many_at_once_every_row_counts,
            an_erased_firm_leaves_no_agreement_no_officer_and_no_run,
        }
    };
    (@cases $engine:ty => $($case:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                crate::store::conformance::sharing::$case::<$engine>().await;
            }
        )+
    };
}
pub(crate) use conform_sharing;

const PAGE: &str = "00000000000000000000000000000000000000000000000000000000000000aa";

/// Two firms, a member of each, an operator, and one consent, as builds of layout 3 stored them.
/// A byte string is written in the engine's way.
pub(crate) fn of_layout_3(bytes: impl Fn(&str) -> String) -> String {
    let rows = ["11", "22", "33"]
        .iter()
        .fold(OF_LAYOUT_3.to_owned(), |rows, hash| rows.replace(&format!("<{hash}>"), &bytes(&hash.repeat(32))));
    rows.trim().to_owned()
}

const OF_LAYOUT_3: &str = r#"
INSERT INTO firm (id, name_ko, name_en, added_us, epoch) VALUES ('hanbit', '한빛금형', 'Hanbit Mould', 1, 4);
INSERT INTO firm (id, name_ko, name_en, added_us) VALUES ('saesol', '새솔열처리', 'Saesol Heat', 1);
INSERT INTO member (id, firm, name, token_hash, added_us, revoked_us)
VALUES ('00000000-0000-0000-0000-000000000001', 'hanbit', '김하늘', <11>, 2, NULL);
INSERT INTO member (id, firm, name, token_hash, added_us, revoked_us)
VALUES ('00000000-0000-0000-0000-000000000002', 'saesol', '이바다', <22>, 2, 3);
INSERT INTO operator (id, name, token_hash, added_us)
VALUES ('00000000-0000-0000-0000-000000000003', '관제실', <33>, 2);
INSERT INTO consent (id, grantor, grantee, terms, granted_us) VALUES ('00000000-0000-0000-0000-000000000004', 'hanbit',
'saesol', '{"version":1,"assets":["press-1"],"metrics":["press_force"],"form":"raw","event":{"from_us":null,"to_us":null},"access":{"not_before_us":0,"until_us":9000}}', 5);
"#;

pub(crate) async fn assert_layout_3_stays(control: &dyn Control) {
    let members = control.members().await.unwrap();
    let known: Vec<_> = members.iter().map(|it| (it.name.as_str(), it.role, it.until_us, it.revoked_us)).collect();
    assert_eq!(known, [("김하늘", Role::Member, None, None), ("이바다", Role::Member, None, Some(3))]);
    assert_eq!(control.operators().await.unwrap()[0].role, Role::Operator);
    let snapshot = control.snapshot(&firm("hanbit"), 10).await.unwrap();
    assert_eq!((snapshot.epoch(), snapshot.grants().len()), (4, 1));
    assert_eq!((snapshot.grants()[0].status, snapshot.grants()[0].mark), (Status::Active, None));
    assert!(matches!(snapshot.grants()[0].terms, StoredTerms::Known(_)));
    assert_eq!(control.officers(&firm("hanbit")).await.unwrap(), Officers::default());
    // What is new works beside it.
    agree(control, None).await;
    assert_eq!(control.snapshot(&firm("hanbit"), 10).await.unwrap().grants().len(), 2);
}

fn page() -> PageHash {
    PAGE.parse().unwrap()
}

fn at(now_us: i64) -> Stamp {
    Stamp { now_us, ..by() }
}

fn token() -> TokenHash {
    Secret::mint(TokenKind::Member).unwrap().hash()
}

/// For quality, of the runs of a customer if there is one, with a quota.
fn terms(runs_of: Option<&str>) -> Terms {
    let agreed = Agreed {
        dictionary: 1,
        identity: Identity::Named,
        relation: Relation::Customer,
        reason: "치수 불량의 원인".into(),
        holders: ["품질팀".to_owned()].into(),
        return_by_us: 100 * DAY_US,
        minimum_age_us: 0,
        runs_of: runs_of.map(Into::into),
        late_data: true,
        purposes: [Purpose::Quality].into(),
        onward_use: OnwardUse::Holders,
        quota_rows_per_day: Some(100),
        cohort_floor: None,
    };
    let functions = [crate::consent::Function::Mean].into();
    Terms {
        assets: ["press-1".parse().unwrap()].into(),
        metrics: ["press_force".parse().unwrap()].into(),
        form: SharedForm::Bucketed { floor_us: 60_000_000, functions },
        event: EventWindow { from_us: None, to_us: None },
        access: AccessWindow { not_before_us: 0, until_us: 100 * DAY_US },
        agreed: Some(Box::new(agreed)),
    }
}

pub(crate) fn actor(number: u128, of: &str, role: Role) -> Actor {
    Actor { person: PersonId::numbered(number), role, firm: Some(firm(of)) }
}

/// hanbit's officer.
fn officer() -> Actor {
    actor(1, "hanbit", Role::DataOfficer)
}

/// saesol's member.
fn asker() -> Actor {
    actor(2, "saesol", Role::Member)
}

/// What saesol wants of hanbit, as a draft.
fn draft(id: ConsentId, runs_of: Option<&str>) -> Agreement {
    Agreement::draft(id, firm("hanbit"), Grantee::Firm(firm("saesol")), Party::Grantee, terms(runs_of))
}

/// Carries an act out and saves what came of it.
async fn act(control: &dyn Control, before: &Agreement, by: &Actor, act: Act, now_us: i64) -> Agreement {
    let officers = Officers::new([(officer().person, Standing::Confirmed)]);
    let situation = Situation { officers: &officers, coordinator: None, page: page(), commit: 7, now_us };
    let command = Command { key: CommandId::random(), on: before.revision, actor: by.clone(), act };
    let applied = before.apply(&command, &situation).unwrap();
    let event = applied.event.unwrap();
    save(control, Some(before), &applied.agreement, event, by, now_us).await.unwrap();
    applied.agreement
}

async fn save(
    control: &dyn Control,
    before: Option<&Agreement>,
    after: &Agreement,
    event: Event,
    by: &Actor,
    now_us: i64,
) -> Result<(), ControlError> {
    let change = SharingChange::SaveAgreement {
        before: before.cloned().map(Box::new),
        after: Box::new(after.clone()),
        event,
        actor: by.clone(),
        coordinator: None,
    };
    control.apply(change.into(), Stamp { actor: by.to_string(), now_us }).await
}

/// In force between hanbit and saesol.
pub(crate) async fn agree(control: &dyn Control, runs_of: Option<&str>) -> Agreement {
    let drafted = draft(ConsentId::random(), runs_of);
    save(control, None, &drafted, Event::Drafted, &asker(), 1_000).await.unwrap();
    let sent = act(control, &drafted, &asker(), Act::Send { page: page() }, 1_000).await;
    act(control, &sent, &officer(), Act::Approve { page: page() }, 1_000).await
}

async fn with_firms<E: ControlEngine>() -> E {
    let engine = E::new().await;
    add_firms(engine.control()).await;
    engine
}

async fn kinds(control: &dyn Control, chain: &str) -> Vec<Kind> {
    let log = control.audit(&chain.parse::<Chain>().unwrap(), 0, 1_000).await.unwrap();
    log.into_iter().map(|entry| entry.kind).collect()
}

async fn epochs(control: &dyn Control) -> (u64, u64) {
    (control.epoch(&firm("hanbit")).await.unwrap(), control.epoch(&firm("saesol")).await.unwrap())
}

pub(crate) async fn an_agreement_is_kept_through_its_life_in_the_logs_of_both_firms<E: ControlEngine>() {
    let mut engine = with_firms::<E>().await;
    let drafted = draft(ConsentId::random(), None);
    save(engine.control(), None, &drafted, Event::Drafted, &asker(), 1_000).await.unwrap();
    let sent = act(engine.control(), &drafted, &asker(), Act::Send { page: page() }, 1_000).await;
    assert_eq!(epochs(engine.control()).await, (0, 0), "who only asks moves nothing");
    let agreed = act(engine.control(), &sent, &officer(), Act::Approve { page: page() }, 2_000).await;
    assert_eq!(epochs(engine.control()).await, (1, 0));
    engine.reopen().await;
    let control = engine.control();
    assert_eq!(control.agreement(agreed.id).await.unwrap().as_ref(), Some(&agreed));
    for of in ["hanbit", "saesol"] {
        assert_eq!(control.agreements(&firm(of)).await.unwrap().known, std::slice::from_ref(&agreed));
    }
    let snapshot = control.snapshot(&firm("hanbit"), 3_000).await.unwrap();
    assert_eq!((snapshot.epoch(), snapshot.newest_us, snapshot.grants()), (1, 2_000, &[agreed.grant().unwrap()][..]));
    assert_eq!(snapshot.grants()[0].mark.map(|mark| (mark.at_us, mark.commit)), Some((2_000, 7)));
    let revoked = act(control, &agreed, &officer(), Act::Revoke, 4_000).await;
    assert_eq!(revoked.phase(4_000), Phase::Revoked);
    assert_eq!(epochs(control).await, (2, 0));
    let status = control.snapshot(&firm("hanbit"), 5_000).await.unwrap().grants()[0].status;
    assert_eq!(status, Status::Revoked { at_us: 4_000 });
    let grantor = [Kind::FirmAdded, Kind::ConsentRequested, Kind::ConsentApproved, Kind::ConsentRevoked];
    assert_eq!(kinds(control, "hanbit").await, grantor, "a draft is its author's alone");
    let grantee = [&[Kind::FirmAdded, Kind::ConsentDrafted][..], &grantor[1..]].concat();
    assert_eq!(kinds(control, "saesol").await, grantee);
    let log = control.audit(&Chain::Firm(firm("saesol")), 3, 1).await.unwrap();
    assert_eq!(log[0].actor, officer().to_string());
    assert!(log[0].detail_json().contains(PAGE) && log[0].detail_json().contains("press_force"), "{log:?}");
}

pub(crate) async fn of_two_who_save_the_same_revision_one_is_told_to_look_again<E: ControlEngine>() {
    let engine = with_firms::<E>().await;
    let control = engine.control();
    let agreed = agree(control, None).await;
    let again = save(control, None, &agreed, Event::Drafted, &asker(), 1_000).await;
    assert!(matches!(again, Err(ControlError::Exists { kind: "agreement", .. })), "{again:?}");
    let held = agreed.restored(2_000);
    let revoked = agreed.revoked_before(2_000);
    let save = |after: Agreement, event| {
        let before = agreed.clone();
        async move { save(control, Some(&before), &after, event, &officer(), 2_000).await }
    };
    let (first, second) = tokio::join!(save(held, Event::Suspended), save(revoked, Event::Revoked));
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    let raced = first.and(second).unwrap_err();
    assert_eq!(raced.to_string(), format!("agreement `{}` was changed meanwhile: look at it again", agreed.id));
    assert_eq!(epochs(control).await, (2, 0));
    assert_eq!(kinds(control, "hanbit").await.len(), 4, "what was not done is not logged");
    let grantee = Grantee::Firm(firm("saesol"));
    let unknown = Agreement::draft(ConsentId::random(), firm("nobody"), grantee, Party::Grantee, terms(None));
    let change = SharingChange::SaveAgreement {
        before: None,
        after: Box::new(unknown),
        event: Event::Drafted,
        actor: asker(),
        coordinator: None,
    };
    let missing = control.apply(change.into(), by()).await.unwrap_err();
    assert_eq!(missing.to_string(), "there is no firm `nobody`");
}

pub(crate) async fn what_the_asker_may_not_know_is_not_in_its_log<E: ControlEngine>() {
    let engine = with_firms::<E>().await;
    let control = engine.control();
    let drafted = Agreement::drafts_to([firm("hanbit")], &firm("saesol"), &terms(None)).remove(0);
    save(control, None, &drafted, Event::Drafted, &asker(), 1_000).await.unwrap();
    let sent = act(control, &drafted, &asker(), Act::Send { page: page() }, 1_000).await;
    act(control, &sent, &officer(), Act::Reject, 2_000).await;
    assert_eq!(kinds(control, "hanbit").await, [Kind::FirmAdded, Kind::ConsentRequested, Kind::ConsentRejected]);
    assert_eq!(kinds(control, "saesol").await, [Kind::FirmAdded, Kind::ConsentDrafted, Kind::ConsentRequested]);
    // What the alliance does is in the complex's log too.
    let agreed = agree(control, None).await;
    let alliance = Actor { person: PersonId::numbered(9), role: Role::AllianceAdministrator, firm: None };
    act(control, &agreed, &alliance, Act::Suspend, 3_000).await;
    for chain in ["hanbit", "saesol", "@complex"] {
        assert_eq!(kinds(control, chain).await.last(), Some(&Kind::ConsentSuspended), "{chain}");
    }
}

pub(crate) async fn an_agreement_that_cannot_be_read_is_shown_as_such_and_denies<E: ControlEngine>() {
    let engine = with_firms::<E>().await;
    let control = engine.control();
    let agreed = agree(control, None).await;
    engine.behind(r#"UPDATE agreement SET document = '{"of": "tomorrow",' || substr(document, 2)"#).await;
    let unreadable = control.agreement(agreed.id).await.unwrap_err();
    assert!(matches!(unreadable, ControlError::Unreadable { kind: "agreement", .. }), "{unreadable}");
    let all = control.agreements(&firm("saesol")).await.unwrap();
    assert_eq!((all.known.len(), all.unreadable), (0, vec![agreed.id]));
    let snapshot = control.snapshot(&firm("hanbit"), 0).await.unwrap();
    assert_eq!(snapshot.grants()[0].terms, StoredTerms::Unknown);
    let saved = save(control, Some(&agreed), &agreed.restored(5), Event::Suspended, &officer(), 5).await;
    assert!(matches!(saved, Err(ControlError::Unreadable { .. })), "{saved:?}");
    // One that is in another's place is none either.
    let other = agree(control, None).await;
    let swap = format!("UPDATE agreement SET document = replace(document, '{}', '{}')", other.id, agreed.id);
    engine.behind(&swap).await;
    assert_eq!(control.agreements(&firm("hanbit")).await.unwrap().unreadable.len(), 2);
    // A rule that cannot be read lets nothing be decided.
    engine.behind("UPDATE firm SET house_rule = '{}' WHERE id = 'hanbit'").await;
    assert!(matches!(control.snapshot(&firm("hanbit"), 0).await, Err(ControlError::Unreadable { kind: "rule", .. })));
}

fn restored(revocations: Revocations) -> Restored {
    Restored { why: "a test".into(), timeline: "t".into(), revocations }
}

pub(crate) async fn a_restore_holds_agreements_and_brings_no_revoked_one_back<E: ControlEngine>() {
    let engine = with_firms::<E>().await;
    let control = engine.control();
    let (stays, gone) = (agree(control, None).await, agree(control, None).await);
    let ended = agree(control, None).await;
    act(control, &ended, &asker(), Act::Relinquish, 1_500).await;
    let drafted = draft(ConsentId::random(), None);
    save(control, None, &drafted, Event::Drafted, &asker(), 1_500).await.unwrap();
    let testimony = control.testimony().await.unwrap();
    assert_eq!(testimony.revocations.consents, [(ended.id, 1_500)].into());
    let witness = Revocations { consents: [(gone.id, 1_900), (ended.id, 1_500)].into(), ..Revocations::default() };
    let epoch = control.epoch(&firm("hanbit")).await.unwrap();
    let undone = control.after_restore(restored(witness.clone()), at(3_000)).await.unwrap();
    assert_eq!(undone, Undone { suspended: 1, revoked: 1 });
    assert!(control.epoch(&firm("hanbit")).await.unwrap() > epoch);
    assert_eq!((control.suspended(3_000).await.unwrap(), control.suspended(100 * DAY_US).await.unwrap()), (1, 0));
    let now = async |id| control.agreement(id).await.unwrap().unwrap();
    assert_eq!(now(gone.id).await.phase(3_000), Phase::Revoked);
    assert_eq!(now(ended.id).await.phase(3_000), Phase::Relinquished);
    assert_eq!(now(drafted.id).await, drafted);
    let held = now(stays.id).await;
    assert_eq!(held.holds, BTreeMap::from([(Hold::Restored, 3_000)]));
    for chain in ["hanbit", "saesol"] {
        assert!(kinds(control, chain).await.contains(&Kind::ConsentSuspended), "{chain}");
    }
    assert_eq!(control.after_restore(restored(witness), at(4_000)).await.unwrap(), Undone::default());
    let resumed = act(control, &held, &officer(), Act::Resume, 5_000).await;
    assert_eq!(resumed.phase(5_000), Phase::Active);
    assert_eq!(control.suspended(5_000).await.unwrap(), 0);
}

fn deed(firm: &FirmId, before: &Officers, deed: OfficerDeed, by: &Actor, means: Means) -> Change {
    let (after, event) = before.after(deed, by, 2_000).unwrap();
    let (OfficerDeed::First(person)
    | OfficerDeed::Mint(person)
    | OfficerDeed::Reset(person)
    | OfficerDeed::Confirm(person)
    | OfficerDeed::Remove(person)) = deed;
    SharingChange::Officer { firm: firm.clone(), before: before.clone(), after, event, person, means }.into()
}

async fn link(control: &dyn Control, name: &str) -> TokenHash {
    let link = TokenHash::of(name);
    let change = SharingChange::LinkOfficer { firm: firm("hanbit"), link: link.clone(), expires_us: 5_000 };
    control.apply(change.into(), by()).await.unwrap();
    link
}

pub(crate) async fn a_first_officer_comes_by_a_link_that_works_once<E: ControlEngine>() {
    let engine = with_firms::<E>().await;
    let control = engine.control();
    let of = firm("hanbit");
    let (old, new) = (link(control, "a").await, link(control, "b").await);
    let by_link = |link: &TokenHash, token: &TokenHash| Means::ByLink {
        link: link.clone(),
        name: "박바다".into(),
        token: token.clone(),
    };
    let none = Officers::default();
    let (first, tokens) = (officer().person, [token(), token(), token()]);
    let spent = control.apply(deed(&of, &none, OfficerDeed::First(first), &officer(), by_link(&old, &tokens[0])), by());
    assert!(matches!(spent.await, Err(ControlError::Spent)), "a newer link ends the older one");
    let change = deed(&of, &none, OfficerDeed::First(first), &officer(), by_link(&new, &tokens[0]));
    control.apply(change.clone(), at(2_000)).await.unwrap();
    assert_eq!(control.officer_link(&new).await.unwrap().unwrap().used_us, Some(2_000));
    assert!(matches!(control.apply(change, at(2_000)).await, Err(ControlError::Raced { kind: "officers", .. })));
    let (_, principal) = control.principal(&tokens[0]).await.unwrap().unwrap();
    let member =
        Member {
            id: first.into(), firm: of.clone(), name: "박바다".into(), role: Role::DataOfficer, until_us: None
        };
    assert_eq!(principal, Principal::Member(member));
    let one = control.officers(&of).await.unwrap();
    assert!(one.approves(first));
    // The second waits until the first confirms it; a reset ends the token before.
    let second = PersonId::numbered(5);
    let mint = Means::New { name: "김하늘".into(), token: tokens[1].clone() };
    control.apply(deed(&of, &one, OfficerDeed::Mint(second), &officer(), mint), by()).await.unwrap();
    let two = control.officers(&of).await.unwrap();
    assert_eq!((two.approving(), two.standing(second)), (1, Some(Standing::Waiting { since_us: 2_000 })));
    control.apply(deed(&of, &two, OfficerDeed::Confirm(second), &officer(), Means::Unchanged), by()).await.unwrap();
    let both = control.officers(&of).await.unwrap();
    let reset = deed(&of, &both, OfficerDeed::Reset(second), &officer(), Means::Token(tokens[2].clone()));
    control.apply(reset, by()).await.unwrap();
    assert!(control.principal(&tokens[1]).await.unwrap().is_none());
    assert!(control.principal(&tokens[2]).await.unwrap().is_some());
    // One whose token is revoked approves nothing, and is not confirmed again.
    control.apply(Change::RevokeMember { id: MemberId::from(first), firm: of.clone() }, at(2_000)).await.unwrap();
    let left = control.officers(&of).await.unwrap();
    assert_eq!(left.approving(), 0);
    let log = kinds(control, "hanbit").await;
    let expected = [
        Kind::OfficerFirst,
        Kind::TokenMinted,
        Kind::OfficerMinted,
        Kind::TokenMinted,
        Kind::OfficerConfirmed,
        Kind::OfficerReset,
        Kind::TokenMinted,
        Kind::MemberRevoked,
    ];
    assert_eq!(log[3..], expected);
    assert!(FIRM_ROLES.contains(&Role::DataOfficer));
}

pub(crate) async fn a_firm_with_a_first_officer_again_has_its_consents_held<E: ControlEngine>() {
    let engine = with_firms::<E>().await;
    let control = engine.control();
    let of = firm("hanbit");
    let agreed = agree(control, None).await;
    let short = ConsentId::random();
    control.apply(super::control::grant(short), by()).await.unwrap();
    // Of the officers of before none approves any more.
    let gone = Officers::new([(PersonId::numbered(4), Standing::Waiting { since_us: 0 })]);
    let json = serde_json::to_string(&gone).unwrap();
    engine.behind(&format!("UPDATE firm SET officers = '{json}' WHERE id = 'hanbit'")).await;
    let link = link(control, "a").await;
    let means = Means::ByLink { link, name: "박바다".into(), token: token() };
    let epoch = control.epoch(&of).await.unwrap();
    let again = deed(&of, &gone, OfficerDeed::First(officer().person), &officer(), means);
    assert!(again.takes_away());
    control.apply(again, at(2_000)).await.unwrap();
    assert!(control.epoch(&of).await.unwrap() > epoch);
    let held = control.agreement(agreed.id).await.unwrap().unwrap();
    assert_eq!(held.phase(2_000), Phase::Suspended);
    let statuses: Vec<_> = control.snapshot(&of, 2_000).await.unwrap().grants().iter().map(|it| it.status).collect();
    assert_eq!(statuses, [Status::Suspended { since_us: 2_000 }; 2]);
}

fn group(firms: &[&str]) -> Group {
    Group::new(GroupKind::ValueChain, firm("hanbit"), firms.iter().map(|id| firm(id)).collect())
}

pub(crate) async fn a_group_reaches_whom_its_rosters_say_and_every_epoch_moves_with_it<E: ControlEngine>() {
    let engine = with_firms::<E>().await;
    let control = engine.control();
    let id = GroupId::new("mould-chain").unwrap();
    let save_group = |before: Option<&Group>, after: &Group| {
        SharingChange::SaveGroup { id: id.clone(), before: before.cloned(), after: after.clone() }.into()
    };
    let unknown = control.apply(save_group(None, &group(&["hanbit", "nobody"])), by()).await.unwrap_err();
    assert_eq!(unknown.to_string(), "there is no firm `nobody`");
    let first = group(&["hanbit"]);
    control.apply(save_group(None, &first), by()).await.unwrap();
    let alliance = Actor { person: PersonId::numbered(9), role: Role::AllianceAdministrator, firm: None };
    let second = first.after(&Membership::Join(firm("saesol")), &alliance).unwrap();
    control.apply(save_group(Some(&first), &second), by()).await.unwrap();
    assert_eq!(epochs(control).await, (2, 2));
    let raced = control.apply(save_group(Some(&first), &second), by()).await;
    assert!(matches!(raced, Err(ControlError::Raced { kind: "group", .. })), "{raced:?}");
    assert_eq!(control.groups().await.unwrap(), [(id.clone(), second.clone())].into());
    assert_eq!(kinds(control, "saesol").await.last(), Some(&Kind::GroupChanged));
    assert_eq!(kinds(control, "@complex").await, [Kind::GroupChanged; 2]);
    // A consent to it concerns whoever is or was on a roster.
    let grantee = Grantee::Group { group: id.clone(), roster: 2 };
    let drafted = Agreement::draft(ConsentId::random(), firm("hanbit"), grantee, Party::Grantor, terms(None));
    save(control, None, &drafted, Event::Drafted, &officer(), 1_000).await.unwrap();
    let third = second.after(&Membership::Leave(firm("saesol")), &alliance).unwrap();
    control.apply(save_group(Some(&second), &third), by()).await.unwrap();
    assert_eq!(control.agreements(&firm("saesol")).await.unwrap().known, [drafted]);
    assert_eq!(control.snapshot(&firm("hanbit"), 0).await.unwrap().rules().groups[&id], third);
    let nobody = Grantee::Group { group: GroupId::new("nobody").unwrap(), roster: 1 };
    let drafted = Agreement::draft(ConsentId::random(), firm("hanbit"), nobody, Party::Grantor, terms(None));
    let missing = save(control, None, &drafted, Event::Drafted, &officer(), 1_000).await.unwrap_err();
    assert_eq!(missing.to_string(), "there is no group `nobody`");
}

pub(crate) async fn rules_and_closed_firms_are_in_the_snapshot<E: ControlEngine>() {
    let engine = with_firms::<E>().await;
    let control = engine.control();
    let (hanbit, saesol) = (firm("hanbit"), firm("saesol"));
    assert_eq!(control.alliance_rule().await.unwrap(), AllianceRule::default());
    let prohibition = Prohibition { grantee: Some(saesol.clone()), ..Prohibition::default() };
    let rule = AllianceRule { prohibitions: vec![prohibition], ..AllianceRule::default() };
    control.apply(SharingChange::SetAllianceRule(Box::new(rule.clone())).into(), by()).await.unwrap();
    let house = Layer { floor_us: Some(60_000_000), minimum_age_us: 5 };
    control.apply(SharingChange::SetHouseRule { firm: hanbit.clone(), rule: house }.into(), by()).await.unwrap();
    assert_eq!(epochs(control).await, (2, 1));
    let close = || Change::from(SharingChange::CloseFirm(firm("saesol")));
    control.apply(close(), by()).await.unwrap();
    assert_eq!(control.apply(close(), by()).await.unwrap_err().to_string(), "firm `saesol` is closed already");
    assert_eq!(epochs(control).await, (3, 2));
    let snapshot = control.snapshot(&hanbit, 0).await.unwrap();
    let rules = snapshot.rules();
    assert_eq!((&rules.alliance, rules.house, &rules.closed), (&rule, house, &BTreeSet::from([saesol.clone()])));
    assert_eq!(control.alliance_rule().await.unwrap(), rule);
    assert_eq!(
        (control.house_rule(&hanbit).await.unwrap(), control.house_rule(&saesol).await.unwrap()),
        (house, Layer::default())
    );
    assert_eq!(control.closed_firms().await.unwrap(), [saesol].into());
    assert_eq!(kinds(control, "@complex").await, [Kind::AllianceRuleSet, Kind::FirmClosed]);
    assert_eq!(kinds(control, "hanbit").await, [Kind::FirmAdded, Kind::HouseRuleSet]);
    assert_eq!(kinds(control, "saesol").await, [Kind::FirmAdded, Kind::FirmClosed]);
}

fn run_entry(id: &str, asset: &str, customer: &str, from_us: i64, to_us: Option<i64>) -> RunEntry {
    RunEntry { id: id.into(), run: Run { asset: asset.parse().unwrap(), customer: customer.into(), from_us, to_us } }
}

pub(crate) async fn runs_are_found_by_time_and_by_customer<E: ControlEngine>() {
    let engine = with_firms::<E>().await;
    let control = engine.control();
    let of = firm("hanbit");
    let put = |runs: &[RunEntry]| Change::from(SharingChange::PutRuns { firm: firm("hanbit"), runs: runs.to_vec() });
    let runs = [
        run_entry("L1", "press-1", "saesol", 0, Some(10)),
        run_entry("L2", "press-1", "daehan", 10, Some(20)),
        run_entry("L3", "press-1", "saesol", 20, None),
        run_entry("L1", "press-2", "saesol", 5, Some(15)),
    ];
    control.apply(put(&runs), by()).await.unwrap();
    assert_eq!(control.epoch(&of).await.unwrap(), 1);
    let press = "press-1".parse().unwrap();
    let found =
        async |asset, from_us, to_us, limit| control.runs(&of, asset, from_us, to_us, None, limit).await.unwrap();
    assert_eq!(found(Some(&press), 10, 20, 10).await, runs[1..2], "half-open on both sides");
    assert_eq!(found(Some(&press), 1_000, 2_000, 10).await, runs[2..3], "one that goes on has no end");
    assert_eq!(found(None, 0, 100, 10).await, runs);
    assert_eq!(found(None, 0, 100, 2).await, runs[..2]);
    let place = |it: &RunEntry| RunPlace { asset: it.run.asset.clone(), from_us: it.run.from_us, id: it.id.clone() };
    for (number, run) in runs.iter().enumerate() {
        let rest = control.runs(&of, None, 0, 100, Some(&place(run)), 2).await.unwrap();
        assert_eq!(rest, runs[number + 1..(number + 3).min(runs.len())]);
        assert_eq!(control.run(&of, &run.run.asset, &run.id).await.unwrap().as_ref(), Some(&run.run));
    }
    assert!(control.run(&of, &runs[0].run.asset, "L9").await.unwrap().is_none());
    assert!(control.runs(&firm("saesol"), None, 0, 100, None, 10).await.unwrap().is_empty());
    // Of a snapshot they are those of the customers that consents name.
    assert!(control.snapshot(&of, 0).await.unwrap().rules().runs.is_empty());
    agree(control, Some("saesol")).await;
    let ended = run_entry("L3", "press-1", "saesol", 20, Some(30));
    control.apply(put(std::slice::from_ref(&ended)), by()).await.unwrap();
    let mut known = control.snapshot(&of, 0).await.unwrap().rules().runs.clone();
    known.sort_by_key(|run| (run.from_us, run.to_us));
    assert_eq!(known, [&runs[0], &runs[3], &ended].map(|entry| entry.run.clone()));
    assert_eq!(kinds(control, "hanbit").await.iter().filter(|kind| **kind == Kind::RunsChanged).count(), 2);
}

pub(crate) async fn of_a_quota_used_by_many_at_once_every_row_counts<E: ControlEngine>() {
    const EACH: u64 = 8;
    let mut engine = with_firms::<E>().await;
    let id = agree(engine.control(), None).await.id;
    let at_once = (0..EACH).map(|_| engine.control().use_quota(id, 20, 10));
    let totals: BTreeSet<_> = futures::future::join_all(at_once).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(totals, (1..=EACH).map(|number| number * 10).collect());
    engine.reopen().await;
    let control = engine.control();
    let of = firm("hanbit");
    let used = async |day: i64| control.snapshot(&of, day * DAY_US + 5).await.unwrap().used;
    assert_eq!((used(20).await, used(21).await), ([(id, EACH * 10)].into(), BTreeMap::new()));
    // So does whoever keeps the rest, asked about this consent and one of which nothing was used.
    let other = ConsentId::random();
    let pulse = control.pulse(&of, &[other, id], 20 * DAY_US).await.unwrap();
    let snapshot = control.snapshot(&of, 20 * DAY_US).await.unwrap();
    assert_eq!((pulse.epoch, pulse.newest_us), (snapshot.epoch(), snapshot.newest_us));
    assert_eq!(pulse.used, snapshot.used);
    let nothing = control.pulse(&of, &[], 20 * DAY_US).await.unwrap();
    assert_eq!((nothing.epoch, nothing.used), (snapshot.epoch(), BTreeMap::new()));
    assert_eq!(control.pulse(&firm("nobody"), &[id], 21 * DAY_US).await.unwrap().epoch, 0);
    assert_eq!(control.use_quota(id, 21, 1).await.unwrap(), 1, "each day begins anew");
    assert_eq!(epochs(control).await, (1, 0), "what is used changes no decision of others");
}

pub(crate) async fn an_erased_firm_leaves_no_agreement_no_officer_and_no_run<E: ControlEngine>() {
    let engine = with_firms::<E>().await;
    let control = engine.control();
    let agreed = agree(control, None).await;
    control.use_quota(agreed.id, 0, 1).await.unwrap();
    let runs = vec![run_entry("L1", "press-1", "hanbit", 0, None)];
    let put = SharingChange::PutRuns { firm: firm("saesol"), runs };
    control.apply(put.into(), by()).await.unwrap();
    let json = serde_json::to_string(&Officers::new([(asker().person, Standing::Confirmed)])).unwrap();
    engine.behind(&format!("UPDATE firm SET officers = '{json}' WHERE id = 'saesol'")).await;
    let epoch = control.epoch(&firm("hanbit")).await.unwrap();
    let erase = Change::EraseFirm { id: firm("saesol"), held: Holdings::default() };
    control.apply(erase, at(2_000)).await.unwrap();
    assert!(control.epoch(&firm("hanbit")).await.unwrap() > epoch);
    assert_eq!(control.agreement(agreed.id).await.unwrap(), None);
    for of in ["hanbit", "saesol"] {
        let all = control.agreements(&firm(of)).await.unwrap();
        assert_eq!((all.known.len(), all.unreadable.len()), (0, 0), "{of}");
    }
    assert!(control.snapshot(&firm("hanbit"), 0).await.unwrap().grants().is_empty());
    assert!(control.runs(&firm("saesol"), None, 0, 100, None, 10).await.unwrap().is_empty());
    assert_eq!(control.officers(&firm("saesol")).await.unwrap(), Officers::default());
    assert_eq!(control.closed_firms().await.unwrap(), [firm("saesol")].into());
    assert_eq!(control.testimony().await.unwrap().revocations.consents, [(agreed.id, 2_000)].into());
}
