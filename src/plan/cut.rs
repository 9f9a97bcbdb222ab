//! Where a row of partitions is cut into tasks.
//!
//! A unit that lies across a cut is read on both sides of it, so every cut has a price: the bytes of the units
//! across it. Cuts that are free are always made. Others are made only where a task would hold more open partitions
//! than [`MAX_OPEN_PARTITIONS`], and then where it is cheapest (exactly: by dynamic programming). Workers need no
//! cuts: they share a task's chunks.
//!
//! Everything is decided from ranges and bytes, with ties broken by position: the same facts give the same tasks.

use std::ops::Range;

/// Partitions that one task writes at most: each keeps an encoder and a file open.
pub const MAX_OPEN_PARTITIONS: usize = 256;

/// Some bytes that are needed for a contiguous range of partitions.
#[derive(Debug, Clone)]
pub(super) struct Load {
    /// Not empty.
    pub partitions: Range<u32>,
    pub bytes: u64,
}

/// Sums over loads. In `u128`: sizes come from files, and a file can claim anything.
struct Weights {
    /// `begun[p]`: bytes of loads that begin before partition `p`.
    begun: Vec<u128>,
    /// `ended[p]`: bytes of loads that end at `p` or before.
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

    /// Bytes of the loads that lie across the cut before partition `at`.
    fn across(&self, at: usize) -> u128 {
        self.needed(at, at)
    }

    fn at(&self, sums: &[u128], index: usize) -> u128 {
        sums.get(index).copied().unwrap_or_default()
    }
}

/// Cuts partitions `0..count` into consecutive tasks.
pub(super) fn cut(count: usize, loads: &[Load]) -> Vec<Range<usize>> {
    let weights = Weights::new(count, loads);
    let mut tasks = Vec::new();
    let mut start = 0;
    while start < count {
        let empty = weights.needed(start, start + 1) == 0;
        let mut end = start + 1;
        while end < count
            && if empty {
                weights.needed(end, end + 1) == 0 && end - start < MAX_OPEN_PARTITIONS
            } else {
                weights.across(end) > 0
            }
        {
            end += 1;
        }
        if empty {
            tasks.push(start..end);
        } else {
            tasks.extend(passes(&weights, start..end));
        }
        start = end;
    }
    tasks
}

/// Cuts into pieces of at most [`MAX_OPEN_PARTITIONS`] so that the fewest bytes are read again.
fn passes(weights: &Weights, connected: Range<usize>) -> Vec<Range<usize>> {
    let count = connected.len();
    if count <= MAX_OPEN_PARTITIONS {
        return vec![connected];
    }
    // best[n]: price, pieces and last cut of the first n partitions.
    let mut best = vec![(0_u128, 0_u32, 0_usize)];
    for end in 1..=count {
        let cheapest = (end.saturating_sub(MAX_OPEN_PARTITIONS)..end)
            .filter_map(|cut| {
                let &(price, pieces, _) = best.get(cut)?;
                let cut_price = if cut == 0 { 0 } else { weights.across(connected.start + cut) };
                Some((price + cut_price, pieces + 1, cut))
            })
            .min();
        best.push(cheapest.unwrap_or((0, 0, 0)));
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
