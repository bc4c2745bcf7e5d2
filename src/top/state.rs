//! State of the screen: the view, its order and position, and the newest data.

use super::columns::{Column, TableOrder};
use super::feed::LiveUpdate;
use super::{models, requests};
use crate::live::slow::SlowRequests;
use crate::live::snapshot::{LiveSnapshot, TrafficRow};
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::sync::Arc;
use std::time::Instant;

/// One of the bodies of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TopView {
    Models,
    Running,
    Newest,
    Events,
    Slow,
    Help,
}

/// Effect of a key on the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyEffect {
    Continue,
    Quit,
}

/// Upstream and model of a row.
type ModelName = (Option<Arc<str>>, Option<Arc<str>>);

/// The state of the screen.
#[derive(Debug)]
pub(super) struct TopState {
    /// Address of the admin port.
    pub url: String,
    /// Line above the keys.
    pub note: Option<String>,
    pub view: TopView,
    pub models_order: TableOrder,
    pub running_order: TableOrder,
    pub newest_order: TableOrder,
    /// The row whose series are shown; `None` for that of all requests.
    selected: Option<ModelName>,
    /// Number of lines that are scrolled out of the view.
    pub offset: usize,
    pub snapshot: Option<LiveSnapshot>,
    pub slow: Option<SlowRequests>,
    /// Why the last poll failed, and the age of the newest data then, in seconds.
    pub failure: Option<(String, Option<u64>)>,
    received: Option<Instant>,
}

impl TopState {
    /// Begins with the models and without data.
    pub fn new(url: String, note: Option<String>) -> Self {
        let descending = |column| TableOrder { column, is_descending: true };
        Self {
            url,
            note,
            view: TopView::Models,
            models_order: descending(models::REQUESTS),
            running_order: descending(requests::AGE),
            newest_order: descending(requests::ENDED),
            selected: None,
            offset: 0,
            snapshot: None,
            slow: None,
            failure: None,
            received: None,
        }
    }

    /// Whether the list of slow requests is shown.
    pub fn shows_slow(&self) -> bool {
        self.view == TopView::Slow
    }

    /// Takes news that arrived at this instant.
    pub fn update(&mut self, update: LiveUpdate, at: Instant) {
        match update {
            LiveUpdate::Snapshot(snapshot) => {
                self.snapshot = Some(*snapshot);
                self.received = Some(at);
                self.failure = None;
            }
            LiveUpdate::Slow(slow) => self.slow = Some(slow),
            LiveUpdate::Failure(why) => {
                let age = self.received.map(|received| at.duration_since(received).as_secs());
                self.failure = Some((why, age));
            }
        }
    }

    /// The rows of the models: all requests, then each model in the order of the table.
    pub fn model_rows(&self) -> Vec<&TrafficRow> {
        let Some(snapshot) = &self.snapshot else { return Vec::new() };
        let mut rows: Vec<&TrafficRow> = snapshot.models.iter().collect();
        super::columns::sort(&mut rows, &models::COLUMNS, self.models_order);
        rows.insert(0, &snapshot.total);
        rows
    }

    /// Index of the selected row of the models.
    pub fn selected_row(&self) -> usize {
        let Some(selected) = &self.selected else { return 0 };
        let is = |row: &&TrafficRow| name(row) == *selected;
        self.model_rows().iter().position(is).unwrap_or_default()
    }

    /// Handles a key. A change of size only needs a new screen.
    pub fn on_event(&mut self, event: &Event) -> KeyEffect {
        let Event::Key(KeyEvent { code, modifiers, kind, .. }) = event else {
            return KeyEffect::Continue;
        };
        if *kind == KeyEventKind::Release {
            return KeyEffect::Continue;
        }
        let is_control = modifiers.contains(KeyModifiers::CONTROL);
        match code {
            KeyCode::Char('c' | 'd') if is_control => return KeyEffect::Quit,
            KeyCode::Char('q') => return KeyEffect::Quit,
            KeyCode::Char('m') => self.show(TopView::Models),
            KeyCode::Char('r') => self.show(TopView::Running),
            KeyCode::Char('n') => self.show(TopView::Newest),
            KeyCode::Char('e') => self.show(TopView::Events),
            KeyCode::Char('s') => self.show(TopView::Slow),
            KeyCode::Char('?' | 'h') => self.show(TopView::Help),
            KeyCode::Esc => self.show(TopView::Models),
            KeyCode::Char('o') | KeyCode::Right => self.order_by_next(1),
            KeyCode::Left => self.order_by_next(-1),
            KeyCode::Char('O') => self.reverse(),
            KeyCode::Down | KeyCode::Char('j') => self.move_by(1),
            KeyCode::Up | KeyCode::Char('k') => self.move_by(-1),
            KeyCode::PageDown => self.move_by(10),
            KeyCode::PageUp => self.move_by(-10),
            KeyCode::Home => self.move_by(isize::MIN),
            _ => {}
        }
        KeyEffect::Continue
    }

    fn show(&mut self, view: TopView) {
        self.view = view;
        self.offset = 0;
    }

    fn order(&mut self) -> Option<(&mut TableOrder, usize)> {
        fn count<T>(columns: &[Column<T>]) -> usize {
            columns.len()
        }
        match self.view {
            TopView::Models => Some((&mut self.models_order, count(&models::COLUMNS))),
            TopView::Running => Some((&mut self.running_order, count(&requests::RUNNING))),
            TopView::Newest => Some((&mut self.newest_order, count(&requests::NEWEST))),
            TopView::Events | TopView::Slow | TopView::Help => None,
        }
    }

    fn order_by_next(&mut self, step: isize) {
        if let Some((order, columns)) = self.order() {
            order.column = (order.column + columns).saturating_add_signed(step) % columns;
        }
    }

    fn reverse(&mut self) {
        if let Some((order, _)) = self.order() {
            order.is_descending = !order.is_descending;
        }
    }

    /// Moves the selection of the models, or scrolls another view. The screen limits the offset.
    fn move_by(&mut self, lines: isize) {
        if self.view != TopView::Models {
            self.offset = self.offset.saturating_add_signed(lines).min(self.length());
            return;
        }
        let row = self.selected_row().saturating_add_signed(lines);
        let rows = self.model_rows();
        let row = rows.get(row).or(rows.last()).filter(|row| row.model.is_some());
        self.selected = row.map(|row| name(row));
    }

    /// Number of lines that can be scrolled.
    fn length(&self) -> usize {
        let snapshot = self.snapshot.as_ref();
        let length = match self.view {
            TopView::Running => snapshot.map(|snapshot| snapshot.running.oldest.len()),
            TopView::Newest => snapshot.map(|snapshot| snapshot.newest.len()),
            TopView::Events => snapshot.map(|snapshot| snapshot.events.len()),
            // Each request has a few lines.
            TopView::Slow => self.slow.as_ref().map(|slow| 4 * slow.requests.len()),
            TopView::Models | TopView::Help => None,
        };
        length.unwrap_or_default().saturating_sub(1)
    }
}

fn name(row: &TrafficRow) -> ModelName {
    (row.upstream.clone(), row.model.clone())
}
