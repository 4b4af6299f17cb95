use super::*;

const A: Digest = [1; 16];
const B: Digest = [2; 16];

fn owed(ledger: &mut Ledger) -> Vec<u16> {
    std::iter::from_fn(|| {
        let packet_id = ledger.owed()?;
        ledger.acknowledged();
        Some(packet_id)
    })
    .collect()
}

fn connected() -> Ledger {
    let mut ledger = Ledger::default();
    ledger.connected(false);
    ledger
}

#[test]
fn nothing_is_acknowledged_before_it_is_synced() {
    let mut ledger = connected();
    for (packet_id, ticket) in [(5, 1), (6, 2), (7, 3)] {
        assert_eq!(ledger.arrived(packet_id, false, A), Verdict::New);
        ledger.sent(packet_id, A, ticket);
    }
    assert!(owed(&mut ledger).is_empty());
    ledger.synced(2);
    assert_eq!(owed(&mut ledger), [5, 6]);
    ledger.synced(3);
    assert_eq!(owed(&mut ledger), [7]);
}

#[test]
fn what_needs_no_record_is_acknowledged_at_once() {
    let mut ledger = connected();
    assert_eq!(ledger.arrived(5, false, A), Verdict::New);
    ledger.sent(5, A, 0);
    assert_eq!(owed(&mut ledger), [5]);
}

#[test]
fn a_redelivery_of_what_waits_is_acknowledged_once_it_is_synced() {
    let mut ledger = connected();
    ledger.sent(5, A, 1);
    ledger.connected(true);
    assert_eq!(ledger.arrived(5, true, A), Verdict::Known);
    assert!(owed(&mut ledger).is_empty());
    ledger.synced(1);
    assert_eq!(owed(&mut ledger), [5]);
}

#[test]
fn what_was_synced_while_away_is_acknowledged_when_it_comes_again() {
    let mut ledger = connected();
    ledger.sent(5, A, 1);
    ledger.connected(true);
    ledger.synced(1);
    assert!(owed(&mut ledger).is_empty(), "this connection has not delivered it");
    assert_eq!(ledger.arrived(5, true, A), Verdict::Known);
    assert_eq!(owed(&mut ledger), [5]);
}

#[test]
fn a_lost_acknowledgement_is_given_again_and_the_message_not_sent_on() {
    let mut ledger = connected();
    ledger.sent(5, A, 1);
    ledger.synced(1);
    assert_eq!(owed(&mut ledger), [5]);
    ledger.connected(true);
    assert_eq!(ledger.arrived(5, true, A), Verdict::Known);
    assert_eq!(owed(&mut ledger), [5]);
}

#[test]
fn a_packet_id_may_be_used_again() {
    let mut ledger = connected();
    ledger.sent(5, A, 1);
    ledger.synced(1);
    assert_eq!(owed(&mut ledger), [5]);
    assert_eq!(ledger.arrived(5, false, A), Verdict::New, "not a redelivery: the same state, a second time");
    ledger.sent(5, A, 2);
    assert_eq!(ledger.arrived(5, true, B), Verdict::New, "another payload is another message");
}

#[test]
fn a_redelivery_to_a_lost_session_is_new() {
    let mut ledger = connected();
    ledger.sent(5, A, 1);
    ledger.connected(false);
    assert_eq!(ledger.arrived(5, true, A), Verdict::New);
}

#[test]
fn an_answered_ping_confirms_what_was_written_before_it() {
    let mut ledger = connected();
    ledger.sent(5, A, 1);
    ledger.sent(6, A, 2);
    ledger.synced(2);
    assert_eq!(owed(&mut ledger), [5, 6]);
    ledger.written();
    ledger.ping();
    ledger.written();
    ledger.pong();
    ledger.connected(true);
    assert_eq!(ledger.arrived(5, true, A), Verdict::New, "its acknowledgement was seen, so this is another message");
    assert_eq!(ledger.arrived(6, true, A), Verdict::Known);
}

#[test]
fn entries_of_an_old_connection_do_not_pile_up() {
    let mut ledger = connected();
    ledger.sent(5, A, 1);
    ledger.connected(true);
    ledger.ping();
    ledger.pong();
    assert!(ledger.entries.is_empty());
}
