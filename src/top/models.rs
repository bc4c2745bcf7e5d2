//! The view of the models, and the series of the selected one.

use super::columns::{Column, ColumnLayout, SortKey, fit};
use super::sparkline::sparkline;
use super::state::TopState;
use super::theme::{Theme, Tone};
use crate::live::snapshot::TrafficRow;
use crate::readable::{seconds, whole};
use ratatui::text::{Line, Span};

/// Index of the column of requests.
pub(super) const REQUESTS: usize = 1;
/// Lines of the series: the title and one for each.
const SERIES_LINES: usize = 7;
/// Points of a series in the column.
const COLUMN_POINTS: usize = 30;

pub(super) const COLUMNS: [Column<TrafficRow>; 13] = [
    Column::text("model", None, 0, |row| (name(row), Tone::Plain), |row| SortKey::Text(name(row))),
    Column::number(
        "req/s",
        6,
        1,
        |row| (rate(row.now.requests_per_s), Tone::Plain),
        |row| SortKey::Number(row.now.requests_per_s),
    ),
    Column::number(
        "errors",
        6,
        4,
        |row| (whole(row.errors as f64), if row.errors > 0 { Tone::Bad } else { Tone::Plain }),
        |row| SortKey::Number(Some(row.errors as f64)),
    ),
    Column::number(
        "TTFT50",
        6,
        5,
        |row| (seconds(row.now.ttft_p50_s), Tone::Plain),
        |row| SortKey::Number(row.now.ttft_p50_s),
    ),
    Column::number(
        "TTFT95",
        6,
        0,
        |row| (seconds(row.now.ttft_p95_s), Tone::Plain),
        |row| SortKey::Number(row.now.ttft_p95_s),
    ),
    Column::number(
        "TPOT50",
        6,
        2,
        |row| (seconds(row.now.tpot_p50_s), Tone::Plain),
        |row| SortKey::Number(row.now.tpot_p50_s),
    ),
    Column::number(
        "tok/s",
        6,
        3,
        |row| (rate(row.now.output_tokens_per_s), Tone::Plain),
        |row| SortKey::Number(row.now.output_tokens_per_s),
    ),
    Column::number(
        "queue95",
        7,
        6,
        |row| (seconds(row.now.queue_wait_p95_s), Tone::Plain),
        |row| SortKey::Number(row.now.queue_wait_p95_s),
    ),
    Column::number(
        "cold",
        5,
        7,
        |row| {
            let tone = if row.cold_starts > 0 { Tone::Warning } else { Tone::Plain };
            (whole(row.cold_starts as f64), tone)
        },
        |row| SortKey::Number(Some(row.cold_starts as f64)),
    ),
    Column::number(
        "good",
        5,
        8,
        |row| (percent(row.now.goodput), Tone::Plain),
        |row| SortKey::Number(row.now.goodput),
    ),
    Column::number(
        "slots",
        5,
        9,
        |row| (row.slots.map_or_else(|| "-".into(), whole), Tone::Plain),
        |row| SortKey::Number(row.slots),
    ),
    Column::number(
        "requests/s, 5 minutes",
        COLUMN_POINTS,
        10,
        |row| (sparkline(&row.series.requests_per_s, COLUMN_POINTS), Tone::Dim),
        |row| SortKey::Number(row.now.requests_per_s),
    ),
    Column::number(
        "TTFT95, 5 minutes",
        COLUMN_POINTS,
        11,
        |row| (sparkline(&row.series.ttft_p95_s, COLUMN_POINTS), Tone::Dim),
        |row| SortKey::Number(row.now.ttft_p95_s),
    ),
];

/// Name of a row.
pub(super) fn name(row: &TrafficRow) -> String {
    row.model.as_deref().unwrap_or("all models").to_owned()
}

/// A rate per second with about three digits; `-` if absent.
pub(super) fn rate(value: Option<f64>) -> String {
    match value {
        None => "-".into(),
        Some(value) if value < 99.95 => format!("{value:.1}"),
        Some(value) => whole(value),
    }
}

