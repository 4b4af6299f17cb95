use proptest::prelude::*;

use super::super::seal::SigningKey;
use super::super::{Draft, Kind};
use super::*;

fn chain(name: &str) -> Chain {
    name.parse().unwrap()
}

fn key() -> SigningKey {
    SigningKey::from_pkcs8(&SigningKey::generate().unwrap()).unwrap()
}

fn log(name: &str, count: u64) -> Vec<Entry> {
    let mut head = Head::EMPTY;
    (0..count)
        .map(|at| {
            let at = i64::try_from(at).unwrap();
            let draft = Draft::new(chain(name), Kind::ReadStarted, "member 1 of firm saesol").with("rows", at);
            let entry = Entry::after(&head, draft, 1_700_000_000_000_000 + at);
            head = entry.head();
            entry
        })
        .collect()
}

fn file(entries: &[Entry]) -> String {
    entries.iter().map(|entry| serde_json::to_string(entry).unwrap() + "\n").collect()
}

fn check(kept: &Kept, text: &str) -> Result<Held, Refuted> {
    kept.check(Some(&mut text.as_bytes()))
}

/// What a member keeps who pulled thrice, and a firm that asked once for the head.
fn kept(key: &SigningKey, entries: &[Entry]) -> Kept {
    let other = log("daon", 3);
    let ends = [(chain("daon"), other[2].head()), (chain("hanbit"), entries[entries.len() - 1].head())];
    let head = key.tree_head("saesol", 1_700_000_060_000_000, ends.iter().map(|(chain, head)| (chain, head)));
    Kept {
        keys: vec![key.public()],
        receipts: [0, entries.len() / 2].iter().map(|at| key.receipt("saesol", &entries[*at])).collect(),
        proofs: vec![Proof::of(head, &ends, 1).unwrap()],
    }
}

#[test]
fn an_untouched_export_holds_whole_and_in_part() {
    let (key, entries) = (key(), log("hanbit", 9));
    let kept = kept(&key, &entries);
    let held = check(&kept, &file(&entries)).unwrap();
    assert_eq!((held.first, held.last, held.shown_to), (1, 9, Some(9)));
    let none = Kept::default();
    assert_eq!(check(&none, &file(&entries[3..])).unwrap().first, 4);
    assert_eq!(check(&none, "").unwrap().last, 0);
    assert_eq!(kept.check(None).unwrap().shown_to, Some(9));
}

#[test]
fn what_was_kept_finds_a_cut_end_a_new_log_and_a_file_that_begins_too_late() {
    let (key, entries) = (key(), log("hanbit", 9));
    let kept = kept(&key, &entries);
    let cut = check(&kept, &file(&entries[..8]));
    assert!(matches!(cut, Err(Refuted::CutOff { last: 8, kept: 9 })), "{cut:?}");
    assert!(matches!(check(&kept, ""), Err(Refuted::CutOff { last: 0, .. })));
    assert!(matches!(check(&kept, &file(&entries[2..])), Err(Refuted::Before { first: 3, kept: 1 })));
    // Somebody who holds the whole database writes all of it anew, without one of the reads.
    let mut head = Head::EMPTY;
    let anew: Vec<Entry> = (0..9)
        .map(|at| {
            let draft = Draft::new(chain("hanbit"), Kind::ReadStarted, "member 1 of firm saesol").with("rows", at + 1);
            let entry = Entry::after(&head, draft, 1_700_000_000_000_000 + at);
            head = entry.head();
            entry
        })
        .collect();
    assert!(matches!(check(&kept, &file(&anew)), Err(Refuted::Forked { number: 1 })));
    let foreign = check(&kept, &file(&log("daon", 9)));
    assert!(matches!(foreign, Err(Refuted::Other { .. })), "{foreign:?}");
}

/// Whoever runs the service shows one log to one partner and another to the next, each whole and signed.
#[test]
fn two_logs_of_one_firm_are_found_by_what_their_readers_kept_alone_and_by_either_export() {
    let (key, entries) = (key(), log("hanbit", 9));
    let mut other = entries[..4].to_vec();
    for at in 4..9 {
        let draft = Draft::new(chain("hanbit"), Kind::ReadStarted, "member 2 of firm daon").with("rows", at);
        other.push(Entry::after(&other[other.len() - 1].head(), draft, entries[other.len()].time_us));
    }
    let kept_of = |log: &[Entry], at: usize| Kept {
        keys: vec![key.public()],
        receipts: vec![key.receipt("saesol", &log[at])],
        proofs: Vec::new(),
    };
    for (one, two) in [(&entries, 6), (&other, 6)].map(|(log, at)| (file(log), at)) {
        let mut both = kept_of(&entries, two);
        both.receipts.extend(kept_of(&other, two).receipts);
        assert!(matches!(both.check(None), Err(Refuted::Forked { number: 7 })), "two statements of entry 7");
        assert!(matches!(check(&both, &one), Err(Refuted::Forked { number: 7 })));
        // Of different entries, only the export tells.
        let mut apart = kept_of(&entries, 5);
        apart.receipts.extend(kept_of(&other, two).receipts);
        assert!(apart.check(None).is_ok());
        assert!(matches!(check(&apart, &one), Err(Refuted::Forked { .. })));
    }
    // Before they part, both are the same log.
    let mut before = kept_of(&entries, 3);
    before.receipts.extend(kept_of(&other, 3).receipts);
    assert!(check(&before, &file(&entries)).is_ok() && check(&before, &file(&other)).is_ok());
    // One that shows the end of each log beside the other's middle.
    let mut ends = kept(&key, &entries);
    ends.proofs.extend(kept(&key, &other).proofs);
    assert!(matches!(ends.check(None), Err(Refuted::Forked { number: 9 })));
}

