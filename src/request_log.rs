//! The request log: one line of JSON per request, written at the end of the request.
//!
//! The data path only puts the record into a bounded queue. A separate thread formats and writes it. If
//! the queue is full or the file cannot be written, lines are dropped and counted, and no request waits. The
//! newest records are also kept in memory, for `GET /requests`.

use crate::metrics::Metrics;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use streamgauge_core::meter::RequestRecord;

/// Number of records kept in memory.
pub const MAX_RECENT: usize = 1000;
/// Number of records that can wait to be written.
const QUEUE_CAPACITY: usize = 8192;
/// Maximum number of lines in one write.
const MAX_BATCH: usize = 256;
/// How often an idle writer checks for a request to reopen its file.
const REOPEN_CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// The request log of the process. Clones share it.
#[derive(Debug, Clone)]
pub struct RequestLog {
    recent: Arc<Mutex<VecDeque<Arc<RequestRecord>>>>,
    queue: Option<SyncSender<Arc<RequestRecord>>>,
    metrics: Arc<Metrics>,
}

/// Handle of the thread that writes the file.
#[derive(Debug)]
pub struct RequestLogWriter {
    thread: JoinHandle<()>,
    reopen: Arc<AtomicBool>,
}

impl RequestLog {
    /// Creates a log that only keeps the newest records in memory.
    pub fn in_memory(metrics: Arc<Metrics>) -> Self {
        Self { recent: Arc::default(), queue: None, metrics }
    }

    /// Creates a log that also writes to a file, or to standard output if the path is `-`.
    ///
    /// # Errors
    /// If the file cannot be opened, or the thread cannot be started.
    pub fn to_file(path: &Path, metrics: Arc<Metrics>) -> io::Result<(Self, RequestLogWriter)> {
        let (queue, records) = sync_channel(QUEUE_CAPACITY);
        let reopen = Arc::new(AtomicBool::new(false));
        let writer = LogWriter {
            output: LogOutput::open(path)?,
            path: path.to_owned(),
            reopen: Arc::clone(&reopen),
            metrics: Arc::clone(&metrics),
            has_partial_line: false,
        };
        let builder = std::thread::Builder::new().name("request-log".into());
        let thread = builder.spawn(move || writer.run(&records))?;
        let log = Self { queue: Some(queue), ..Self::in_memory(metrics) };
        Ok((log, RequestLogWriter { thread, reopen }))
    }

    /// Records the end of a request.
    pub fn write(&self, record: RequestRecord) {
        let record = Arc::new(record);
        let old = {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            let old = if recent.len() == MAX_RECENT { recent.pop_front() } else { None };
            recent.push_back(Arc::clone(&record));
            old
        };
        drop(old);
        if let Some(queue) = &self.queue
            && queue.try_send(record).is_err()
        {
            self.metrics.count_dropped_log_lines(1);
        }
    }

    /// The lines of the newest requests, oldest first; at most [`MAX_RECENT`].
    pub fn last(&self, count: usize) -> Vec<u8> {
        let records: Vec<Arc<RequestRecord>> = {
            let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            recent.iter().skip(recent.len().saturating_sub(count)).cloned().collect()
        };
        let mut lines = Vec::new();
        records.iter().for_each(|record| append(record, &mut lines));
        lines
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

/// Appends the JSON line of a record.
fn append(record: &RequestRecord, lines: &mut Vec<u8>) {
    let before = lines.len();
    // Never fails for a record, which has only numbers and strings.
    match serde_json::to_writer(&mut *lines, record) {
        Ok(()) => lines.push(b'\n'),
        Err(_) => lines.truncate(before),
    }
}

impl RequestLogWriter {
    /// Reopens the file before the next line, after log rotation renamed it.
    pub fn reopen(&self) {
        self.reopen.store(true, Relaxed);
    }

    /// Waits until every line is written. All clones of the log must be dropped before.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!(
                "the thread that writes the request log panicked; the last lines are lost"
            );
        }
    }
}

#[derive(Debug)]
enum LogOutput {
    Stdout,
    File(File),
}

impl LogOutput {
    fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        Ok(Self::File(OpenOptions::new().create(true).append(true).open(path)?))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()
            }
            Self::File(file) => file.write_all(bytes),
        }
    }
}

#[derive(Debug)]
struct LogWriter {
    output: LogOutput,
    path: PathBuf,
    reopen: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
    /// The last write failed, possibly in the middle of a line.
    has_partial_line: bool,
}

impl LogWriter {
    fn run(mut self, records: &Receiver<Arc<RequestRecord>>) {
        let mut batch = Vec::new();
        loop {
            let first = records.recv_timeout(REOPEN_CHECK_INTERVAL);
            if self.reopen.swap(false, Relaxed) {
                match LogOutput::open(&self.path) {
                    Ok(output) => self.output = output,
                    Err(error) => tracing::error!(
                        %error, path = %self.path.display(),
                        "cannot reopen the request log; lines go to the old file"
                    ),
                }
            }
            match first {
                Ok(record) => {
                    append(&record, &mut batch);
                    let mut count = 1;
                    for record in records.try_iter().take(MAX_BATCH - 1) {
                        append(&record, &mut batch);
                        count += 1;
                    }
                    self.write(&batch, count);
                    batch.clear();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn write(&mut self, batch: &[u8], count: u64) {
        let line_ended = if self.has_partial_line { self.output.write(b"\n") } else { Ok(()) };
        match line_ended.and_then(|()| self.output.write(batch)) {
            Ok(()) => self.has_partial_line = false,
            Err(error) => {
                self.metrics.count_dropped_log_lines(count);
                if !self.has_partial_line {
                    tracing::error!(
                        %error, path = %self.path.display(),
                        "cannot write the request log; lines are dropped and counted until a write succeeds"
                    );
                }
                self.has_partial_line = true;
            }
        }
    }
}