/// A share as percent; `-` if absent. 100 % only if nothing is missing.
pub(super) fn percent(share: Option<f64>) -> String {
    match share.map(|share| share * 100.0) {
        None => "-".into(),
        Some(percent) if percent >= 100.0 => "100%".into(),
        // Never rounded up to 100.
        Some(percent) => format!("{:.1}%", percent.min(99.9)),
    }
}

/// The table, and below it the series of the selected row where there is room for them.
pub(super) fn lines(
    state: &TopState,
    width: usize,
    height: usize,
    theme: Theme,
) -> Vec<Line<'static>> {
    let rows = state.model_rows();
    let layout = ColumnLayout::of(&COLUMNS, width);
    let selected = state.selected_row();
    let shows_series = height >= SERIES_LINES + 5;
    // The heading, and an empty line above the series.
    let room = height.saturating_sub(if shows_series { SERIES_LINES + 2 } else { 1 }).max(1);
    let is_longer = rows.len() > room;
    let room = if is_longer { room.saturating_sub(1).max(1) } else { room };
    let first = (selected + 1).saturating_sub(room);
    let mut lines = vec![layout.heading(Some(state.models_order), theme)];
    let shown = rows.iter().enumerate().skip(first).take(room);
    lines.extend(shown.map(|(at, row)| layout.row(row, at == selected, theme)));
    if is_longer {
        let last = (first + room).min(rows.len());
        let position = format!("rows {} to {last} of {}; up, down", first + 1, rows.len());
        lines.push(Line::styled(position, theme.style(Tone::Dim)));
    }
    if rows.len() == 1 {
        lines.push(Line::raw("No inference request has ended in the last ten minutes."));
    }
    if let Some(row) = rows.get(selected).filter(|_| shows_series) {
        lines.push(Line::default());
        lines.extend(series(row, width, theme));
    }
    lines
}

/// Label of a series, its points, the current value, and the format of both.
type SeriesLine<'a> = (&'a str, &'a [Option<f64>], Option<f64>, fn(Option<f64>) -> String);

/// The series of one row.
fn series(row: &TrafficRow, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let series = &row.series;
    let now = &row.now;
    let cold_starts = series.cold_starts.last().copied().flatten();
    let table: [SeriesLine<'_>; 6] = [
        ("requests/s", &series.requests_per_s, now.requests_per_s, rate),
        ("errors/s", &series.errors_per_s, now.errors_per_s, rate),
        ("TTFT p95", &series.ttft_p95_s, now.ttft_p95_s, seconds),
        ("queue p95", &series.queue_wait_p95_s, now.queue_wait_p95_s, seconds),
        ("tokens/s", &series.output_tokens_per_s, now.output_tokens_per_s, rate),
        ("cold starts", &series.cold_starts, cold_starts, rate_of_count),
    ];
    let points = width.saturating_sub(27).clamp(10, series.requests_per_s.len().max(10));
    let place = row.upstream.as_deref().map(|upstream| format!(" at {upstream}"));
    let title = format!("{}{}, ten minutes", name(row), place.unwrap_or_default());
    let mut lines = vec![Line::from(vec![
        Span::styled(fit(&title, points + 12, true), theme.style(Tone::Heading)),
        Span::styled(format!("{:>7}{:>8}", "now", "highest"), theme.style(Tone::Heading)),
    ])];
    lines.extend(table.into_iter().map(|(label, values, now, format)| {
        let highest = values.iter().flatten().copied().reduce(f64::max);
        Line::from(vec![
            Span::raw(fit(label, 12, true)),
            Span::styled(sparkline(values, points), theme.style(Tone::Heading)),
            Span::raw(format!("{:>7}{:>8}", format(now), format(highest))),
        ])
    }));
    lines
}

fn rate_of_count(count: Option<f64>) -> String {
    count.map_or_else(|| "-".into(), whole)
}