#[test]
fn statements_that_were_changed_or_made_by_another_key_are_refused() {
    let (key, entries) = (key(), log("hanbit", 3));
    let good = kept(&key, &entries);
    let refused = |change: &dyn Fn(&mut Kept)| {
        let mut kept = good.clone();
        change(&mut kept);
        let refused = kept.check(None);
        assert!(matches!(refused, Err(Refuted::Kept { .. })), "{refused:?}");
    };
    refused(&|kept| kept.keys = vec![self::key().public()]);
    refused(&|kept| kept.keys.clear());
    refused(&|kept| kept.receipts[0].number += 1);
    refused(&|kept| kept.receipts[0].time_us += 1);
    refused(&|kept| kept.receipts[0].complex.push('x'));
    refused(&|kept| kept.receipts[0].entry = Hash::NONE);
    refused(&|kept| kept.receipts[0].chain = chain("daon"));
    refused(&|kept| kept.receipts[0].signature = kept.receipts[1].signature);
    refused(&|kept| kept.proofs[0].head.time_us += 1);
    refused(&|kept| kept.proofs[0].head.root = Hash::NONE);
    refused(&|kept| kept.proofs[0].head.chains += 1);
    refused(&|kept| kept.proofs[0].number -= 1);
    refused(&|kept| kept.proofs[0].entry = Hash::NONE);
    refused(&|kept| kept.proofs[0].chain = chain("daon"));
    refused(&|kept| kept.proofs[0].index = 0);
    refused(&|kept| kept.proofs[0].path.clear());
    let text = format!("{:?}", self::key());
    assert!(text.contains("public") && !text.contains("pair"), "{text}");
}

#[test]
fn statements_outlive_a_file_and_say_what_they_are() {
    let (key, entries) = (key(), log("hanbit", 3));
    let kept = kept(&key, &entries);
    let receipt = serde_json::to_string(&kept.receipts[0]).unwrap();
    assert_eq!(serde_json::from_str::<Receipt>(&receipt).unwrap(), kept.receipts[0]);
    let proof = serde_json::to_string(&kept.proofs[0]).unwrap();
    assert_eq!(serde_json::from_str::<Proof>(&proof).unwrap(), kept.proofs[0]);
    assert!(serde_json::from_str::<Receipt>(&proof).is_err());
    assert!(serde_json::from_str::<Receipt>(&receipt.replace("\"number\"", "\"nummer\"")).is_err());
}

/// One thing that a forger does to the lines of an export.
#[derive(Debug, Clone)]
enum Forgery {
    Remove(prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
    Double(prop::sample::Index),
    CutOff(prop::sample::Index),
    /// Another digit or letter at a place of a line.
    Touch(prop::sample::Index, prop::sample::Index, u8),
}

fn forgery() -> impl Strategy<Value = Forgery> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        at().prop_map(Forgery::Remove),
        (at(), at()).prop_map(|(one, other)| Forgery::Swap(one, other)),
        at().prop_map(Forgery::Double),
        at().prop_map(Forgery::CutOff),
        (at(), at(), b'0'..=b'z').prop_map(|(line, place, byte)| Forgery::Touch(line, place, byte)),
    ]
}

fn forge(lines: &mut Vec<String>, forgery: &Forgery) {
    let count = lines.len();
    match forgery {
        Forgery::Remove(at) => drop(lines.remove(at.index(count))),
        Forgery::Swap(one, other) => lines.swap(one.index(count), other.index(count)),
        Forgery::Double(at) => lines.insert(at.index(count), lines[at.index(count)].clone()),
        Forgery::CutOff(at) => lines.truncate(at.index(count)),
        Forgery::Touch(at, place, byte) => {
            let line = &mut lines[at.index(count)];
            let place = place.index(line.len());
            line.replace_range(place..=place, char::from(*byte).encode_utf8(&mut [0; 4]));
        }
    }
}

proptest! {
    /// Whatever is done to an export: what still says the same holds, and nothing else does.
    #[test]
    fn every_forgery_is_found(count in 1_u64..12, forgeries in prop::collection::vec(forgery(), 1..4)) {
        let (key, entries) = (key(), log("hanbit", count));
        let kept = kept(&key, &entries);
        let mut lines: Vec<String> = file(&entries).lines().map(str::to_owned).collect();
        for forgery in &forgeries {
            if !lines.is_empty() {
                forge(&mut lines, forgery);
            }
        }
        let says = |lines: &[String]| lines.iter().map(|line| serde_json::from_str(line)).collect::<Result<Vec<Entry>, _>>();
        let is_same = says(&lines).is_ok_and(|said| said == entries);
        let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        prop_assert_eq!(check(&kept, &text).is_ok(), is_same, "{}", text);
    }

    /// No bytes bring it down.
    #[test]
    fn any_bytes_are_refused_or_hold(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let held = Kept::default().check(Some(&mut bytes.as_slice()));
        prop_assert!(held.is_err() || bytes.is_empty());
    }
}
