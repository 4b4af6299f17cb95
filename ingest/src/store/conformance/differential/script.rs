//! What a store goes through, at random.

use proptest::prelude::*;

/// One thing that happens to a store. `usize` is one of the plants, or one of what came before.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// The next record: for each reading its series, second, number and quality code. A series
    /// that was never declared, and a time that is ahead, go to the dead letters.
    Deliver(usize, Vec<(u32, i64, i32, u32)>),
    /// A record that was delivered comes again, however old it is.
    Again(usize, usize),
    /// Another record comes under a number that is taken.
    Fork(usize, usize),
    /// A record comes while the one before it is missing.
    Ahead(usize),
    /// Readings are declared gone: from a second on, for so many, so many.
    Lose(usize, i64, i64, u64),
    /// A whole record is put aside, for want of a clock that comes later or not.
    PutAside(usize, i64, bool),
    /// The gateway starts anew: a lane and a boot of its own, whose clock may be estimated.
    Boot(usize, bool),
    /// The gateway's connection is lost and comes back.
    Connect(usize),
    /// The gateway declares its series anew, its numbers in one pressure unit or another.
    Declare(usize, bool),
    /// A dead record is decided on again, or discarded.
    Retry(usize),
    Discard(usize),
    /// Time passes.
    Wait(i64),
    Rearrange,
    /// The process ends at a step of the rearrangement, where the engine has it.
    CrashRearranging(usize),
    Reopen,
    /// Everything comes past its retention and goes; the process may end amid it.
    Retain(Option<usize>),
    /// One of the firms is erased and begins anew; the process may end amid it.
    Erase(usize, Option<usize>),
    /// A question, from beginning to end.
    Ask(Question),
    /// The first page of an answer, whose other pages are asked for later.
    Open(Question),
}

/// What is read.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub plant: usize,
    /// Bits: which of the series, and of the functions.
    pub series: u8,
    pub functions: u16,
    /// How many retentions ago.
    pub ago: usize,
    /// Seconds of the boot of that time, and how many.
    pub from: i64,
    pub length: i64,
    pub grid: Asked,
    pub limit: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Asked {
    Raw,
    /// Of a width in seconds.
    Every(i64),
    /// Of Seoul.
    Days,
}

/// What a store goes through.
pub(super) type Script = Vec<(Step, u8)>;

/// Gateways and their machines: two of one firm share a machine, one is of another firm.
pub(super) const PLANTS: [(&str, &str); 4] = [
    ("hanbit/press-hall", "press-1"),
    ("hanbit/annex", "press-2"),
    ("hanbit/second", "press-1"),
    ("daeil/line-1", "press-1"),
];

/// Every function but durations: hours that are counted answer these.
pub(super) const COUNTED: u16 = 0b01_1111_1111;

fn any_question() -> impl Strategy<Value = Question> {
    let grid = prop_oneof![
        2 => Just(Asked::Raw),
        3 => prop_oneof![Just(1), Just(7), Just(60), Just(1_800), Just(3_600), Just(28_800)].prop_map(Asked::Every),
        1 => Just(Asked::Days),
    ];
    let functions = prop_oneof![1 => Just(0x3ff), 1 => Just(COUNTED), 1 => 0u16..0x400];
    let from = prop_oneof![3 => -20i64..60, 1 => 0i64..3_000];
    let length = prop_oneof![2 => 1i64..60, 1 => 60i64..4_000];
    let when = (prop_oneof![2 => Just(0usize), 1 => 1usize..3], from, length);
    (0..PLANTS.len(), 1u8..64, functions, when, grid, 1usize..40).prop_map(
        |(plant, series, functions, (ago, from, length), grid, limit)| Question {
            plant,
            series,
            functions,
            ago,
            from,
            length,
            grid,
            limit,
        },
    )
}

fn any_step() -> impl Strategy<Value = Step> {
    let plant = 0..PLANTS.len();
    // Mostly near each other, so that times meet; some of another hour, few ahead of all clocks.
    let second = prop_oneof![8 => 0i64..50, 3 => 0i64..3_000, 1 => 90_000i64..90_050];
    let quality = prop_oneof![5 => Just(0u32), 1 => Just(65), 1 => Just(130)];
    let series = prop_oneof![12 => 0u32..6, 1 => Just(9)];
    let reading = (series, second, any::<i32>(), quality);
    let cut = || prop::option::of(0usize..4);
    prop_oneof![
        12 => (plant.clone(), prop::collection::vec(reading, 1..14)).prop_map(|(at, it)| Step::Deliver(at, it)),
        2 => (plant.clone(), 0usize..8).prop_map(|(at, which)| Step::Again(at, which)),
        1 => (plant.clone(), 0usize..8).prop_map(|(at, which)| Step::Fork(at, which)),
        1 => plant.clone().prop_map(Step::Ahead),
        2 => (plant.clone(), 0i64..3_000, 0i64..400, 0u64..50).prop_map(|(at, from, length, gone)| Step::Lose(at, from, length, gone)),
        1 => (plant.clone(), 0i64..50, any::<bool>()).prop_map(|(at, second, comes)| Step::PutAside(at, second, comes)),
        1 => (plant.clone(), any::<bool>()).prop_map(|(at, estimated)| Step::Boot(at, estimated)),
        1 => plant.clone().prop_map(Step::Connect),
        1 => (plant, any::<bool>()).prop_map(|(at, kpa)| Step::Declare(at, kpa)),
        2 => (0usize..4).prop_map(Step::Retry),
        1 => (0usize..4).prop_map(Step::Discard),
        1 => (1i64..90_000).prop_map(Step::Wait),
        3 => Just(Step::Rearrange),
        2 => (0usize..4).prop_map(Step::CrashRearranging),
        1 => Just(Step::Reopen),
        2 => cut().prop_map(Step::Retain),
        1 => (0usize..2, cut()).prop_map(|(firm, cut)| Step::Erase(firm, cut)),
        4 => any_question().prop_map(Step::Ask),
        2 => any_question().prop_map(Step::Open),
    ]
}

pub(super) fn any_script() -> impl Strategy<Value = Script> {
    prop::collection::vec((any_step(), any::<u8>()), 10..48)
}
