use super::*;
use crate::consent::tests::life::actor;
use crate::id::PersonId;

fn person(number: u128) -> PersonId {
    PersonId::numbered(number)
}

fn officer(number: u128) -> Actor {
    actor(number, Role::DataOfficer, Some("hanbit"))
}

fn alliance() -> Actor {
    actor(42, Role::AllianceAdministrator, None)
}

fn after(officers: &Officers, deed: OfficerDeed, by: &Actor) -> Officers {
    officers.after(deed, by, 7).unwrap().0
}

#[test]
fn the_first_officer_comes_by_a_link_and_the_next_waits_for_it() {
    let none = Officers::default();
    let (one, event) = none.after(OfficerDeed::First(person(1)), &officer(1), 7).unwrap();
    assert_eq!((event, one.approves(person(1))), (OfficerEvent::First, true));
    assert_eq!(one.after(OfficerDeed::First(person(2)), &alliance(), 7), Err(OfficerRefusal::NotFirst));
    let two = after(&one, OfficerDeed::Mint(person(2)), &alliance());
    assert_eq!(two.standing(person(2)), Some(Standing::Waiting { since_us: 7 }));
    // Neither the one who minted nor the minted one can put it in.
    let confirm = OfficerDeed::Confirm(person(2));
    assert_eq!(two.after(confirm, &alliance(), 8), Err(OfficerRefusal::NoSay));
    assert_eq!(two.after(confirm, &officer(2), 8), Err(OfficerRefusal::NoSay));
    let both = after(&two, confirm, &officer(1));
    assert_eq!((both.approving(), both.approves(person(2))), (2, true));
    assert_eq!(both.after(confirm, &officer(1), 9), Err(OfficerRefusal::NotWaiting));
    assert_eq!(both.after(OfficerDeed::Confirm(person(1)), &officer(1), 9), Err(OfficerRefusal::Oneself));
}

#[test]
fn a_reset_officer_approves_nothing_until_an_existing_one_confirms() {
    let both = Officers::new([(person(1), Standing::Confirmed), (person(2), Standing::Confirmed)]);
    let reset = after(&both, OfficerDeed::Reset(person(2)), &alliance());
    assert!(!reset.approves(person(2)));
    assert_eq!(reset.after(OfficerDeed::Confirm(person(2)), &officer(2), 8), Err(OfficerRefusal::NoSay));
    assert!(after(&reset, OfficerDeed::Confirm(person(2)), &officer(1)).approves(person(2)));
    // Whoever resets both is left with nobody who can confirm: a first one comes again, and
    // the firm's consents are held until it has looked at each.
    let none = after(&reset, OfficerDeed::Reset(person(1)), &alliance());
    assert_eq!(none.after(OfficerDeed::Confirm(person(2)), &officer(1), 8), Err(OfficerRefusal::NoSay));
    let (again, event) = none.after(OfficerDeed::First(person(5)), &officer(5), 9).unwrap();
    assert_eq!((event, again.approving()), (OfficerEvent::FirstAgain, 1));
}

#[test]
fn only_officers_and_the_alliance_mint_and_the_last_officer_stays() {
    let one = Officers::new([(person(1), Standing::Confirmed), (person(3), Standing::Waiting { since_us: 0 })]);
    for role in Role::ALL {
        let may = role == Role::AllianceAdministrator;
        // The waiting officer's person, in whatever capacity.
        let by = actor(3, role, Some("hanbit"));
        assert_eq!(one.after(OfficerDeed::Mint(person(4)), &by, 7).is_ok(), may, "{role}");
        assert_eq!(one.after(OfficerDeed::Remove(person(1)), &by, 7), Err(OfficerRefusal::NoSay), "{role}");
    }
    assert_eq!(one.after(OfficerDeed::Mint(person(1)), &officer(1), 7), Err(OfficerRefusal::Exists));
    assert_eq!(one.after(OfficerDeed::Reset(person(9)), &officer(1), 7), Err(OfficerRefusal::Unknown));
    assert_eq!(one.after(OfficerDeed::Remove(person(1)), &officer(1), 7), Err(OfficerRefusal::Last));
    assert!(one.after(OfficerDeed::Remove(person(3)), &officer(1), 7).is_ok());
}

#[test]
fn rosters_have_versions_and_are_changed_by_those_who_run_the_group() {
    let moulds = Group::new(GroupKind::ValueChain, firm("hanbit"), [firm("hanbit"), firm("saesol")].into());
    let join = Membership::Join(firm("daeyang"));
    assert_eq!(moulds.after(&join, &actor(9, Role::DataOfficer, Some("daeyang"))), Err(RosterRefusal::NoSay));
    assert_eq!(moulds.after(&join, &actor(9, Role::Member, Some("hanbit"))), Err(RosterRefusal::NoSay));
    let joined = moulds.after(&join, &officer(1)).unwrap();
    assert_eq!(joined.newest().map(|(version, firms)| (version, firms.len())), Some((2, 3)));
    assert!(!joined.reaches(1, &firm("daeyang")), "joining lets nobody in");
    assert!(joined.reaches(2, &firm("daeyang")));
    assert!(!joined.reaches(3, &firm("daeyang")), "a roster to come is none");
    // A firm leaves by itself, and at once.
    let leave = Membership::Leave(firm("saesol"));
    let left = joined.after(&leave, &actor(20, Role::DataOfficer, Some("saesol"))).unwrap();
    assert!(!left.reaches(1, &firm("saesol")) && !left.reaches(2, &firm("saesol")));
    let again = left.after(&Membership::Join(firm("saesol")), &alliance()).unwrap();
    assert!(!again.reaches(1, &firm("saesol")), "whoever comes back is new");
    assert!(again.reaches(4, &firm("saesol")));
    assert_eq!(left.after(&leave, &alliance()), Err(RosterRefusal::NoMember));
    assert_eq!(left.after(&Membership::Leave(firm("hanbit")), &officer(1)), Err(RosterRefusal::Coordinator));
    assert_eq!(joined.after(&join, &officer(1)), Err(RosterRefusal::Member));
}
