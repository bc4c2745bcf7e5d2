//! The log on standard error: its lines, the panic messages, and the messages of a failed start.

use super::output::LogOutput;
use super::repeat_limit::RepeatLimit;
use super::writer::{LogEvents, LogSender, LogWriter, QueuedLine};
use crate::control_characters::{escape, is_unsafe};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::panic::{self, PanicHookInfo};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, registry, reload};

/// Number of lines that can wait to be written.
const QUEUE_CAPACITY: usize = 2048;
/// Longest line in bytes; longer ones are cut. With [`QUEUE_CAPACITY`], it bounds the memory of the queue.
const MAX_LINE: usize = 8192;
/// Time to write the last lines at the end of the process.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Lines that were dropped since the last call of [`take_dropped_lines`]. The log belongs to the process, and so does
/// this count.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Returns how many lines of the log were dropped since the last call.
pub fn take_dropped_lines() -> u64 {
    DROPPED.swap(0, Relaxed)
}

/// The log on standard error. A process has one.
#[derive(Debug)]
pub struct StandardErrorLog {
    writer: LogWriter<Vec<u8>>,
    limit: RepeatLimit,
    is_terminal: bool,
}

/// Changes the least severe level that the log has.
#[derive(Debug)]
pub struct LogLevelHandle(reload::Handle<LevelFilter, Registry>);

impl LogLevelHandle {
    /// Sets the level.
    pub fn set(&self, level: Level) {
        if let Err(error) = self.0.reload(LevelFilter::from_level(level)) {
            tracing::error!(%error, "cannot change the log level");
        }
    }
}

struct StandardErrorEvents(RepeatLimit);

impl LogEvents for StandardErrorEvents {
    fn on_dropped(&self, lines: u64) {
        DROPPED.fetch_add(lines, Relaxed);
    }

    fn on_tick(&self) {
        self.0.report();
    }
}

impl QueuedLine for Vec<u8> {
    fn append_to(&self, lines: &mut Vec<u8>) {
        lines.extend_from_slice(self);
    }
}

impl StandardErrorLog {
    /// Starts the writer thread.
    ///
    /// # Errors
    /// If the thread cannot be created, or no descriptor is free.
    pub fn start() -> io::Result<Self> {
        let stderr = io::stderr();
        Self::to_output(LogOutput::inherited(stderr.as_fd())?, stderr.is_terminal())
    }

    fn to_output(output: LogOutput, is_terminal: bool) -> io::Result<Self> {
        let limit = RepeatLimit::default();
        let events = StandardErrorEvents(limit.clone());
        let writer = LogWriter::start("log", output, QUEUE_CAPACITY, events)?;
        Ok(Self { writer, limit, is_terminal })
    }

    /// Sends the events of `tracing` and the panic messages of this process to the log. The handle changes the level.
    pub fn install(&self, level: Level, is_json: bool) -> LogLevelHandle {
        let (subscriber, handle) = self.subscriber(level, is_json);
        subscriber.init();
        panic::set_hook(Box::new(log_panic));
        handle
    }

    fn subscriber(&self, level: Level, is_json: bool) -> (impl Subscriber + use<>, LogLevelHandle) {
        let (filter, handle) = reload::Layer::new(LevelFilter::from_level(level));
        let lines = EscapedLines { sender: self.writer.sender(), has_colors: self.is_terminal };
        let layer = fmt::layer()
            .with_target(false)
            .with_ansi(self.is_terminal)
            // These messages go to standard error directly, where a write can block.
            .log_internal_errors(false)
            .with_writer(lines);
        let layer = if is_json { layer.json().boxed() } else { layer.boxed() };
        let subscriber = registry().with(filter).with(self.limit.clone()).with(layer);
        (subscriber, LogLevelHandle(handle))
    }

    /// Writes a message as it is, also one with several lines.
    pub fn print(&self, message: impl Display) {
        self.writer.sender().send(format!("{message}\n").into_bytes());
    }

    /// Writes the last lines, within a second.
    pub fn close(self) {
        // There is no place left to report lost lines.
        let _ = self.writer.close(CLOSE_TIMEOUT);
    }
}

/// Logs a panic like any other error, and therefore without waiting for standard error.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed");
    let location = panic.location().map(tracing::field::display);
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
    let backtrace = backtrace.as_ref().map(tracing::field::display);
    let cause = panic.payload_as_str().unwrap_or("no message");
    tracing::error!(thread = name, location, backtrace, "panicked: {cause}");
}

