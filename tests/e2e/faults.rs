//! A sample of the fault suite; `tests/soak.sh faults` runs the rest.

use std::collections::BTreeSet;
use std::path::Path;

use sandan_tests::chance::asked_seed;
use sandan_tests::faults::{self, Fault, GATEWAY_STEPS, INGEST_STEPS};
use sandan_tests::kills;
use sandan_tests::runs::Until;

use crate::world::programs;

/// Where the sample of CI begins: its runs are the same faults each time. Fresh ones are for
/// `tests/soak.sh faults`.
const CI_SEED: u64 = 20_000;

/// Runs of the sample: half a minute on two cores.
const SAMPLE: u64 = 12;
/// Between two seeds, so that a dozen meets kinds from all over the list.
const STRIDE: u64 = 4;
/// At once, beside the other tests.
const JOBS: usize = 2;

#[test]
fn after_a_fault_every_reading_is_where_the_product_says() {
    let (seed, runs) = match asked_seed() {
        // One run, again.
        Some(seed) => (seed, 1),
        None => (CI_SEED, SAMPLE),
    };
    let table = faults::run_many(&programs(), (seed, STRIDE), Until::Runs(runs), JOBS, |ended| eprintln!("{ended}"));
    assert!(table.bad.is_empty(), "the sum is wrong in runs {:?}; SANDAN_SEED repeats one", table.bad);
    assert!(table.all.stored > 0);
}

/// The seeds of any such stretch meet every fault.
#[test]
fn consecutive_seeds_meet_every_fault() {
    let all = Fault::all();
    let met: BTreeSet<Fault> = (77..77 + all.len() as u64).flat_map(faults::faults_of).collect();
    assert_eq!(met.len(), all.len());
}

/// The oracle is of no use when it is content with anything: a store that forgets one
/// record, and one that keeps it twice, are found out.
#[test]
fn a_store_that_forgets_or_doubles_a_record_is_found_out() {
    let broken =
        |how: &str| faults::run_of(&programs(), 1, &[], Some(&format!("broken.{how}-a-record=1*off->1*return->off")));
    std::thread::scope(|scope| {
        let [forgets, doubles] = ["forgets", "doubles"].map(|how| scope.spawn(move || broken(how)));
        for (run, what) in [(forgets, "lost"), (doubles, "doubled")] {
            let run = run.join().unwrap();
            assert!(!run.is_good(), "nobody saw that a record was {what}: {run}");
            let sum = run.sum.unwrap();
            assert_eq!(sum.lost > 0, what == "lost", "{sum}");
            assert_eq!(sum.doubled > 0, what == "doubled", "{sum}");
        }
    });
    // The same run with a store that is well.
    let well = faults::run_of(&programs(), 1, &[], None);
    assert!(well.is_good(), "{well}");
}

/// The names of the steps in the code of a program: what stands in its failpoint macros.
fn steps_of(program: &str, macros: &[&str]) -> BTreeSet<String> {
    let mut steps = BTreeSet::new();
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(program).join("src")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for name in macros {
                let call = format!("{name}!(\"");
                for piece in text.split(&call).skip(1) {
                    steps.insert(piece.split('"').next().unwrap().to_owned());
                }
            }
        }
    }
    steps
}

/// The suites end the programs at every step that they have, and the page lists them all.
#[test]
fn every_step_of_the_code_is_in_the_suites_and_on_the_page() {
    let killed: Vec<&str> = kills::steps().collect();
    for (program, suite, kills) in [("gateway", &GATEWAY_STEPS[..], &[][..]), ("ingest", &INGEST_STEPS[..], &killed)] {
        let code = steps_of(program, &["crash_point"]);
        let suite: BTreeSet<String> = suite.iter().chain(kills).map(|step| (*step).to_owned()).collect();
        assert_eq!(code, suite, "{program}");
    }
    for page in ["reliability.md", "reliability.ko.md"] {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page)).unwrap();
        for program in ["gateway", "ingest"] {
            for step in steps_of(program, &["crash_point", "io_point", "panic_point", "is_hurried"]) {
                assert!(text.contains(&format!("`{step}`")), "{page} does not name {step}");
            }
        }
    }
}
