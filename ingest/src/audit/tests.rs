use super::*;

fn log(count: u64) -> Vec<Entry> {
    let mut head = Head::EMPTY;
    (0..count)
        .map(|at| {
            let draft = Draft::new(Chain::Firm(FirmId::new("hanbit").unwrap()), Kind::ReadStarted, "member 1")
                .with("rows", i64::try_from(at).unwrap())
                .with("consents", vec!["a".to_owned(), "b".to_owned()]);
            let entry = Entry::after(&head, draft, 1_000 * i64::try_from(at).unwrap());
            head = entry.head();
            entry
        })
        .collect()
}

fn verify(entries: &[Entry], head: &Head) -> Result<Head, Broken> {
    let mut verifier = Verifier::new(Chain::Firm(FirmId::new("hanbit").unwrap()));
    for entry in entries {
        verifier.take(entry)?;
    }
    verifier.finish(head)
}

#[test]
fn an_untouched_log_holds_also_after_an_export() {
    let entries = log(5);
    let head = entries[4].head();
    assert_eq!(verify(&entries, &head), Ok(head));
    let exported: Vec<Entry> =
        entries.iter().map(|e| serde_json::from_str(&serde_json::to_string(e).unwrap()).unwrap()).collect();
    assert_eq!(verify(&exported, &head), Ok(head));
    assert_eq!(verify(&[], &Head::EMPTY), Ok(Head::EMPTY));
}

#[test]
fn every_change_is_found() {
    let entries = log(5);
    let head = entries[4].head();
    for at in 0..5 {
        let number = at as u64 + 1;
        let touch = |change: &dyn Fn(&mut Entry)| {
            let mut entries = entries.clone();
            change(&mut entries[at]);
            verify(&entries, &head)
        };
        assert_eq!(touch(&|e| e.actor.push('x')), Err(Broken::Changed { number }));
        assert_eq!(touch(&|e| e.time_us += 1), Err(Broken::Changed { number }));
        assert_eq!(touch(&|e| e.kind = Kind::Denied), Err(Broken::Changed { number }));
        assert_eq!(touch(&|e| drop(e.detail.insert("rows".into(), 9.into()))), Err(Broken::Changed { number }));
        let firm = FirmId::new("other").unwrap();
        assert!(matches!(touch(&|e| e.chain = Chain::Firm(firm.clone())), Err(Broken::Chain { .. })));
        // A forger who also computes the hash anew breaks the next link, or the head.
        let forged = touch(&|e| {
            e.actor.push('x');
            e.hash = e.computed_hash();
        });
        assert!(matches!(forged, Err(Broken::Link { .. } | Broken::End { .. })), "{forged:?}");
    }
}

#[test]
fn removed_reordered_and_cut_entries_are_found() {
    let entries = log(5);
    let head = entries[4].head();
    for at in 0..4 {
        let mut removed = entries.clone();
        removed.remove(at);
        assert!(matches!(verify(&removed, &head), Err(Broken::Number { .. })));
        let mut swapped = entries.clone();
        swapped.swap(at, at + 1);
        assert!(matches!(verify(&swapped, &head), Err(Broken::Number { .. })));
    }
    assert_eq!(verify(&entries[..4], &head), Err(Broken::End { found: 4, head: 5 }));
}

#[test]
fn a_clock_set_back_does_not_set_the_log_back() {
    let chain = Chain::Complex;
    let first = Entry::after(&Head::EMPTY, Draft::new(chain.clone(), Kind::OperatorAdded, "command line"), 500);
    let second = Entry::after(&first.head(), Draft::new(chain, Kind::OperatorAdded, "command line"), 100);
    assert_eq!(second.time_us, 500);
}

#[test]
fn fields_cannot_run_into_each_other() {
    let with = |actor: &str, name: &str| {
        Entry::after(&Head::EMPTY, Draft::new(Chain::Complex, Kind::Denied, actor).with(name, "v"), 0).hash
    };
    assert_ne!(with("ab", "c"), with("a", "bc"));
    assert!(Kind::ALL.into_iter().all(|kind| Kind::parse(kind.as_str()) == Some(kind)));
}
