//! Counting what lies in the files.

use super::super::census::take;
use super::slices::{HOUR, work};
use super::*;

#[tokio::test]
async fn the_files_are_counted_by_the_span_packed_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let all = || take(dir.path(), i64::MIN, i64::MAX).unwrap().unwrap();
    assert_eq!((all().readings, all().of_span, all().from_us), (0, 0, None));
    let (mut plant, mut other) = (Plant::new("hanbit/press-hall", "press-1"), Plant::new("daeil/line-1", "furnace-1"));
    plant.connect(&store).await;
    other.connect(&store).await;
    // Four readings every ten seconds.
    work(&mut plant, &store, 0, 4).await;
    work(&mut other, &store, 2, 3).await;
    let late = |hours: i64| take(dir.path(), BOOTED_US + hours * HOUR, BOOTED_US + 24 * HOUR).unwrap().unwrap();
    let seen = || (all().readings, all().from_us, late(24).of_span);
    let hour = 4 * 360;
    assert_eq!(seen(), (5 * hour, Some(BOOTED_US), 0));
    // Of what is packed in columns across the span's beginning, their part of the time: to a reading or two.
    let about = |found: u64, wanted: u64| assert!(found.abs_diff(wanted) <= 20, "{found}, not {wanted}");
    about(late(2).of_span, 3 * hour);
    store.compact(&plant.firm()).await.unwrap();
    assert_eq!(seen(), (5 * hour, Some(BOOTED_US), 0), "one firm is packed");
    about(late(2).of_span, 3 * hour);
    store.compact(&other.firm()).await.unwrap();
    drop(store);
    assert_eq!(seen(), (5 * hour, Some(BOOTED_US), 0), "both are, and nobody writes");
    about(late(2).of_span, 3 * hour);
}

#[tokio::test]
async fn files_of_another_layout_are_not_counted() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(&dir));
    behind(&dir).pragma_update(None, "user_version", 1).unwrap();
    assert_eq!(take(dir.path(), 0, 1).unwrap(), None);
}
