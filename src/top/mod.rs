//! `streamgauge top`: models, requests, events and slow requests in a terminal, from the admin port of a running
//! Streamgauge. The demo shows the same view.
//!
//! A screen is a list of lines, so that it is drawn on a terminal, printed as text, and compared in tests alike.
//!
//! | module | responsibility |
//! |---|---|
//! | `feed` | polls `/live` and `/requests/slow` |
//! | `state` | what is shown: the view, its order and position, the newest data |
//! | `screen` | the lines of a screen: header, body, footer |
//! | `columns` | tables that drop columns on a narrow terminal |
//! | `models`, `requests`, `events`, `slow`, `help` | the bodies |
//! | `sparkline` | a series as one line of bars |
//! | `theme` | colours, or none |
//! | `session` | the terminal and its keys |

mod columns;
mod events;
mod feed;
mod header;
mod help;
mod models;
mod requests;
mod screen;
mod session;
mod slow;
mod sparkline;
mod state;
#[cfg(test)]
mod tests;
mod theme;

use crate::admin_client::{AdminClient, AdminClientError, AdminUrl};
use crate::cli::TopArgs;
use crate::signals::StopSignals;
use feed::LiveFeed;
use session::TerminalSession;
use state::{KeyEffect, TopState};
use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::time::Instant;
use theme::Theme;
use tokio::sync::{mpsc, watch};

/// Width of a report in characters.
const REPORT_WIDTH: usize = 100;

/// Why `top` cannot start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// There is no terminal to draw on.
    #[error(
        "standard output is not a terminal that can be drawn on; --once prints one screen as text"
    )]
    NoTerminal,
    /// `--once` got no data.
    #[error("cannot read {url}: {error}")]
    Admin {
        /// Address of the port.
        url: AdminUrl,
        /// What failed.
        error: AdminClientError,
    },
    /// The terminal, a file or the runtime failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Shows the view until `q`, Ctrl-C or a signal.
///
/// # Errors
/// If there is no terminal, or it fails. Failures of the admin port are shown, and it is tried again.
pub fn run(args: &TopArgs) -> Result<(), TopError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = AdminClient::from_args(&args.admin)?;
        if args.once {
            let text = report(client).await?;
            return Ok(io::stdout().write_all(text.as_bytes())?);
        }
        if !is_terminal() {
            return Err(TopError::NoTerminal);
        }
        let mut stop = StopSignals::new()?;
        watch_live(client, None, stop.next()).await
    })
}

/// Whether standard output is a terminal that accepts escape codes.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Returns the models, the newest events and the slow requests as text.
///
/// # Errors
/// If the admin port does not return the data.
pub async fn report(client: AdminClient) -> Result<String, TopError> {
    let url = client.url().clone();
    let mut state = TopState::new(url.to_string(), None);
    let mut feed = LiveFeed::new(client);
    let updates = feed.updates().await.map_err(|error| TopError::Admin { url, error })?;
    updates.into_iter().for_each(|update| state.update(update, Instant::now()));
    Ok(screen::report(&state, REPORT_WIDTH))
}

/// Draws the view until `q`, Ctrl-C, or the end of `stop`. `note` is a line above the keys. The terminal is restored when
/// the future ends or is dropped.
///
/// # Errors
/// If the terminal fails.
pub async fn watch_live(
    client: AdminClient,
    note: Option<String>,
    stop: impl Future<Output = ()>,
) -> Result<(), TopError> {
    let mut state = TopState::new(client.url().to_string(), note);
    let (updates, mut news) = mpsc::channel(4);
    let (wants_slow, is_slow_wanted) = watch::channel(false);
    let feed = LiveFeed::new(client).run(updates, is_slow_wanted);
    let mut session = TerminalSession::start()?;
    let theme = Theme::of_environment();
    tokio::pin!(feed, stop);
    loop {
        session.draw(|width, height| screen::lines(&state, width, height, theme))?;
        tokio::select! {
            () = &mut stop => return Ok(()),
            () = &mut feed => return Ok(()),
            update = news.recv() => match update {
                Some(update) => state.update(update, Instant::now()),
                None => return Ok(()),
            },
            event = session.next_event() => match event {
                // Nothing reads the terminal any more.
                None => return Ok(()),
                Some(event) => if state.on_event(&event) == KeyEffect::Quit {
                    return Ok(());
                },
            },
        }
        wants_slow.send_if_modified(|wants| {
            let before = std::mem::replace(wants, state.shows_slow());
            before != *wants
        });
    }
}
