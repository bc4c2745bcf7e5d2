//! The request log: one JSON object a line as each request ends.
//!
//! The data path only puts the record into a bounded queue; a thread of its own formats and writes it.
//! A full queue or a file that cannot be written loses lines, which are counted, and never holds up a
//! request. The newest lines are also kept in memory, for `GET /requests`.

use crate::metrics::Metrics;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use streamgauge_core::meter::RequestRecord;

/// Lines that are kept in memory.
pub const KEPT: usize = 1000;
/// Lines that may wait to be written.
const QUEUE: usize = 8192;
/// Most lines that one write takes.
const BATCH: usize = 256;
/// How often an idle writer looks whether it must reopen its file.
const IDLE: Duration = Duration::from_millis(200);

/// Where lines go. Clones share it.
#[derive(Debug, Clone)]
pub struct RequestLog {
    kept: Arc<Mutex<VecDeque<Arc<RequestRecord>>>>,
    queue: Option<SyncSender<Arc<RequestRecord>>>,
    metrics: Arc<Metrics>,
}

/// The thread that writes the file.
#[derive(Debug)]
pub struct RequestLogWriter {
    thread: JoinHandle<()>,
    reopen: Arc<AtomicBool>,
}

impl RequestLog {
    /// A log that only keeps the newest lines in memory.
    pub fn in_memory(metrics: Arc<Metrics>) -> Self {
        Self { kept: Arc::default(), queue: None, metrics }
    }

    /// A log that also goes to a file, or to standard output for `-`.
    ///
    /// # Errors
    /// If the file cannot be opened or the thread not started.
    pub fn to_file(path: &Path, metrics: Arc<Metrics>) -> io::Result<(Self, RequestLogWriter)> {
        let (queue, records) = sync_channel(QUEUE);
        let reopen = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            target: Target::open(path)?,
            path: path.to_owned(),
            reopen: Arc::clone(&reopen),
            metrics: Arc::clone(&metrics),
            torn: false,
        };
        let builder = std::thread::Builder::new().name("request-log".into());
        let thread = builder.spawn(move || writer.run(&records))?;
        let log = Self { queue: Some(queue), ..Self::in_memory(metrics) };
        Ok((log, RequestLogWriter { thread, reopen }))
    }

    /// A request has ended.
    pub fn write(&self, record: RequestRecord) {
        let record = Arc::new(record);
        let old = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let old = if kept.len() == KEPT { kept.pop_front() } else { None };
            kept.push_back(Arc::clone(&record));
            old
        };
        drop(old);
        if let Some(queue) = &self.queue
            && queue.try_send(record).is_err()
        {
            self.metrics.count_dropped_log_lines(1);
        }
    }

    /// The newest lines, oldest of them first; at most [`KEPT`].
    pub fn last(&self, count: usize) -> Vec<u8> {
        let records: Vec<Arc<RequestRecord>> = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.iter().skip(kept.len().saturating_sub(count)).cloned().collect()
        };
        let mut lines = Vec::new();
        records.iter().for_each(|record| append(record, &mut lines));
        lines
    }
}

/// Appends the line of a record.
fn append(record: &RequestRecord, lines: &mut Vec<u8>) {
    let before = lines.len();
    // A record of numbers and strings always has a JSON form.
    match serde_json::to_writer(&mut *lines, record) {
        Ok(()) => lines.push(b'\n'),
        Err(_) => lines.truncate(before),
    }
}

impl RequestLogWriter {
    /// Opens the file anew before the next line, after somebody moved it away.
    pub fn reopen(&self) {
        self.reopen.store(true, Relaxed);
    }

    /// Waits until every line is written. All clones of the log must be gone.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the request log's writer failed; its last lines are lost");
        }
    }
}

#[derive(Debug)]
enum Target {
    Stdout,
    File(File),
}

impl Target {
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
struct Writer {
    target: Target,
    path: PathBuf,
    reopen: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
    /// The last write failed, maybe in the middle of a line.
    torn: bool,
}

impl Writer {
    fn run(mut self, records: &Receiver<Arc<RequestRecord>>) {
        let mut batch = Vec::new();
        loop {
            let first = records.recv_timeout(IDLE);
            if self.reopen.swap(false, Relaxed) {
                match Target::open(&self.path) {
                    Ok(target) => self.target = target,
                    Err(error) => tracing::error!(
                        %error, path = %self.path.display(),
                        "cannot reopen the request log: going on with the old file"
                    ),
                }
            }
            match first {
                Ok(record) => {
                    append(&record, &mut batch);
                    let mut count = 1;
                    for record in records.try_iter().take(BATCH - 1) {
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
        let mended = if self.torn { self.target.write(b"\n") } else { Ok(()) };
        match mended.and_then(|()| self.target.write(batch)) {
            Ok(()) => self.torn = false,
            Err(error) => {
                self.metrics.count_dropped_log_lines(count);
                if !self.torn {
                    tracing::error!(
                        %error, path = %self.path.display(),
                        "cannot write the request log: lines are dropped and counted until it works again"
                    );
                }
                self.torn = true;
            }
        }
    }
}
