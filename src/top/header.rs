//! The lines above the body: Streamgauge itself, the upstreams, and all requests.

use super::models::{percent, rate};
use super::state::TopState;
use super::theme::{Theme, Tone};
use crate::live::snapshot::{LiveSnapshot, Reachability, SloState, UpstreamState};
use crate::readable::seconds;
use ratatui::text::{Line, Span};

/// Most upstreams that have a line of their own.
const MAX_UPSTREAMS: usize = 3;

/// The time of an instant in UTC, as HH:MM:SS.
pub(super) fn clock(at: f64) -> String {
    // Whole seconds since 1970 are far below 2^53; a negative number becomes 0.
    let second = at as u64 % 86_400;
    format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// A length of time in at most two units, such as 3h12m.
fn span(length_s: f64) -> String {
    let seconds = length_s as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Joins parts with two spaces. Parts at the end that do not fit are left out.
fn join(parts: Vec<Vec<Span<'static>>>, width: usize) -> Line<'static> {
    let mut line = Line::default();
    for part in parts {
        let gap = if line.spans.is_empty() { "" } else { "  " };
        let length: usize = part.iter().map(Span::width).sum();
        if !gap.is_empty() && line.width() + gap.len() + length > width {
            break;
        }
        line.spans.push(Span::raw(gap));
        line.spans.extend(part);
    }
    line
}

/// The lines of the header.
pub(super) fn lines(state: &TopState, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let mut lines = vec![title(state, theme)];
    if let Some((why, age)) = &state.failure {
        lines.push(Line::styled(failure(why, *age), theme.style(Tone::Bad)));
    }
    let Some(snapshot) = &state.snapshot else { return lines };
    let upstreams = snapshot.upstreams.iter().take(MAX_UPSTREAMS);
    lines.extend(upstreams.map(|up| join(upstream(up, snapshot, theme), width)));
    let more = snapshot.upstreams.len().saturating_sub(MAX_UPSTREAMS);
    if more > 0 {
        lines.push(Line::raw(format!("and {more} more upstreams")));
    }
    lines.push(join(totals(snapshot, theme), width));
    lines.push(Line::default());
    lines
}

fn title(state: &TopState, theme: Theme) -> Line<'static> {
    let name = Span::styled("streamgauge", theme.style(Tone::Heading));
    let Some(snapshot) = &state.snapshot else {
        return Line::from(vec![name, Span::raw(format!("  {}", state.url))]);
    };
    let LiveSnapshot { version, now, started_at, .. } = snapshot;
    let up = span(now - started_at);
    let text = format!(" {version}  {}  up {up}  {} UTC", state.url, clock(*now));
    Line::from(vec![name, Span::raw(text)])
}

fn failure(why: &str, age: Option<u64>) -> String {
    match age {
        Some(age) => format!("No data for {age} s: {why}. Trying again."),
        None => format!("No data: {why}. Trying again."),
    }
}

fn upstream(up: &UpstreamState, snapshot: &LiveSnapshot, theme: Theme) -> Vec<Vec<Span<'static>>> {
    let lasts = span(snapshot.now - up.since);
    let cause = up.last_cause.as_deref().unwrap_or("no cause known");
    let (text, tone) = match (up.state, up.stuck_s) {
        (Reachability::Down, _) if up.is_needed => (format!("DOWN {lasts}: {cause}"), Tone::Bad),
        (Reachability::Down, _) => {
            (format!("does not answer for {lasts}, not needed: {cause}"), Tone::Warning)
        }
        (_, Some(stuck)) => {
            (format!("up {lasts}, HANGS: no output for {}", span(stuck)), Tone::Bad)
        }
        (Reachability::Up, None) => (format!("up {lasts}"), Tone::Good),
        (Reachability::Unknown, None) => ("not contacted yet".to_owned(), Tone::Warning),
    };
    let engine = up.engine.as_deref().map(|engine| format!(" ({engine})")).unwrap_or_default();
    let name = Span::raw(format!("{}{engine} ", up.name));
    let flight = up.in_flight;
    let flight = format!(
        "{} sending, {} waiting, {} streaming",
        flight.sending, flight.waiting, flight.streaming
    );
    let mut parts =
        vec![vec![name, Span::styled(text, theme.style(tone))], vec![Span::raw(flight)]];
    if let Some(wait) = up.estimated_wait_s {
        parts.push(vec![Span::raw(format!("wait {}", seconds(Some(wait))))]);
    }
    parts
}

/// Numbers of all requests, the most important first.
fn totals(snapshot: &LiveSnapshot, theme: Theme) -> Vec<Vec<Span<'static>>> {
    let (total, now) = (&snapshot.total, &snapshot.total.now);
    let value = |label: &str, text: String, tone: Tone| {
        vec![Span::raw(format!("{label} ")), Span::styled(text, theme.style(tone))]
    };
    let is_failing = now.errors_per_s.is_some_and(|errors| errors > 0.0);
    let source = now.queue_source.as_deref().map(|source| format!(" {source}")).unwrap_or_default();
    let mut parts = vec![
        value("req/s", rate(now.requests_per_s), Tone::Strong),
        value("err/s", rate(now.errors_per_s), if is_failing { Tone::Bad } else { Tone::Strong }),
        value("TTFT p95", seconds(now.ttft_p95_s), Tone::Strong),
        value("queue p95", seconds(now.queue_wait_p95_s) + &source, Tone::Strong),
    ];
    // With several classes: the one with the least of its budget left.
    let left = |slo: &SloState| slo.budget_left.unwrap_or(f64::INFINITY);
    if let Some(slo) = total.slo.iter().min_by(|a, b| left(a).total_cmp(&left(b))) {
        let is_used_up = slo.budget_left.is_some_and(|left| left <= 0.0);
        let tone = if is_used_up { Tone::Bad } else { Tone::Strong };
        parts.push(value("goodput", percent(slo.goodput), tone));
    }
    parts.push(value("tok/s", rate(now.output_tokens_per_s), Tone::Strong));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_readable() {
        assert_eq!(clock(1_764_504_589.9), "12:09:49");
        for (length, expected) in
            [(0.0, "0s"), (59.9, "59s"), (61.0, "1m01s"), (11_520.0, "3h12m"), (90_000.0, "1d01h")]
        {
            assert_eq!(span(length), expected);
        }
    }
}
