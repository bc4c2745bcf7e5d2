//! The queue and the writer thread of a log.

use super::output::LogOutput;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, channel, sync_channel,
};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Maximum number of lines in one batch.
const MAX_BATCH: usize = 256;
/// Interval at which an idle writer calls [`LogEvents::on_tick`].
const TICK: Duration = Duration::from_secs(1);
/// Maximum wait for an output that accepts no bytes, before the writer checks for a reopen or a shutdown.
const WRITE_WAIT: Duration = Duration::from_millis(100);
/// Time for the writer thread to end after its deadline.
const END_MARGIN: Duration = Duration::from_secs(1);

/// A line in the queue of a log.
pub trait QueuedLine: Send + 'static {
    /// Appends the line with its line feed. Called by the writer thread.
    fn append_to(&self, lines: &mut Vec<u8>);
}

/// Reactions of a log's owner. The writer thread makes all calls, except some of [`LogEvents::on_dropped`]: a sender
/// calls it if the queue is full.
pub trait LogEvents: Send + Sync + 'static {
    /// Lines were dropped: the queue was full, or they could not be written.
    fn on_dropped(&self, lines: u64);
    /// Lines could not be written. They are counted by [`LogEvents::on_dropped`] too.
    fn on_write_error(&self, _error: &io::Error) {}
    /// The file could not be opened again; the old one stays in use.
    fn on_reopen_error(&self, _error: &io::Error) {}
    /// Called after each batch, and once a second at least.
    fn on_tick(&self) {}
}

enum LogMessage<T> {
    Line(T),
    /// Makes the writer look at [`WriterControl`].
    Wake,
}

/// State that the handle and the senders share with the writer thread.
struct WriterControl {
    should_reopen: AtomicBool,
    /// Set once, at shutdown: lines that are not written until then are dropped.
    deadline: OnceLock<Instant>,
    dropped: AtomicU64,
    events: Box<dyn LogEvents>,
}

impl WriterControl {
    fn drop_lines(&self, lines: u64) {
        self.dropped.fetch_add(lines, Relaxed);
        self.events.on_dropped(lines);
    }

    fn is_closing(&self) -> bool {
        self.deadline.get().is_some()
    }

    /// Longest wait for the output.
    fn write_wait(&self) -> Duration {
        let rest = self.deadline.get().map(|end| end.saturating_duration_since(Instant::now()));
        rest.map_or(WRITE_WAIT, |rest| rest.min(WRITE_WAIT))
    }

    fn is_expired(&self) -> bool {
        self.deadline.get().is_some_and(|deadline| Instant::now() >= *deadline)
    }
}

/// Puts lines into the queue of a log. Clones share it.
pub struct LogSender<T> {
    queue: SyncSender<LogMessage<T>>,
    control: Arc<WriterControl>,
}

impl<T: QueuedLine> LogSender<T> {
    /// Adds a line to the queue, or drops and counts it if the queue is full. Never waits.
    pub fn send(&self, line: T) {
        if self.queue.try_send(LogMessage::Line(line)).is_err() {
            self.control.drop_lines(1);
        }
    }
}

impl<T> Clone for LogSender<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), control: Arc::clone(&self.control) }
    }
}

impl<T> fmt::Debug for LogSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogSender").finish_non_exhaustive()
    }
}

/// Handle of a log's writer thread.
#[derive(Debug)]
pub struct LogWriter<T> {
    sender: LogSender<T>,
    /// Receives nothing; disconnected when the thread ends.
    ended: Receiver<()>,
}

impl<T: QueuedLine> LogWriter<T> {
    /// Starts the thread. At most `capacity` lines wait for it.
    ///
    /// # Errors
    /// If the thread cannot be created.
    pub fn start(
        name: &str,
        output: LogOutput,
        capacity: usize,
        events: impl LogEvents,
    ) -> io::Result<Self> {
        let (queue, messages) = sync_channel(capacity);
        let (thread, ended) = channel();
        let control = Arc::new(WriterControl {
            should_reopen: AtomicBool::new(false),
            deadline: OnceLock::new(),
            dropped: AtomicU64::new(0),
            events: Box::new(events),
        });
        let writer =
            WriterThread { messages, output, control: Arc::clone(&control), _ended: thread };
        std::thread::Builder::new().name(name.into()).spawn(move || writer.run())?;
        Ok(Self { sender: LogSender { queue, control }, ended })
    }

