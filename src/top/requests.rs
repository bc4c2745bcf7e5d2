//! The views of running requests and of the newest ended ones.

use super::columns::{Column, ColumnLayout, SortKey, TableOrder, sort};
use super::header::clock;
use super::theme::{Theme, Tone};
use crate::live::snapshot::{EndedRow, LiveSnapshot, RunningPhase, RunningRequest};
use crate::readable::{count, seconds};
use ratatui::text::Line;

/// Index of the column of ages.
pub(super) const AGE: usize = 0;
/// Index of the column of ends.
pub(super) const ENDED: usize = 0;
/// Silence of a stream that is marked: the default of the key `stall_seconds`.
const LONG_SILENCE_S: f64 = 2.0;

pub(super) const RUNNING: [Column<RunningRequest>; 8] = [
    Column::number(
        "age",
        7,
        0,
        |row| (seconds(Some(row.age_s)), Tone::Plain),
        |row| SortKey::Number(Some(row.age_s)),
    ),
    Column::text(
        "phase",
        Some(9),
        1,
        |row| (phase(row.phase).to_owned(), Tone::Plain),
        |row| SortKey::Text(phase(row.phase).to_owned()),
    ),
    Column::number(
        "events",
        7,
        2,
        |row| (count(row.output_events), Tone::Plain),
        |row| SortKey::Number(row.output_events.map(|events| events as f64)),
    ),
    Column::number(
        "silence",
        7,
        3,
        |row| {
            let is_long = row.silence_s.is_some_and(|silence| silence >= LONG_SILENCE_S);
            (seconds(row.silence_s), if is_long { Tone::Warning } else { Tone::Plain })
        },
        |row| SortKey::Number(row.silence_s),
    ),
    Column::text(
        "model",
        None,
        0,
        |row| (running_model(row).to_owned(), Tone::Plain),
        |row| SortKey::Text(running_model(row).to_owned()),
    ),
    Column::text(
        "operation",
        Some(12),
        4,
        |row| (row.operation.clone(), Tone::Plain),
        |row| SortKey::Text(row.operation.clone()),
    ),
    Column::text(
        "upstream",
        Some(22),
        6,
        |row| (row.upstream.to_string(), Tone::Plain),
        |row| SortKey::Text(row.upstream.to_string()),
    ),
    Column::text(
        "id",
        Some(16),
        5,
        |row| (row.id.clone(), Tone::Dim),
        |row| SortKey::Text(row.id.clone()),
    ),
];

pub(super) const NEWEST: [Column<EndedRow>; 12] = [
    Column::text(
        "ended",
        Some(8),
        0,
        |row| (clock(row.ended_at), Tone::Plain),
        |row| SortKey::Number(Some(row.ended_at)),
    ),
    Column::text(
        "model",
        None,
        0,
        |row| (row.model.to_string(), Tone::Plain),
        |row| SortKey::Text(row.model.to_string()),
    ),
    Column::number(
        "code",
        4,
        2,
        |row| (row.status.map_or_else(|| "-".into(), |status| status.to_string()), Tone::Plain),
        |row| SortKey::Number(row.status.map(f64::from)),
    ),
    Column::number(
        "TTFT",
        6,
        1,
        |row| (seconds(row.ttft_s), Tone::Plain),
        |row| SortKey::Number(row.ttft_s),
    ),
    Column::number(
        "TPOT",
        6,
        4,
        |row| (seconds(row.tpot_s), Tone::Plain),
        |row| SortKey::Number(row.tpot_s),
    ),
    Column::number(
        "took",
        6,
        3,
        |row| (seconds(Some(row.duration_s)), Tone::Plain),
        |row| SortKey::Number(Some(row.duration_s)),
    ),
    Column::number(
        "in",
        6,
        7,
        |row| (count(row.input_tokens), Tone::Plain),
        |row| SortKey::Number(row.input_tokens.map(|tokens| tokens as f64)),
    ),
    Column::number(
        "out",
        5,
        6,
        |row| (count(row.output_tokens), Tone::Plain),
        |row| SortKey::Number(row.output_tokens.map(|tokens| tokens as f64)),
    ),
    Column::number(
        "queue",
        6,
        8,
        |row| (seconds(row.queue_s), Tone::Plain),
        |row| SortKey::Number(row.queue_s),
    ),
    Column::text(
        "cold",
        Some(4),
        5,
        |row| match row.cold {
            Some(true) => ("cold".into(), Tone::Warning),
            Some(false) | None => (String::new(), Tone::Plain),
        },
        |row| SortKey::Number(row.cold.map(|cold| f64::from(u8::from(cold)))),
    ),
    Column::text(
        "SLO",
        Some(6),
        9,
        |row| match row.is_good {
            Some(true) => ("met".into(), Tone::Good),
            Some(false) => ("missed".into(), Tone::Warning),
            None => (String::new(), Tone::Plain),
        },
        |row| SortKey::Number(row.is_good.map(|met| f64::from(u8::from(met)))),
    ),
    Column::text(
        "outcome",
        Some(24),
        2,
        |row| (row.outcome.clone(), if row.is_error { Tone::Bad } else { Tone::Plain }),
        |row| SortKey::Text(row.outcome.clone()),
    ),
];

fn phase(phase: RunningPhase) -> &'static str {
    match phase {
        RunningPhase::Sending => "sending",
        RunningPhase::Waiting => "waiting",
        RunningPhase::Streaming => "streaming",
    }
}

fn running_model(row: &RunningRequest) -> &str {
    row.model.as_deref().unwrap_or("-")
}

/// The lines of the running requests.
pub(super) fn running(
    snapshot: &LiveSnapshot,
    order: TableOrder,
    width: usize,
    theme: Theme,
) -> Vec<Line<'static>> {
    let oldest = &snapshot.running.oldest;
    let mut lines = table(oldest, &RUNNING, order, width, theme);
    let total = snapshot.running.total;
    match (oldest.len() as u64).cmp(&total) {
        std::cmp::Ordering::Less => {
            let text =
                format!("These are the oldest {} of {total} requests in flight.", oldest.len());
            lines.push(Line::styled(text, theme.style(Tone::Dim)));
        }
        _ if total == 0 => lines.push(Line::raw("No request is in flight.")),
        _ => {}
    }
    lines
}

/// The lines of the newest ended requests.
pub(super) fn newest(
    snapshot: &LiveSnapshot,
    order: TableOrder,
    width: usize,
    theme: Theme,
) -> Vec<Line<'static>> {
    let mut lines = table(&snapshot.newest, &NEWEST, order, width, theme);
    if snapshot.newest.is_empty() {
        lines.push(Line::raw("No inference request has ended yet."));
    }
    lines
}

fn table<T>(
    rows: &[T],
    columns: &[Column<T>],
    order: TableOrder,
    width: usize,
    theme: Theme,
) -> Vec<Line<'static>> {
    let mut rows: Vec<&T> = rows.iter().collect();
    sort(&mut rows, columns, order);
    let layout = ColumnLayout::of(columns, width);
    let heading = layout.heading(Some(order), theme);
    [heading].into_iter().chain(rows.into_iter().map(|row| layout.row(row, false, theme))).collect()
}