/// Puts each line into the queue, without unsafe characters.
#[derive(Debug, Clone)]
struct EscapedLines {
    sender: LogSender<Vec<u8>>,
    /// Lines contain the color codes of `tracing-subscriber`, which stay.
    has_colors: bool,
}

impl<'a> MakeWriter<'a> for EscapedLines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl io::Write for &EscapedLines {
    /// Takes one line: `tracing-subscriber` writes each line with one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.sender.send(safe_line(&text, self.has_colors).into_bytes());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The line without unsafe characters, of at most [`MAX_LINE`] bytes, with one line feed at its end.
fn safe_line(line: &str, has_colors: bool) -> String {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let mut safe = String::with_capacity(line.len() + 1);
    if has_colors {
        // A color code is ESC, `[`, digits and semicolons, `m`.
        for (index, part) in line.split('\u{1b}').enumerate() {
            let code = part.strip_prefix('[').and_then(|rest| {
                let length = rest.find(|c: char| !c.is_ascii_digit() && c != ';')?;
                rest.get(length..)?.starts_with('m').then_some(length + 2)
            });
            match code.filter(|_| index > 0).and_then(|length| part.split_at_checked(length)) {
                Some((code, rest)) => safe.extend(["\u{1b}", code, &escape(rest)]),
                None if index > 0 => safe.extend(["\\u001b", &escape(part)]),
                None => safe.push_str(&escape(part)),
            }
        }
    } else {
        safe.push_str(&escape(line));
    }
    debug_assert!(has_colors || !safe.contains(is_unsafe));
    safe.truncate(safe.floor_char_boundary(MAX_LINE - 1));
    safe.push('\n');
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_line_has_no_unsafe_character_but_its_end() {
        assert_eq!(safe_line("INFO fine a=\"b\"\n", false), "INFO fine a=\"b\"\n");
        assert_eq!(safe_line("a\nb\u{85}\u{1b}[2J\n", false), "a\\nb\\u0085\\u001b[2J\n");
    }

    #[test]
    fn color_codes_stay_on_a_terminal_and_other_codes_do_not() {
        let line = "\u{1b}[2m12:00\u{1b}[0m \u{1b}[1;33mWARN\u{1b}[0m x\u{1b}[2J\u{1b}]0;t\u{7}\n";
        let expected =
            "\u{1b}[2m12:00\u{1b}[0m \u{1b}[1;33mWARN\u{1b}[0m x\\u001b[2J\\u001b]0;t\\u0007\n";
        assert_eq!(safe_line(line, true), expected);
    }

    /// Returns the lines that `log` writes.
    fn logged(is_json: bool, log: impl FnOnce()) -> String {
        let (mut reader, writer) = io::pipe().unwrap();
        let output = LogOutput::inherited(writer.as_fd()).unwrap();
        drop(writer);
        let standard_error = StandardErrorLog::to_output(output, false).unwrap();
        tracing::subscriber::with_default(standard_error.subscriber(Level::INFO, is_json).0, log);
        standard_error.close();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_panic_is_one_line_of_the_log() {
        let text = logged(false, || {
            let default = panic::take_hook();
            panic::set_hook(Box::new(log_panic));
            let result = panic::catch_unwind(|| panic!("one\ntwo"));
            panic::set_hook(default);
            assert!(result.is_err());
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("ERROR panicked: one\\ntwo"), "{text}");
        assert!(text.contains(&format!("location={}:", file!())), "{text}");
    }

    #[test]
    fn hostile_values_stay_in_their_line_in_both_formats() {
        let hostile = "a\r\nb\u{85}\u{2028}\u{202e}\u{1b}[2J\0";
        for is_json in [false, true] {
            let text =
                logged(is_json, || tracing::warn!(model = hostile, error = %hostile, "{hostile}"));
            let line = text.strip_suffix('\n').unwrap();
            assert!(!line.contains(is_unsafe), "{line:?}");
            if is_json {
                let event: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(event["fields"]["model"], hostile);
            }
        }
    }

    #[test]
    fn long_lines_are_cut() {
        let line = safe_line(&"\u{20ac}".repeat(10_000), false);
        assert!(line.len() <= MAX_LINE && line.ends_with("\u{20ac}\n"), "{}", line.len());
    }
}
