//! Who can do what to a consent, in which state it stands.

use super::*;
use crate::consent::tests::life::{Life, actor, bucketed_terms, narrower, officers, page, wider};
use crate::id::{CommandId, PersonId};

pub(crate) fn actors() -> Vec<(&'static str, Actor)> {
    vec![
        ("officer", actor(1, Role::DataOfficer, Some("hanbit"))),
        ("waiting officer", actor(3, Role::DataOfficer, Some("hanbit"))),
        ("removed officer", actor(9, Role::DataOfficer, Some("hanbit"))),
        ("staff", actor(10, Role::FirmStaff, Some("hanbit"))),
        ("installer", actor(11, Role::Installer, Some("hanbit"))),
        ("member", actor(12, Role::Member, Some("hanbit"))),
        ("gateway", actor(13, Role::Gateway, Some("hanbit"))),
        ("grantee's officer", actor(20, Role::DataOfficer, Some("saesol"))),
        ("grantee's member", actor(21, Role::Member, Some("saesol"))),
        ("grantee's staff", actor(22, Role::FirmStaff, Some("saesol"))),
        ("grantee's installer", actor(23, Role::Installer, Some("saesol"))),
        ("another firm's officer", actor(30, Role::DataOfficer, Some("daeyang"))),
        ("another firm's member", actor(31, Role::Member, Some("daeyang"))),
        ("operator", actor(40, Role::Operator, None)),
        ("auditor", actor(41, Role::Auditor, None)),
        ("alliance", actor(42, Role::AllianceAdministrator, None)),
    ]
}

/// A consent in every state that its life has, and when it is looked at.
pub(crate) fn states() -> Vec<(&'static str, Agreement, i64)> {
    let (before, within, after) = (900 * S, 1_500 * S, 2_000 * S);
    let new = Life::drafted;
    let states = vec![
        ("draft", new(), before),
        ("draft of the grantor", Life::offered(), before),
        ("requested", new().requested(), before),
        ("countered", new().requested().countered(), before),
        ("approved", new().requested().approved(), before),
        ("active", new().requested().approved(), within),
        ("active, amendment requested", new().requested().approved().amended(Party::Grantee), within),
        ("active, amendment countered", new().requested().approved().amended(Party::Grantor), within),
        ("suspended", new().requested().approved().suspended(Party::Grantor), within),
        ("suspended by the alliance", new().requested().approved().suspended(Party::Alliance), within),
        ("suspended by a restore", new().requested().approved().restored(), within),
        ("revoked", new().requested().approved().revoked(), within),
        ("expired", new().requested().approved(), after),
        ("rejected", new().requested().rejected(), before),
        ("withdrawn", new().requested().withdrawn(), before),
        ("relinquished", new().requested().approved().relinquished(), within),
    ];
    states.into_iter().map(|(name, life, at_us)| (name, life.it, at_us)).collect()
}

pub(crate) fn acts() -> Vec<(&'static str, Act)> {
    vec![
        ("send", Act::Send { page: page() }),
        ("counter", Act::Counter { terms: bucketed_terms() }),
        ("accept", Act::Accept { page: page() }),
        ("approve", Act::Approve { page: page() }),
        ("reject", Act::Reject),
        ("withdraw", Act::Withdraw),
        ("narrow", Act::Narrow { terms: narrower() }),
        ("narrow to something wider", Act::Narrow { terms: wider() }),
        ("amend", Act::Amend { terms: wider() }),
        ("suspend", Act::Suspend),
        ("resume", Act::Resume),
        ("revoke", Act::Revoke),
        ("relinquish", Act::Relinquish),
        ("attest", Act::Attest),
    ]
}

pub(super) fn table() -> String {
    let mut table = "\
# Who can do what to a consent of hanbit to saesol, in which state: what comes of it, and for whom.
# Roles without a firm are of the complex; the others are of hanbit unless it says otherwise.
"
    .to_owned();
    let officers = officers();
    let mut seen = BTreeSet::new();
    for (name, act) in acts() {
        let _ = write!(table, "\n{name}\n");
        for (state, agreement, now_us) in states() {
            seen.insert(agreement.phase(now_us));
            let mut answers: Vec<(String, Vec<&str>)> = Vec::new();
            for (who, actor) in actors() {
                let key = CommandId::random();
                let command = Command { key, on: agreement.revision, actor, act: act.clone() };
                let situation = Situation { officers: &officers, coordinator: None, page: page(), commit: 50, now_us };
                let answer = match agreement.apply(&command, &situation) {
                    Ok(Applied { event: None, .. }) => "unchanged".to_owned(),
                    Ok(Applied { agreement: after, event: Some(event) }) => {
                        format!("{}, then {}", event.as_str(), after.phase(now_us))
                    }
                    Err(refusal) => format!("no: {}", refusal.code()),
                };
                match answers.iter_mut().find(|(it, _)| *it == answer) {
                    Some((_, by)) => by.push(who),
                    None => answers.push((answer, vec![who])),
                }
            }
            answers.sort_by_key(|(answer, _)| (answer == "no: no_say", answer.starts_with("no")));
            let said = answers.iter().map(|(answer, by)| match answer.as_str() {
                "no: no_say" => "no: no_say (everyone else)".to_owned(),
                answer => format!("{answer} ({})", by.join(", ")),
            });
            let _ = writeln!(table, "  {state:<28} {}", said.collect::<Vec<_>>().join(" · "));
        }
    }
    assert_eq!(seen, Phase::ALL.into(), "a state of its life is not in the matrix");
    table
}

/// The table names everyone who is not named as having no say: nobody else has one.
#[test]
fn people_of_no_role_in_a_consent_never_change_it() {
    let silent = [Role::FirmStaff, Role::Installer, Role::Operator, Role::Auditor, Role::Gateway];
    let officers = Officers::new([(PersonId::numbered(1), Standing::Confirmed)]);
    for role in silent {
        for (_, act) in acts() {
            for (state, agreement, now_us) in states() {
                for firm in [None, Some("hanbit"), Some("saesol")] {
                    // Not even an officer's own person, in another capacity.
                    let command = Command {
                        key: CommandId::random(),
                        on: agreement.revision,
                        actor: actor(1, role, firm),
                        act: act.clone(),
                    };
                    let situation =
                        Situation { officers: &officers, coordinator: None, page: page(), commit: 50, now_us };
                    assert_eq!(agreement.apply(&command, &situation), Err(Refusal::NoSay), "{role} on {state}");
                }
            }
        }
    }
}
