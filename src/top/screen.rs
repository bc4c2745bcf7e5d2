//! The lines of a screen.

use super::state::{TopState, TopView};
use super::theme::{Theme, Tone};
use super::{events, header, help, models, requests, slow};
use ratatui::text::{Line, Span};

/// The views and their keys, and the other keys.
const KEYS: [(&str, &str, Option<TopView>); 8] = [
    ("m", "models", Some(TopView::Models)),
    ("r", "running", Some(TopView::Running)),
    ("n", "newest", Some(TopView::Newest)),
    ("e", "events", Some(TopView::Events)),
    ("s", "slow", Some(TopView::Slow)),
    ("o", "order", None),
    ("?", "help", Some(TopView::Help)),
    ("q", "quit", None),
];

/// Returns at most `height` lines. The keys are in the last one.
pub(super) fn lines(
    state: &TopState,
    width: usize,
    height: usize,
    theme: Theme,
) -> Vec<Line<'static>> {
    let mut lines = header::lines(state, width, theme);
    let mut footer = Vec::new();
    if let Some(note) = &state.note {
        footer.push(Line::styled(note.clone(), theme.style(Tone::Dim)));
    }
    footer.push(keys(state, theme));
    let room = height.saturating_sub(lines.len() + footer.len());
    let mut body = body(state, width, room, theme);
    // The heading stays; the rows scroll until the last one is at the end.
    let offset = state.offset.min(body.len().saturating_sub(room));
    if state.view != TopView::Help && body.len() > 1 {
        body.drain(1..=offset.min(body.len() - 1));
    }
    body.truncate(room);
    body.resize(room, Line::default());
    lines.append(&mut body);
    // On a very low terminal, the header stays.
    lines.truncate(height.saturating_sub(1));
    lines.append(&mut footer);
    lines.truncate(height);
    lines
}

fn body(state: &TopState, width: usize, height: usize, theme: Theme) -> Vec<Line<'static>> {
    let Some(snapshot) = &state.snapshot else {
        return match state.view {
            TopView::Help => help::lines(theme),
            _ => Vec::new(),
        };
    };
    match state.view {
        TopView::Models => models::lines(state, width, height, theme),
        TopView::Running => requests::running(snapshot, state.running_order, width, theme),
        TopView::Newest => requests::newest(snapshot, state.newest_order, width, theme),
        TopView::Events => events::lines(snapshot, width, theme),
        TopView::Slow => slow::lines(state.slow.as_ref(), width, theme),
        TopView::Help => help::lines(theme),
    }
}

fn keys(state: &TopState, theme: Theme) -> Line<'static> {
    let mut spans = Vec::new();
    for (key, name, view) in KEYS {
        let tone = if view == Some(state.view) { Tone::Selected } else { Tone::Plain };
        spans.push(Span::styled(key, theme.style(Tone::Heading)));
        spans.push(Span::raw(" "));
        spans.push(Span::styled(name, theme.style(tone)));
        spans.push(Span::raw("  "));
    }
    spans.pop();
    Line::from(spans)
}

/// Most lines of each part of a report.
const REPORT_PART_LINES: usize = 20;

/// A screen for `--once`, without a terminal: header, models, newest events, slow requests. Lines have no spaces at their
/// ends.
pub(super) fn report(state: &TopState, width: usize) -> String {
    let theme = Theme::PLAIN;
    let mut lines = header::lines(state, width, theme);
    lines.extend(body(state, width, REPORT_PART_LINES, theme));
    if let Some(snapshot) = &state.snapshot {
        let parts =
            [events::lines(snapshot, width, theme), slow::lines(state.slow.as_ref(), width, theme)];
        for part in parts {
            lines.push(Line::default());
            lines.extend(part.into_iter().take(REPORT_PART_LINES));
        }
    }
    lines.iter().map(|line| line.to_string().trim_end().to_owned() + "\n").collect()
}
