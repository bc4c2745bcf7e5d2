//! History of one upstream: whether it answers, whether clients need it, and whether its engine generates.

use super::events::EventHistory;
use super::slow::seconds;
use super::snapshot::{LiveEvent, LiveEventKind, Reachability};
use super::traffic::rounded;
use std::sync::Arc;

/// A request that was in flight this long before the server went down, in seconds, was hit by the outage.
const HIT_S: f64 = 5.0;
/// Clients need a server for this time after their last request, in seconds.
const NEEDED_S: f64 = 600.0;

/// State of an upstream at one instant.
#[derive(Debug, Clone, Copy)]
pub(super) struct UpstreamView {
    /// In seconds since 1970.
    pub now: f64,
    /// Whether the last probe or request found it ready. `None`: there was none.
    pub is_up: Option<bool>,
    /// Time since an inference request was in flight, in seconds. `None`: there was none.
    pub idle_s: Option<f64>,
    /// Time for which output is due and none comes, in seconds, if that is unusual.
    pub stuck_s: Option<f64>,
}

impl UpstreamView {
    /// Whether clients need the server: an inference request was in flight at or after this instant, and recently.
    fn needs(&self, since: f64) -> bool {
        self.idle_s.is_some_and(|idle| idle <= NEEDED_S && self.now - idle >= since)
    }
}

/// History of one upstream.
#[derive(Debug, Clone)]
pub(super) struct UpstreamHistory {
    pub state: Reachability,
    /// Since when `state` has its value, in seconds since 1970.
    pub since: f64,
    /// Clients need the server.
    pub is_needed: bool,
    /// As in [`UpstreamView`].
    pub stuck_s: Option<f64>,
}

impl UpstreamHistory {
    /// An upstream that nothing is known about.
    pub fn new(now: f64) -> Self {
        Self { state: Reachability::Unknown, since: now, is_needed: false, stuck_s: None }
    }

    /// Takes the state of this instant, and adds and completes events.
    pub fn update(&mut self, view: UpstreamView, upstream: &Arc<str>, events: &mut EventHistory) {
        self.update_state(view, upstream, events);
        self.update_stuck(view, upstream, events);
    }

    fn update_state(&mut self, view: UpstreamView, upstream: &Arc<str>, events: &mut EventHistory) {
        let now = view.now;
        let state = match view.is_up {
            None => Reachability::Unknown,
            Some(true) => Reachability::Up,
            Some(false) => Reachability::Down,
        };
        let before = std::mem::replace(&mut self.state, state);
        let length = now - self.since;
        if before == Reachability::Down
            && let Some(down) = events.newest_mut(LiveEventKind::Down, upstream)
        {
            let is_needed = down.count.is_none() || view.needs(self.since - HIT_S);
            let lasts = if state == before { "has not answered" } else { "did not answer" };
            let whom = if is_needed { "" } else { ", and no request needed it" };
            down.text = format!("The server {lasts} for {}{whom}.", seconds(length));
            down.duration_s = Some(rounded(length));
            down.count = (!is_needed).then_some(0);
        }
        if before != state {
            self.since = now;
        }
        let is_down = state == Reachability::Down;
        self.is_needed = view.needs(if is_down { self.since - HIT_S } else { 0.0 });
        let (kind, text, count) = match (before, state) {
            (Reachability::Down, Reachability::Up) => {
                (LiveEventKind::Up, "The server answers again.", None)
            }
            (Reachability::Up | Reachability::Unknown, Reachability::Down) => {
                let count = (!self.is_needed).then_some(0);
                (LiveEventKind::Down, "The server does not answer.", count)
            }
            _ => return,
        };
        let (upstream, text) = (Some(Arc::clone(upstream)), text.to_owned());
        events.add(LiveEvent { at: now, kind, upstream, text, count, ..LiveEvent::default() });
    }

