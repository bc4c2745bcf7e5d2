//! The view of events: cold starts, outages, hangs, stalls, rejections and failures.

use super::columns::{Column, ColumnLayout, SortKey, wrap};
use super::header::clock;
use super::theme::{Theme, Tone};
use crate::live::snapshot::{LiveEvent, LiveEventKind, LiveSnapshot};
use ratatui::text::{Line, Span};

const COLUMNS: [Column<LiveEvent>; 3] = [
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
        heading: "model or upstream",
        width: Some(22),
        is_text: true,
        drop_order: 0,
        cell: |event| (place(event).to_owned(), Tone::Plain),
        key: |event| SortKey::Text(place(event).to_owned()),
    },
];

fn kind(kind: LiveEventKind) -> (String, Tone) {
    let (text, tone) = match kind {
        LiveEventKind::ColdStart => ("cold start", Tone::Warning),
        LiveEventKind::Down => ("down", Tone::Bad),
        LiveEventKind::Up => ("up", Tone::Good),
        LiveEventKind::Hang => ("hang", Tone::Bad),
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

/// Column in which the texts begin.
const INDENT: usize = 44;

/// The lines of the events, newest first.
pub(super) fn lines(snapshot: &LiveSnapshot, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let layout = ColumnLayout::of(&COLUMNS, INDENT - 2);
    let mut heading = layout.heading(None, theme);
    heading.spans.push(Span::styled("  what happened", theme.style(Tone::Heading)));
    let mut lines = vec![heading];
    for event in &snapshot.events {
        let mut texts = wrap(&event.text, width.saturating_sub(INDENT)).into_iter();
        let mut line = layout.row(event, false, theme);
        line.spans.push(Span::raw(format!("  {}", texts.next().unwrap_or_default())));
        lines.push(line);
        lines.extend(texts.map(|text| Line::raw(" ".repeat(INDENT) + &text)));
    }
    if snapshot.events.is_empty() {
        lines.push(Line::raw("No cold start, outage, hang, stall, rejection or failure so far."));
    }
    lines
}
