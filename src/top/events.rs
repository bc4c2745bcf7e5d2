//! The view of events: cold starts, outages, stalls, rejections and failures.

use super::columns::{Column, ColumnLayout, SortKey};
use super::header::clock;
use super::theme::{Theme, Tone};
use crate::live::snapshot::{LiveEvent, LiveEventKind, LiveSnapshot};
use crate::readable::seconds;
use ratatui::text::Line;

const COLUMNS: [Column<LiveEvent>; 5] = [
    Column {
        heading: "time UTC",
        width: Some(8),
        is_text: true,
        drop_order: 0,
        cell: |event| (clock(event.at), Tone::Plain),
        key: |event| SortKey::Number(Some(event.at)),
    },
    Column {
        heading: "event",
        width: Some(10),
        is_text: true,
        drop_order: 0,
        cell: |event| kind(event.kind),
        key: |event| SortKey::Text(kind(event.kind).0),
    },
    Column {
        heading: "lasted",
        width: Some(6),
        is_text: false,
        drop_order: 2,
        cell: |event| (seconds(event.duration_s), Tone::Plain),
        key: |event| SortKey::Number(event.duration_s),
    },
    Column {
        heading: "model or upstream",
        width: Some(22),
        is_text: true,
        drop_order: 1,
        cell: |event| (place(event).to_owned(), Tone::Plain),
        key: |event| SortKey::Text(place(event).to_owned()),
    },
    Column {
        heading: "what happened",
        width: None,
        is_text: true,
        drop_order: 0,
        cell: |event| (event.text.clone(), Tone::Plain),
        key: |event| SortKey::Text(event.text.clone()),
    },
];

fn kind(kind: LiveEventKind) -> (String, Tone) {
    let (text, tone) = match kind {
        LiveEventKind::ColdStart => ("cold start", Tone::Warning),
        LiveEventKind::Down => ("down", Tone::Bad),
        LiveEventKind::Up => ("up", Tone::Good),
        LiveEventKind::Stall => ("stall", Tone::Warning),
        LiveEventKind::Rejections => ("rejected", Tone::Warning),
        LiveEventKind::Failures => ("failed", Tone::Bad),
        LiveEventKind::Reload => ("reload", Tone::Plain),
    };
    (text.to_owned(), tone)
}

fn place(event: &LiveEvent) -> &str {
    event.model.as_deref().or(event.upstream.as_deref()).unwrap_or("-")
}

/// The lines of the events, newest first.
pub(super) fn lines(snapshot: &LiveSnapshot, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let layout = ColumnLayout::of(&COLUMNS, width);
    let mut lines = vec![layout.heading(None, theme)];
    lines.extend(snapshot.events.iter().map(|event| layout.row(event, false, theme)));
    if snapshot.events.is_empty() {
        lines.push(Line::raw("No cold start, outage, stall, rejection or failure so far."));
    }
    lines
}
