//! The terminal: its state, its keys, and drawing.

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use ratatui::text::Line;
use std::io;
use std::time::Duration;
use tokio::sync::mpsc;

/// Longest time for which the thread that reads keys outlives the session.
const KEY_POLL: Duration = Duration::from_millis(250);

/// A terminal in raw mode, on its alternate screen. It is restored when dropped, and by a panic.
pub(super) struct TerminalSession {
    terminal: DefaultTerminal,
    events: mpsc::Receiver<Event>,
}

impl TerminalSession {
    /// Takes over the terminal of standard output.
    pub fn start() -> io::Result<Self> {
        let (sender, events) = mpsc::channel(64);
        let terminal = ratatui::try_init()?;
        let session = Self { terminal, events };
        std::thread::Builder::new().name("keys".into()).spawn(move || read_events(&sender))?;
        Ok(session)
    }

    /// Draws the lines that `lines` returns for a width and a height.
    pub fn draw(
        &mut self,
        lines: impl FnOnce(usize, usize) -> Vec<Line<'static>>,
    ) -> io::Result<()> {
        self.terminal.draw(|frame| {
            let area = frame.area();
            let lines = lines(area.width.into(), area.height.into());
            for (y, line) in (area.y..area.bottom()).zip(&lines) {
                frame.buffer_mut().set_line(area.x, y, line, area.width);
            }
        })?;
        Ok(())
    }

    /// The next key or change of size. `None` if the terminal cannot be read any more.
    pub async fn next_event(&mut self) -> Option<Event> {
        self.events.recv().await
    }
}

impl Drop for TerminalSession {
    fn drop(&mut self) {
        // Where it fails, the terminal is gone.
        let _ = ratatui::try_restore();
    }
}

fn read_events(events: &mpsc::Sender<Event>) {
    while !events.is_closed() {
        match event::poll(KEY_POLL) {
            Ok(false) => {}
            Ok(true) => {
                let Ok(event) = event::read() else { return };
                if events.blocking_send(event).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}