    /// A sender for the queue.
    pub fn sender(&self) -> LogSender<T> {
        self.sender.clone()
    }

    /// Makes the writer open its file again before the next line, after log rotation renamed it. If the writer waits
    /// for the old file, the lines of that write are dropped and counted.
    pub fn reopen(&self) {
        self.sender.control.should_reopen.store(true, Relaxed);
        self.wake();
    }

    /// Writes the lines in the queue for at most `timeout`, and drops and counts the others. Returns the number of lines
    /// that were dropped meanwhile, or `None` if the thread did not end: a write blocks it.
    pub fn close(self, timeout: Duration) -> Option<u64> {
        let control = &self.sender.control;
        let before = control.dropped.load(Relaxed);
        // Nothing else sets it: `self` is consumed.
        let _ = control.deadline.set(Instant::now() + timeout);
        self.wake();
        match self.ended.recv_timeout(timeout + END_MARGIN) {
            Err(RecvTimeoutError::Disconnected) => Some(control.dropped.load(Relaxed) - before),
            Ok(()) | Err(RecvTimeoutError::Timeout) => None,
        }
    }

    fn wake(&self) {
        // A full queue means that the writer is busy, and looks at its control soon.
        let _ = self.sender.queue.try_send(LogMessage::Wake);
    }
}

struct WriterThread<T> {
    messages: Receiver<LogMessage<T>>,
    output: LogOutput,
    control: Arc<WriterControl>,
    /// Dropped at the end of the thread, also by a panic.
    _ended: Sender<()>,
}

impl<T: QueuedLine> WriterThread<T> {
    fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            match self.next() {
                Ok(LogMessage::Line(line)) => line.append_to(&mut batch),
                Ok(LogMessage::Wake) | Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
            for message in self.messages.try_iter().take(MAX_BATCH - 1) {
                if let LogMessage::Line(line) = message {
                    line.append_to(&mut batch);
                }
            }
            if batch.is_empty() && self.control.is_closing() {
                return;
            }
            self.reopen_if_requested();
            self.write_batch(&batch);
            batch.clear();
            self.control.events.on_tick();
        }
    }

    /// Waits for the next message. At shutdown, the queue receives no more lines, so nothing is waited for.
    fn next(&self) -> Result<LogMessage<T>, TryRecvError> {
        if self.control.is_closing() {
            return self.messages.try_recv();
        }
        self.messages.recv_timeout(TICK).map_err(|error| match error {
            RecvTimeoutError::Timeout => TryRecvError::Empty,
            RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
        })
    }

    fn reopen_if_requested(&mut self) {
        if self.control.should_reopen.swap(false, Relaxed)
            && let Err(error) = self.output.reopen()
        {
            self.control.events.on_reopen_error(&error);
        }
    }

    fn write_batch(&mut self, batch: &[u8]) {
        // An earlier write failed in the middle of a line.
        let line_ended = if self.output.is_mid_line() && !batch.is_empty() {
            self.write(b"\n").map_err(|(error, _)| (error, batch))
        } else {
            Ok(())
        };
        if let Err((error, rest)) = line_ended.and_then(|()| self.write(batch)) {
            self.control.drop_lines(memchr::memchr_iter(b'\n', rest).count() as u64);
            self.control.events.on_write_error(&error);
        }
    }

    /// Writes all bytes. Waits for the output until a reopen is requested or the deadline of the shutdown is reached. An
    /// error has the bytes that were not written.
    fn write<'a>(&mut self, mut bytes: &'a [u8]) -> Result<(), (io::Error, &'a [u8])> {
        while !bytes.is_empty() {
            match self.output.write(bytes, self.control.write_wait()) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !self.must_stop() => {}
                Err(error) => return Err((error, bytes)),
            }
        }
        Ok(())
    }

    /// Whether a write must not wait any longer.
    fn must_stop(&self) -> bool {
        let should_reopen = self.output.can_reopen() && self.control.should_reopen.load(Relaxed);
        should_reopen || self.control.is_expired()
    }
}
