//! Over a simulated link: how long live data takes while a backlog drains.

use proptest::prelude::*;

use super::*;

/// A link as a gateway sees it, with buffers that take whatever is handed to them: the
/// worst for live data, as nothing that was sent can be overtaken.
#[derive(Debug, Clone, Copy)]
struct Link {
    bytes_per_second: u64,
    one_way_ms: u64,
    /// The ingest commits so often.
    commit_ms: u64,
}

/// What is sent over it.
#[derive(Debug, Clone, Copy)]
struct Load {
    live_bytes: usize,
    live_every_ms: u64,
    backlog_records: usize,
    backlog_bytes: usize,
}

#[derive(Debug)]
struct Result {
    /// From sealed to stored, sorted, while the backlog drained.
    live_ms: Vec<u64>,
    drained_ms: Option<u64>,
}

impl Result {
    fn percentile(&self, percent: usize) -> u64 {
        self.live_ms[((self.live_ms.len() - 1) * percent).div_ceil(100)]
    }
}

fn run(link: Link, load: Load, most_ms: u64) -> Result {
    let begin = Instant::now();
    let model = Model::default();
    model.new_lane();
    for _ in 0..load.backlog_records {
        model.append(0, load.backlog_bytes);
    }
    model.new_lane();
    let mut traffic = session(&model, &[], CREDITS, begin);
    // (arrival in µs, lane, sequence), in the order of sending.
    let mut up: VecDeque<(u64, usize, u64)> = VecDeque::new();
    let mut down: VecDeque<(u64, BTreeMap<usize, u64>)> = VecDeque::new();
    let mut taken: BTreeMap<usize, u64> = BTreeMap::new();
    let (mut free_us, mut born, mut live_ms, mut drained_ms) = (0u64, Vec::new(), Vec::new(), None);
    let mut stored = 0;
    for millis in 0..most_ms {
        if millis % load.live_every_ms == 0 {
            model.append(HOUR_US + millis as i64 * 1_000, load.live_bytes);
            born.push(millis);
        }
        while up.front().is_some_and(|(arrives, ..)| *arrives <= millis * 1_000) {
            let (_, lane, sequence) = up.pop_front().unwrap();
            taken.insert(lane, sequence);
        }
        if millis % link.commit_ms == 0 && !taken.is_empty() {
            let moved = std::mem::take(&mut taken);
            if let Some(through) = moved.get(&1) {
                let through = usize::try_from(*through).unwrap();
                live_ms.extend(born[stored..through].iter().map(|born| millis - born));
                stored = through;
            }
            down.push_back((millis + link.one_way_ms, moved));
        }
        let now = at(begin, millis);
        while down.front().is_some_and(|(arrives, _)| *arrives <= millis) {
            for (lane, through) in down.pop_front().unwrap().1 {
                traffic.acked(lane_id(lane), through, now.instant);
                if lane == 0 && through == load.backlog_records as u64 {
                    drained_ms = Some(millis);
                }
            }
        }
        for (lane, sequence) in sent(&mut traffic, now) {
            let bytes = if lane == 0 { load.backlog_bytes } else { load.live_bytes } + 100;
            free_us = free_us.max(millis * 1_000) + bytes as u64 * 1_000_000 / link.bytes_per_second;
            up.push_back((free_us + link.one_way_ms * 1_000, lane, sequence));
        }
        if drained_ms.is_some() {
            break;
        }
    }
    live_ms.sort_unstable();
    Result { live_ms, drained_ms }
}

/// 5,000 readings a second, packed, sealed every 0.8 s.
const PLANT: usize = 24_000;
const OUTAGE: Load = Load { live_bytes: PLANT, live_every_ms: 800, backlog_records: 750, backlog_bytes: PLANT };

#[test]
fn a_ten_minute_outage_drains_beside_live_data() {
    for (name, bytes_per_second, one_way_ms, most_p99, most_drain) in [
        ("LAN", 100_000_000, 1, 150, 10_000),
        ("good LTE", 2_500_000, 25, 400, 15_000),
        ("LTE", 500_000, 40, 600, 60_000),
        ("poor LTE", 125_000, 150, 1_200, 300_000),
    ] {
        let link = Link { bytes_per_second, one_way_ms, commit_ms: 50 };
        let result = run(link, OUTAGE, 1_000_000);
        let p99 = result.percentile(99);
        assert!(p99 <= most_p99, "{name}: live data took {p99} ms");
        assert!(result.drained_ms.is_some_and(|drained| drained <= most_drain), "{name}: {:?}", result.drained_ms);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    /// Whatever the backlog, a live record waits for its own way, a commit, one record of
    /// the backlog, and a bounded queue.
    #[test]
    fn live_data_waits_for_a_bounded_time_only(
        bytes_per_second in 60_000u64..50_000_000,
        one_way_ms in 1u64..300,
        commit_ms in 1u64..200,
        backlog_records in 1usize..2_000,
        backlog_bytes in 100usize..60_000,
        live_bytes in 100usize..20_000,
    ) {
        let link = Link { bytes_per_second, one_way_ms, commit_ms };
        let load = Load { live_bytes, live_every_ms: 800, backlog_records, backlog_bytes };
        let result = run(link, load, 120_000);
        let way = |bytes: usize| 1 + bytes as u64 * 1_000 / bytes_per_second;
        let alone = one_way_ms + commit_ms + way(live_bytes + 100);
        let bound = alone + 2 * way(backlog_bytes + 100) + 500;
        let p99 = result.percentile(99);
        prop_assert!(p99 <= bound, "p99 {} ms, bound {} ms, max {} ms", p99, bound, result.percentile(100));
    }
}