    fn update_stuck(&mut self, view: UpstreamView, upstream: &Arc<str>, events: &mut EventHistory) {
        // A server that does not answer is down.
        let stuck = view.stuck_s.filter(|_| self.state != Reachability::Down);
        let before = std::mem::replace(&mut self.stuck_s, stuck);
        let Some(silence) = stuck else { return };
        let since = view.now - silence;
        // The limit can rise for a while, so that the engine is not stuck meanwhile.
        let continues = |hang: &mut LiveEvent| hang.at + hang.duration_s.unwrap_or(0.0) >= since;
        let continues = events.newest_mut(LiveEventKind::Hang, upstream).is_some_and(continues);
        if before.is_none() && !continues {
            events.add(LiveEvent {
                at: since,
                kind: LiveEventKind::Hang,
                upstream: Some(Arc::clone(upstream)),
                ..LiveEvent::default()
            });
        }
        if let Some(hang) = events.newest_mut(LiveEventKind::Hang, upstream) {
            hang.duration_s = Some(rounded(silence));
            hang.text = format!(
                "The server generated nothing for {}, although output was due and it accepted connections.",
                seconds(silence)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The history and its events after these views, one each second from 1000 s on.
    fn after(
        views: &[(Option<bool>, f64, Option<f64>)],
    ) -> (UpstreamHistory, Vec<(LiveEventKind, String, Option<u64>)>) {
        let mut history = UpstreamHistory::new(1000.0);
        let mut events = EventHistory::default();
        for (at, (is_up, idle_s, stuck_s)) in views.iter().enumerate() {
            let now = 1000.0 + at as f64;
            let view =
                UpstreamView { now, is_up: *is_up, idle_s: Some(*idle_s), stuck_s: *stuck_s };
            history.update(view, &"gpu".into(), &mut events);
        }
        let found = events.newest_first().into_iter();
        (history, found.map(|one| (one.kind, one.text, one.count)).collect())
    }

    #[test]
    fn a_server_that_nobody_needs_is_down_without_an_outage() {
        let idle = |is_up, idle_s| (Some(is_up), idle_s, None);
        let (history, events) = after(&[idle(true, 59.0), idle(false, 60.0), idle(false, 61.0)]);
        assert_eq!((history.state, history.is_needed), (Reachability::Down, false));
        let text = "The server has not answered for 1.00 s, and no request needed it.".to_owned();
        assert_eq!(events, [(LiveEventKind::Down, text, Some(0))]);
        // A request comes.
        let (history, events) = after(&[idle(true, 59.0), idle(false, 60.0), idle(false, 0.0)]);
        assert!(history.is_needed);
        let text = "The server has not answered for 1.00 s.".to_owned();
        assert_eq!(events, [(LiveEventKind::Down, text, None)]);
        // The end of the outage does not change what it was.
        let views = [idle(false, 0.0), idle(false, 1.0), idle(true, 2.0)];
        let (_, events) = after(&views);
        assert_eq!(events[1].1, "The server did not answer for 2.00 s.");
        let (_, events) = after(&[idle(false, 60.0), idle(true, 61.0)]);
        assert_eq!(events[1].1, "The server did not answer for 1.00 s, and no request needed it.");
    }

    #[test]
    fn requests_that_the_outage_hit_need_the_server_for_ten_minutes() {
        let needs = |at: f64, idle_s: f64| {
            let mut history = UpstreamHistory::new(1000.0);
            let mut events = EventHistory::default();
            let first = idle_s - (at - 1000.0);
            for (now, idle_s) in [(1000.0, first), (at, idle_s)] {
                let view =
                    UpstreamView { now, is_up: Some(false), idle_s: Some(idle_s), stuck_s: None };
                history.update(view, &"gpu".into(), &mut events);
            }
            history.is_needed
        };
        assert!(needs(1590.0, 593.0), "they ended 3 s before the server went down");
        assert!(!needs(1600.0, 603.0));
        assert!(!needs(1010.0, 16.0), "they ended 6 s before");
    }

    #[test]
    fn a_hang_is_one_event() {
        let up = |stuck_s| (Some(true), 0.0, stuck_s);
        let (history, events) = after(&[up(None), up(Some(11.0)), up(Some(12.0))]);
        assert_eq!(history.stuck_s, Some(12.0));
        let text = "The server generated nothing for 12.0 s, although output was due and it accepted connections.";
        assert_eq!(events, [(LiveEventKind::Hang, text.to_owned(), None)]);
        let (_, events) = after(&[up(Some(11.0)), up(None), up(Some(13.0))]);
        assert_eq!(events.len(), 1, "the limit was longer for a while");
        let (_, events) =
            after(&[&[up(Some(11.0))], &[up(None); 20][..], &[up(Some(11.0))]].concat());
        assert_eq!(events.len(), 2, "there was output");
        let (history, _) = after(&[up(Some(11.0)), (Some(false), 0.0, Some(12.0))]);
        assert_eq!(history.stuck_s, None, "it is down");
    }
}
