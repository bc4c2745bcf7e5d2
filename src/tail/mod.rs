//! `streamgauge tail`: prints requests as they end.
//!
//! | module | responsibility |
//! |---|---|
//! | `feed` | polls `/requests` and detects missed requests and restarts |
//! | `record` | the fields of a request, and the filters |
//! | `columns` | one aligned line per request |

mod columns;
mod feed;
mod record;

use crate::admin_client::{AdminClient, AdminClientError, AdminUrl};
use crate::cli::TailArgs;
use columns::Columns;
use feed::{FeedUpdate, RequestFeed};
use record::TailRecord;
use std::io::{self, Write};
use std::time::Duration;
use tokio::time::sleep;

/// Time between two polls.
const INTERVAL: Duration = Duration::from_millis(500);

/// Why `tail` ended.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// The admin port does not respond, or refuses the request.
    #[error("cannot read the requests from {url}: {error}")]
    Admin {
        /// Address of the port.
        url: AdminUrl,
        /// What failed.
        error: AdminClientError,
    },
    /// A file, the runtime, or standard output failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Prints requests until the process is stopped, or nothing reads standard output any more.
///
/// # Errors
/// If the first request to the admin port fails, if a later one is refused, or if standard output fails.
pub fn run(args: &TailArgs) -> Result<(), TailError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(follow(args)) {
        // The reader has what it needs: `streamgauge tail | head -1`.
        Err(TailError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        ended => ended,
    }
}

async fn follow(args: &TailArgs) -> Result<(), TailError> {
    let client = AdminClient::from_args(&args.admin)?;
    let url = client.url().clone();
    let mut feed = RequestFeed::new(client, args.last);
    let columns = Columns::of_stdout();
    let mut out = io::stdout().lock();
    let mut update =
        feed.poll().await.map_err(|error| TailError::Admin { url: url.clone(), error })?;
    if !args.json {
        writeln!(out, "{}", columns.heading())?;
    }
    let mut is_lost = false;
    loop {
        notices(&update, is_lost).iter().for_each(|notice| report(notice));
        is_lost = false;
        print(&update, args, &columns, &mut out)?;
        update = loop {
            sleep(INTERVAL).await;
            match feed.poll().await {
                Ok(update) => break update,
                Err(error) if error.is_refusal() => {
                    return Err(TailError::Admin { url, error });
                }
                Err(error) if !is_lost => {
                    report(&format!("lost {url}: {error}; trying again until it responds"));
                    is_lost = true;
                }
                Err(_) => {}
            }
        };
    }
}

/// Writes a line to standard error. Standard output has requests only, so that a program can read it.
fn report(notice: &str) {
    let _ = writeln!(io::stderr(), "streamgauge: {notice}");
}

/// Messages about the feed, apart from new requests.
fn notices(update: &FeedUpdate, was_lost: bool) -> Vec<String> {
    let mut notices = Vec::new();
    match (was_lost, update.is_restart) {
        (_, true) => notices.push(
            "Streamgauge has restarted; requests that ended just before may be missing".to_owned(),
        ),
        (true, false) => notices.push("connected again".to_owned()),
        (false, false) => {}
    }
    match update.missed {
        0 => {}
        1 => notices.push("1 request is missing here: it is not kept any more".to_owned()),
        missed => {
            notices.push(format!("{missed} requests are missing here: they are not kept any more"))
        }
    }
    notices
}

/// Prints the requests that the filters select.
fn print(
    update: &FeedUpdate,
    args: &TailArgs,
    columns: &Columns,
    out: &mut impl Write,
) -> io::Result<()> {
    for line in update.lines() {
        // A line of another version that cannot be read passes no filter.
        let Ok(record) = serde_json::from_str::<TailRecord<'_>>(line) else { continue };
        if !record.is_selected(args) {
            continue;
        }
        if args.json {
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "{}", columns.row(&record))?;
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_and_missed_requests_are_reported() {
        let update = |missed, is_restart| FeedUpdate::of_notices(missed, is_restart);
        for (update, was_lost, words) in [
            (update(0, false), false, &[][..]),
            (update(0, false), true, &["connected again"]),
            (update(7, false), false, &["7 requests are missing"]),
            (update(1, true), true, &["has restarted", "1 request is missing"]),
        ] {
            let notices = notices(&update, was_lost);
            assert_eq!(notices.len(), words.len(), "{notices:?}");
            assert!(notices.iter().zip(words).all(|(notice, words)| notice.contains(words)));
        }
    }
}
