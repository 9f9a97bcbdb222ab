//! Divides the sequence of partitions into tasks.
//!
//! A unit that spans a cut is read once on each side, so a cut costs the bytes of the units that span it. Free cuts are
//! always made. Others are made only if more partitions would be open at once than memory allows, and then at minimum
//! cost, by dynamic programming. A partition is open from the first unit that may have rows for it to the last, so a
//! sorted source keeps only a few open. Cuts are not needed for parallelism: workers share the chunks of a task.
//!
//! The result depends only on ranges and bytes, and ties are broken by position: the same facts give the same tasks.

use std::cell::LazyCell;
use std::collections::VecDeque;
use std::ops::Range;

/// Maximum number of partitions without units that share a task.
const EMPTY_PARTITIONS: usize = 256;

/// Bytes that a contiguous range of partitions needs: one unit.
#[derive(Debug, Clone)]
pub(super) struct Load {
    /// Not empty.
    pub partitions: Range<u32>,
    pub bytes: u64,
}

/// Prefix sums over loads. In `u128`, because sizes come from files, which can claim any value.
struct Weights {
    /// `begun[p]`: bytes of the loads that begin before partition `p`.
    begun: Vec<u128>,
    /// `ended[p]`: bytes of the loads that end at or before partition `p`.
    ended: Vec<u128>,
}

impl Weights {
    fn new(count: usize, loads: &[Load]) -> Self {
        let mut begun = vec![0_u128; count + 1];
        let mut ended = vec![0_u128; count + 1];
        for load in loads {
            // A unit without bytes still connects its partitions.
            let bytes = u128::from(load.bytes.max(1));
            if let Some(sum) = begun.get_mut(load.partitions.start as usize + 1) {
                *sum += bytes;
            }
            if let Some(sum) = ended.get_mut(load.partitions.end as usize) {
                *sum += bytes;
            }
        }
        for sums in [&mut begun, &mut ended] {
            let mut total = 0;
            for sum in sums.iter_mut() {
                total += *sum;
                *sum = total;
            }
        }
        Self { begun, ended }
    }

    /// Bytes that partitions `from..to` need.
    fn needed(&self, from: usize, to: usize) -> u128 {
        self.at(&self.begun, to).saturating_sub(self.at(&self.ended, from))
    }

    /// Bytes of the loads that span a cut before partition `at`.
    fn across(&self, at: usize) -> u128 {
        self.needed(at, at)
    }

    fn at(&self, sums: &[u128], index: usize) -> u128 {
        sums.get(index).copied().unwrap_or_default()
    }
}

/// Divides partitions `0..count` into consecutive tasks, each with at most `max_open` partitions open at once.
pub(super) fn cut(count: usize, loads: &[Load], max_open: usize) -> Vec<Range<usize>> {
    let weights = Weights::new(count, loads);
    // Only needed if there are many partitions.
    let spans = LazyCell::new(|| Spans::new(count, loads));
    let mut tasks = Vec::new();
    let mut start = 0;
    while start < count {
        let empty = weights.needed(start, start + 1) == 0;
        let mut end = start + 1;
        while end < count
            && if empty {
                weights.needed(end, end + 1) == 0 && end - start < EMPTY_PARTITIONS
            } else {
                weights.across(end) > 0
            }
        {
            end += 1;
        }
        if empty || end - start <= max_open {
            tasks.push(start..end);
        } else {
            tasks.extend(passes(&weights, &spans, start..end, max_open));
        }
        start = end;
    }
    tasks
}

/// Divides connected partitions into pieces with at most `max_open` open at once, so that the fewest bytes are read again.
fn passes(weights: &Weights, spans: &Spans, connected: Range<usize>, max_open: usize) -> Vec<Range<usize>> {
    let count = connected.len();
    // best[n]: cost, number of pieces and last cut of the first n partitions.
    let mut best = vec![(0_u128, 0_u32, 0_usize)];
    let mut open = Open::new(spans.loads);
    let mut least_start = 0;
    // Candidates for the last cut, cheapest first: each is later and more expensive than its predecessor.
    let mut candidates: VecDeque<(u128, u32, usize)> = VecDeque::new();
    for end in 1..=count {
        let cut = end - 1;
        let (price, pieces, _) = best.last().copied().unwrap_or_default();
        let price = price + if cut == 0 { 0 } else { weights.across(connected.start + cut) };
        while candidates.back().is_some_and(|last| (last.0, last.1) >= (price, pieces + 1)) {
            candidates.pop_back();
        }
        candidates.push_back((price, pieces + 1, cut));
        open.add(spans.of(connected.start + cut), 1);
        while open.most() > max_open && least_start < cut {
            open.add(spans.of(connected.start + least_start), -1);
            least_start += 1;
        }
        while candidates.front().is_some_and(|first| first.2 < least_start) {
            candidates.pop_front();
        }
        best.push(candidates.front().copied().unwrap_or((price, pieces + 1, cut)));
    }
    let mut pieces = Vec::new();
    let mut end = count;
    while end > 0 {
        let cut = best.get(end).map_or(0, |&(_, _, cut)| cut);
        pieces.push(connected.start + cut..connected.start + end);
        end = cut;
    }
    pieces.reverse();
    pieces
}

/// For each partition, the first and the last load that need it, while loads are read in order.
struct Spans {
    spans: Vec<Option<(usize, usize)>>,
    /// Number of loads.
    loads: usize,
}

impl Spans {
    fn new(count: usize, loads: &[Load]) -> Self {
        let mut spans: Vec<Option<(usize, usize)>> = vec![None; count];
        for (nth, load) in loads.iter().enumerate() {
            for span in spans.iter_mut().take(load.partitions.end as usize).skip(load.partitions.start as usize) {
                *span = Some((span.map_or(nth, |(first, _)| first), nth));
            }
        }
        Self { spans, loads: loads.len() }
    }

    fn of(&self, partition: usize) -> Option<(usize, usize)> {
        self.spans.get(partition).copied().flatten()
    }
}

/// The number of open partitions at each load: a segment tree with range additions.
struct Open {
    leaves: usize,
    /// For each node, the maximum below it, including its own additions.
    most: Vec<i64>,
    added: Vec<i64>,
}

impl Open {
    fn new(loads: usize) -> Self {
        let leaves = loads.next_power_of_two();
        Self { leaves, most: vec![0; 2 * leaves], added: vec![0; 2 * leaves] }
    }

    fn add(&mut self, span: Option<(usize, usize)>, change: i64) {
        if let Some((first, last)) = span {
            self.add_below(1, 0..self.leaves, &(first..last + 1), change);
        }
    }

    fn add_below(&mut self, node: usize, covered: Range<usize>, wanted: &Range<usize>, change: i64) {
        if wanted.end <= covered.start || covered.end <= wanted.start {
            return;
        }
        if wanted.start <= covered.start && covered.end <= wanted.end {
            self.most[node] += change;
            self.added[node] += change;
            return;
        }
        let middle = covered.start + covered.len() / 2;
        self.add_below(2 * node, covered.start..middle, wanted, change);
        self.add_below(2 * node + 1, middle..covered.end, wanted, change);
        self.most[node] = self.added[node] + self.most[2 * node].max(self.most[2 * node + 1]);
    }

    /// The maximum over all loads.
    fn most(&self) -> usize {
        usize::try_from(self.most[1]).unwrap_or(0)
    }
}
