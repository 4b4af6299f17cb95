use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1_000_000;

fn firm(id: &str) -> FirmId {
    FirmId::new(id).unwrap()
}

fn quotas() -> Quotas {
    let own = Rate { readings: 1_000.0, bytes: 1e6 };
    Quotas::new(Rate { readings: 10.0, bytes: 1e6 }, [(firm("daeil"), own)].into())
}

#[test]
fn a_firm_sends_its_burst_and_then_its_rate() {
    let (quotas, hanbit) = (quotas(), firm("hanbit"));
    for _ in 0..100 {
        assert_eq!(quotas.check(&hanbit, 0), Ok(()));
        quotas.spend(&hanbit, 0, 1, 0);
    }
    let (what, delay) = quotas.check(&hanbit, 0).unwrap_err();
    assert_eq!((what, delay), (Exceeded::Readings, Duration::from_millis(1)));
    // Nothing is lent: after a second there are ten again.
    for _ in 0..10 {
        assert_eq!(quotas.check(&hanbit, SECOND), Ok(()));
        quotas.spend(&hanbit, SECOND, 1, 0);
    }
    assert!(quotas.check(&hanbit, SECOND).is_err());
}

#[test]
fn firms_have_buckets_and_rates_of_their_own() {
    let (quotas, hanbit, daeil) = (quotas(), firm("hanbit"), firm("daeil"));
    quotas.spend(&hanbit, 0, 1_000, 0);
    assert!(quotas.check(&hanbit, 0).is_err());
    assert_eq!(quotas.check(&daeil, 0), Ok(()));
    quotas.spend(&daeil, 0, 9_999, 0);
    assert_eq!(quotas.check(&daeil, 0), Ok(()));
    quotas.spend(&daeil, 0, 0, 20_000_000);
    assert_eq!(quotas.check(&daeil, 0).unwrap_err().0, Exceeded::Bytes);
}

#[test]
fn a_record_beyond_the_bucket_passes_and_is_waited_for() {
    let (quotas, hanbit) = (quotas(), firm("hanbit"));
    quotas.spend(&hanbit, 0, 150, 0);
    let (_, delay) = quotas.check(&hanbit, 0).unwrap_err();
    assert_eq!(delay, Duration::from_millis(5_001));
    assert!(quotas.check(&hanbit, 5 * SECOND).is_err());
    assert_eq!(quotas.check(&hanbit, 5 * SECOND + 1_000), Ok(()));
    quotas.spend(&hanbit, 6 * SECOND, u64::MAX, u64::MAX);
    assert_eq!(quotas.check(&hanbit, 6 * SECOND).unwrap_err().1, MAX_DELAY);
}

#[test]
fn a_clock_that_is_set_back_neither_fills_nor_blocks() {
    let (quotas, hanbit) = (quotas(), firm("hanbit"));
    quotas.spend(&hanbit, 100 * SECOND, 100, 0);
    assert!(quotas.check(&hanbit, 0).is_err());
    assert_eq!(quotas.check(&hanbit, SECOND), Ok(()));
}

proptest! {
    /// However records come, a firm gets no more through than burst, rate and one record.
    #[test]
    fn no_firm_gets_more_than_its_rate(steps in prop::collection::vec((0i64..2_000_000, 1u64..50), 1..200)) {
        let (quotas, hanbit) = (quotas(), firm("hanbit"));
        let (mut now, mut sent) = (0, 0);
        for (later, readings) in steps {
            now += later;
            if quotas.check(&hanbit, now).is_ok() {
                quotas.spend(&hanbit, now, readings, 0);
                sent += readings;
            }
            let most = 100.0 + 10.0 * now as f64 / 1e6 + 50.0;
            prop_assert!((sent as f64) <= most, "{sent} of {most}");
        }
    }
}
