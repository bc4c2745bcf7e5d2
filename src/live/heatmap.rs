//! The heatmap of TTFT: warm streams by step and length, and cold requests as points.

use super::latency_counts::upper_edge;
use super::snapshot::{ColdPoint, TtftHeatmap};
use super::traffic::{TrafficHistory, rounded};
use std::collections::VecDeque;

/// Buckets of [`LatencyCounts`](super::latency_counts::LatencyCounts) in one row: half a doubling.
const BUCKETS_PER_ROW: usize = 4;

/// Makes the heatmap of these requests, with the rows that are used.
pub(super) fn heatmap(total: &TrafficHistory, cold: &VecDeque<ColdPoint>) -> TtftHeatmap {
    let columns: Vec<Vec<u32>> =
        total.ttft_by_step().map(|counts| counts.by_rows(BUCKETS_PER_ROW)).collect();
    let is_used =
        |row: &usize| columns.iter().any(|column| column.get(*row).is_some_and(|count| *count > 0));
    let rows = columns.iter().map(Vec::len).max().unwrap_or(0);
    let (first, last) = ((0..rows).find(is_used), (0..rows).rev().find(is_used));
    let cold = cold.iter().cloned().collect();
    let (Some(first), Some(last)) = (first, last) else {
        let columns = vec![Vec::new(); columns.len()];
        return TtftHeatmap { columns, cold, ..TtftHeatmap::default() };
    };
    let edge = |row: usize| rounded(upper_edge(row * BUCKETS_PER_ROW + BUCKETS_PER_ROW - 1));
    let cut = |column: Vec<u32>| -> Vec<u32> {
        column.into_iter().skip(first).take(last + 1 - first).collect()
    };
    TtftHeatmap {
        edges_s: (first..=last).map(edge).collect(),
        columns: columns.into_iter().map(cut).collect(),
        cold,
    }
}
