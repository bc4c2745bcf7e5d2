//! The request log: one line of JSON per request, written at the end of the request.
//!
//! The data path only puts the record into a bounded queue ([`LogSender`]); the writer thread formats it. If the queue is
//! full or the file cannot be written, lines are dropped and counted, and no request waits. The newest records are
//! also kept in memory, for `GET /requests`.

use crate::control_characters::SafeJson;
use crate::log::{LogEvents, LogOutput, LogSender, LogWriter, QueuedLine, UNLIMITED};
use crate::metrics::Metrics;
use serde::Serialize;
use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use streamgauge_core::meter::RequestRecord;

/// Number of records kept in memory.
pub const MAX_RECENT: usize = 1000;
/// Number of records that can wait to be written.
const QUEUE_CAPACITY: usize = 8192;
/// Time to write the lines that are still in the queue at shutdown.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The request log of the process. Clones share it.
#[derive(Debug, Clone)]
pub struct RequestLog {
    recent: Arc<Mutex<RecentRecords>>,
    /// Number of this log, which differs from that of an earlier process.
    instance: u64,
    queue: Option<LogSender<Arc<RequestRecord>>>,
}

/// The newest records.
#[derive(Debug, Default)]
struct RecentRecords {
    /// Oldest first; at most [`MAX_RECENT`].
    records: VecDeque<Arc<RequestRecord>>,
    /// Number of requests that have ended.
    ended: u64,
}

/// The records of the requests that ended since an earlier reading.
#[derive(Debug, Default)]
pub struct NewRecords {
    /// The newest of them, oldest first; at most [`MAX_RECENT`].
    pub records: Vec<Arc<RequestRecord>>,
    /// Number of requests that ended. Above the number of records if they were too many to be kept.
    pub ended: u64,
}

/// Lines of the newest requests.
#[derive(Debug)]
pub struct RecentLines {
    /// One JSON object per line, oldest first.
    pub lines: Vec<u8>,
    /// Number of requests that ended since the start, including those that are not kept any more.
    pub ended: u64,
    /// Number of the process's log: a reader detects a restart by it.
    pub instance: u64,
}

/// Handle of the thread that writes the file.
#[derive(Debug)]
pub struct RequestLogWriter(LogWriter<Arc<RequestRecord>>);

impl RequestLog {
    /// Creates a log that only keeps the newest records in memory.
    pub fn in_memory() -> Self {
        // Microseconds since 1970: two processes on one port do not start in the same one.
        let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            recent: Arc::default(),
            instance: u64::try_from(start.as_micros()).unwrap_or_default(),
            queue: None,
        }
    }

    /// Creates a log that also writes to a file, or to standard output if the path is `-`.
    ///
    /// # Errors
    /// If the file cannot be opened, or the thread cannot be started.
    pub fn to_file(path: &Path, metrics: Arc<Metrics>) -> io::Result<(Self, RequestLogWriter)> {
        let output = if path == Path::new("-") {
            LogOutput::inherited(io::stdout().as_fd())?
        } else {
            LogOutput::open(path)?
        };
        let events = RequestLogEvents { path: path.to_owned(), metrics };
        let writer = LogWriter::start("request-log", output, QUEUE_CAPACITY, events)?;
        let log = Self { queue: Some(writer.sender()), ..Self::in_memory() };
        Ok((log, RequestLogWriter(writer)))
    }

    /// Records the end of a request.
    pub fn write(&self, record: Arc<RequestRecord>) {
        let old = {
            let RecentRecords { records, ended } = &mut *self.recent();
            *ended += 1;
            let old = if records.len() == MAX_RECENT { records.pop_front() } else { None };
            records.push_back(Arc::clone(&record));
            old
        };
        drop(old);
        if let Some(queue) = &self.queue {
            queue.send(record);
        }
    }

    /// Returns the records of the requests that ended since an earlier reading. `seen`: the number of requests that had
    /// ended then, which becomes the present number.
    pub fn read_new(&self, seen: &mut u64) -> NewRecords {
        let RecentRecords { records, ended } = &*self.recent();
        let new = ended.saturating_sub(*seen);
        *seen = *ended;
        let count = usize::try_from(new).unwrap_or(usize::MAX).min(records.len());
        let records = records.iter().skip(records.len() - count).cloned().collect();
        NewRecords { records, ended: new }
    }

    fn recent(&self) -> MutexGuard<'_, RecentRecords> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns at most `count` of the newest requests, and only those that ended after the request with the number
    /// `after`, if that is still kept. At most [`MAX_RECENT`].
    pub fn newest(&self, count: usize, after: Option<u64>) -> RecentLines {
        let (records, ended) = {
            let RecentRecords { records, ended } = &*self.recent();
            // From the end: a reader that polls has seen almost all of them.
            let seen = after.and_then(|id| records.iter().rposition(|record| record.id == id));
            let first = seen.map_or(0, |seen| seen + 1).max(records.len().saturating_sub(count));
            (records.iter().skip(first).cloned().collect::<Vec<_>>(), *ended)
        };
        let mut lines = Vec::new();
        records.iter().for_each(|record| append(record, &mut lines));
        RecentLines { lines, ended, instance: self.instance }
    }
}

/// Checks that the file can be opened for appending. Neither creates nor changes it.
///
/// # Errors
/// If it cannot be opened, or its directory does not accept new files.
pub fn check_writable(path: &Path) -> io::Result<()> {
    if path == Path::new("-") {
        return Ok(());
    }
    match std::fs::metadata(path) {
        // Opening a pipe would wait for its reader.
        Ok(metadata) if metadata.file_type().is_fifo() => Ok(()),
        Ok(_) => OpenOptions::new().append(true).open(path).map(drop),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = format!(".streamgauge-check-{}", std::process::id());
            let probe = path.with_file_name(name);
            OpenOptions::new().create_new(true).write(true).open(&probe)?;
            std::fs::remove_file(probe)
        }
        Err(error) => Err(error),
    }
}

impl QueuedLine for Arc<RequestRecord> {
    fn append_to(&self, lines: &mut Vec<u8>) {
        append(self, lines);
    }
}

/// Appends the JSON line of a record.
fn append(record: &RequestRecord, lines: &mut Vec<u8>) {
    let before = lines.len();
    // Never fails for a record, which has only numbers and strings.
    match record.serialize(&mut serde_json::Serializer::with_formatter(&mut *lines, SafeJson)) {
        Ok(()) => lines.push(b'\n'),
        Err(_) => lines.truncate(before),
    }
}

impl RequestLogWriter {
    /// Reopens the file before the next line, after log rotation renamed it.
    pub fn reopen(&self) {
        self.0.reopen();
    }

    /// Writes the lines that are still in the queue, for at most five seconds. The others are dropped.
    pub fn close(self) {
        match self.0.close(CLOSE_TIMEOUT) {
            Some(0) => {}
            lines => tracing::error!(
                lines,
                "the last lines of the request log were dropped: its output accepts no more"
            ),
        }
    }
}

struct RequestLogEvents {
    path: PathBuf,
    metrics: Arc<Metrics>,
}

impl LogEvents for RequestLogEvents {
    fn on_dropped(&self, lines: u64) {
        self.metrics.count_dropped_request_lines(lines);
    }

    fn on_write_error(&self, error: &io::Error) {
        tracing::error!(
            %error, path = %self.path.display(),
            "cannot write the request log; lines are dropped and counted until a write succeeds"
        );
    }

    fn on_reopen_error(&self, error: &io::Error) {
        tracing::error!(
            target: UNLIMITED, %error, path = %self.path.display(),
            "cannot reopen the request log; lines go to the old file"
        );
    }
}
