//! The events of the live history: one line each.

use super::snapshot::{LiveEvent, LiveEventKind};
use std::collections::VecDeque;

/// Most events that are kept.
const MAX_EVENTS: usize = 100;
/// An event that happens again within this time, in seconds, continues the earlier one.
const BURST_S: f64 = 15.0;

/// The newest events.
#[derive(Debug, Default)]
pub(super) struct EventHistory(
    /// Oldest first.
    VecDeque<BurstEvent>,
);

#[derive(Debug)]
struct BurstEvent {
    event: LiveEvent,
    /// When it happened last.
    last: f64,
    /// Outcome or another detail, beside kind, upstream and model.
    detail: &'static str,
}

impl EventHistory {
    /// Adds an event.
    pub fn add(&mut self, event: LiveEvent) {
        let last = event.at;
        self.push(BurstEvent { event, last, detail: "" });
    }

    /// Adds `event.count` requests or streams that met the same. Continues the burst of the same kind, upstream, model and
    /// detail, if there is one. `text` returns the sentence for a number of them.
    pub fn add_to_burst(
        &mut self,
        event: LiveEvent,
        detail: &'static str,
        text: impl Fn(u64) -> String,
    ) {
        let (at, count) = (event.at, event.count.unwrap_or(1));
        let continues = |one: &&mut BurstEvent| {
            let LiveEvent { kind, upstream, model, .. } = &one.event;
            (kind, upstream, model, one.detail)
                == (&event.kind, &event.upstream, &event.model, detail)
                && at - one.last <= BURST_S
        };
        if let Some(burst) = self.0.iter_mut().rev().find(continues) {
            let count = burst.event.count.unwrap_or(0) + count;
            burst.last = burst.last.max(at);
            burst.event.count = Some(count);
            burst.event.duration_s =
                Some(burst.last - burst.event.at).filter(|length| *length > 0.0);
            burst.event.text = text(count);
        } else {
            let event = LiveEvent { text: text(count), count: Some(count), ..event };
            self.push(BurstEvent { event, last: at, detail });
        }
    }

    /// The newest event of this kind and upstream, to complete it.
    pub fn newest_mut(&mut self, kind: LiveEventKind, upstream: &str) -> Option<&mut LiveEvent> {
        let mut events = self.0.iter_mut().rev().map(|one| &mut one.event);
        events.find(|event| event.kind == kind && event.upstream.as_deref() == Some(upstream))
    }

    fn push(&mut self, event: BurstEvent) {
        if self.0.len() == MAX_EVENTS {
            self.0.pop_front();
        }
        self.0.push_back(event);
    }

    /// The events, newest first.
    pub fn newest_first(&self) -> Vec<LiveEvent> {
        let mut events: Vec<LiveEvent> = self.0.iter().map(|one| one.event.clone()).collect();
        events.sort_by(|one, two| two.at.total_cmp(&one.at));
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_within_seconds_is_one_event() {
        let mut events = EventHistory::default();
        let text = |count| format!("{count} requests failed");
        let mut fail = |at, model: &str, detail| {
            let (kind, model) = (LiveEventKind::Failures, Some(model.into()));
            let event = LiveEvent { at, kind, model, ..LiveEvent::default() };
            events.add_to_burst(event, detail, text);
        };
        fail(1.0, "a", "truncated");
        fail(2.0, "b", "truncated");
        fail(11.0, "a", "truncated");
        fail(12.0, "a", "timeout");
        fail(40.0, "a", "truncated");
        let found: Vec<_> =
            events.newest_first().into_iter().map(|one| (one.at, one.text)).collect();
        let expected = [(40.0, 1), (12.0, 1), (2.0, 1), (1.0, 2)];
        assert_eq!(found, expected.map(|(at, count)| (at, text(count))));
    }

    #[test]
    fn old_events_make_room() {
        let mut events = EventHistory::default();
        for at in 0..500 {
            events.add(LiveEvent { at: f64::from(at), ..LiveEvent::default() });
        }
        assert_eq!(events.newest_first().len(), MAX_EVENTS);
        assert_eq!(events.newest_first()[0].at, 499.0);
    }
}
