//! What every engine does alike, as one suite that runs over each of them.
//!
//! A case is an `async fn` over an [`Engine`], in the module of what it is about, with its
//! name in the list of [`conform!`](macro@conform); every engine's tests say `conform!` once and
//! get a test for each. What an engine cannot do is not in it: what is packed where, what is
//! in which file, is tested beside the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use sandan_proto::id::FirmId;
use sandan_proto::reading::{Quality, Value};

use super::{Readings, Stored};
use crate::consent::{Form, Function, Permit};
use crate::fixture::{BOOTED_US, Plant, Reading, pressure, read_all, whole_day};

pub(crate) mod catalogue;
pub(crate) mod clocks;
pub(crate) mod coarse;
pub(crate) mod control;
pub(crate) mod dead;
pub(crate) mod delivery;
mod differential;
pub(crate) mod model;
pub(crate) mod reads;
pub(crate) mod sharing;

pub(crate) const SECOND: i64 = 1_000_000;
/// The time that a [`TestClock`] begins at, µs since 1970.
pub(crate) const NOW: i64 = BOOTED_US + 3_600 * SECOND;

/// A store's clock that stands still until it is moved.
#[derive(Debug, Clone)]
pub(crate) struct TestClock(Arc<AtomicI64>);

impl Default for TestClock {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(NOW)))
    }
}

impl TestClock {
    pub(crate) fn advance(&self, us: i64) {
        self.0.fetch_add(us, Ordering::SeqCst);
    }
    /// As an engine takes it.
    pub(crate) fn now(&self) -> Arc<dyn Fn() -> i64 + Send + Sync> {
        let clock = Arc::clone(&self.0);
        Arc::new(move || clock.load(Ordering::SeqCst))
    }
}

/// One store of an engine, in a place of its own, in which nothing happens by itself.
pub(crate) trait Engine: Sized {
    /// A store that was never used.
    async fn new(clock: TestClock) -> Self;
    /// The store.
    fn store(&self) -> &dyn Readings;
    /// The process stops and starts.
    async fn reopen(&mut self);
    /// The process will end at a named step of what it does next, where this engine has it.
    fn stop_at(&self, _step: &'static str) {}
    /// The process ends at a named step of a rearrangement, where this engine has it, and starts.
    async fn crash_rearranging(&mut self, firm: &FirmId, step: &'static str);
    /// Does what the engine does in the background with what a firm has stored.
    async fn rearrange(&self, firm: &FirmId);
    /// Runs SQL behind the store's back. The catalogues of the engines have the same tables.
    async fn behind(&self, sql: &str);
    /// The one number that a statement gives.
    async fn count(&self, sql: &str) -> i64;
}

/// A test for each case, over one engine.
macro_rules! conform {
    ($engine:ty) => {
        crate::store::conformance::conform! { @cases $engine =>
            delivery {
                one_register_is_stored_and_read_back,
                what_was_acknowledged_is_there_after_a_restart,
                a_record_that_comes_again_is_stored_once,
                readings_of_one_commit_share_its_number_and_the_next_is_greater,
                checksums_are_known_of_what_is_new_and_of_what_was_rearranged,
                a_gateway_is_fenced_across_restarts_and_let_in_for_as_long_as_it_needs,
            }
            catalogue {
                a_series_has_one_owner_and_a_second_one_is_refused_and_shown,
                a_changed_unit_is_a_new_version_and_is_never_mixed,
                a_type_that_changes_within_a_unit_stays_readable,
                births_that_change_nothing_are_not_written_again,
            }
            reads {
                buckets_are_aligned_and_leave_bad_readings_out,
                a_read_is_the_same_before_and_after_a_rearrangement,
                a_read_beside_a_rearrangement_sees_each_reading_once,
                a_read_gives_only_what_its_permit_names,
                a_cursor_inside_a_bucket_is_refused,
                days_are_those_of_their_time_zone,
                a_value_holds_into_the_next_bucket_but_not_from_before_the_permit,
                pages_are_of_one_state_while_data_arrives,
                what_was_stored_after_a_commit_is_read_alone,
                what_is_declared_gone_is_marked_in_the_answer,
            }
            coarse {
                hours_and_days_say_what_their_readings_say,
                a_changed_interval_makes_what_was_counted_before_useless_and_not_wrong,
                pages_of_hours_are_of_one_state_while_late_data_is_counted,
                what_a_permit_bounds_by_commit_is_told_without_what_came_later,
                minutes_and_hours_outlive_their_readings_and_say_the_same,
                what_comes_after_its_time_has_gone_is_counted,
                an_erased_firm_leaves_nothing_and_its_neighbour_everything,
                of_a_firm_that_nobody_knows_nothing_is_kept_or_erased,
            }
            clocks {
                a_clock_is_replaced_until_a_record_is_stored_under_it,
                readings_under_an_estimated_clock_are_uncertain_before_and_after_a_rearrangement,
            }
            dead {
                a_record_of_many_dead_columns_costs_a_few_rows,
                a_record_whose_clock_comes_late_is_stored_by_a_retry_and_only_once,
                a_retry_stores_the_columns_that_were_put_aside_and_no_other,
                a_record_of_another_owner_is_stored_once_the_series_is_its_gateways,
                what_is_discarded_stays_counted_and_another_firms_is_none,
                an_export_says_of_a_time_that_is_estimated_that_it_is,
                numbers_are_taken_in_order_and_once_however_they_are_given,
            }
        }
    };
    (@cases $engine:ty => $($subject:ident { $($case:ident,)+ })+) => {
        $(mod $subject {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::store::conformance::$subject::$case::<$engine>().await;
                }
            )+
        })+
    };
}
pub(crate) use conform;

pub(crate) fn done(stored: &Stored) -> u64 {
    match stored {
        Stored::Done { stored, .. } => *stored,
        other => panic!("{other:?}"),
    }
}

/// Late, repeated and bad readings of every type, over several records.
pub(crate) async fn unruly(plant: &mut Plant, store: &dyn Readings) {
    let good = Quality::GOOD;
    let record = |at: i64, number: i64| -> Vec<Reading> {
        vec![
            pressure(at, number as f64),
            (1, at, Value::I64(number * 1_000_000_007), good),
            (2, at, Value::Bool(number % 2 == 0), Quality::UNCERTAIN_SOURCE),
            (3, at, Value::Text(format!("상태 {}", number % 3)), good),
            (4, at, Value::F64(f64::NAN), if number % 2 == 0 { Quality::BAD_NO_ANSWER } else { good }),
            (0, at, Value::F64(-number as f64), good),
            (4, at + 1, Value::F64(0.5), good),
        ]
    };
    for (number, at) in [5, 9, 2, 9, 1, 30, 2, 31].into_iter().enumerate() {
        plant.deliver(store, &record(at * SECOND, number as i64)).await;
    }
}

pub(crate) async fn everything(store: &dyn Readings, plant: &Plant) -> [Vec<String>; 2] {
    let raw = whole_day(plant.keys());
    let (from_us, to_us) = (raw.from_us(), raw.to_us());
    let form = Form::buckets(3 * SECOND);
    let buckets = Permit::for_test(plant.keys(), form, from_us, to_us).asking(Function::ALL);
    [read_all(store, &raw, 7).await, read_all(store, &buckets, 2).await]
}

pub(crate) fn minutes(plant: &Plant, width_us: i64) -> Permit {
    Permit::for_test(plant.keys(), Form::buckets(width_us), BOOTED_US, BOOTED_US + 600 * SECOND)
}
