//! Limit on repeated log lines, so that a condition that traffic can cause does not fill the log.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Lines of one kind are written once in this time.
const INTERVAL: Duration = Duration::from_secs(10);
/// Maximum number of kinds that are distinguished at a time. Further ones are limited together.
const MAX_KINDS: usize = 1024;
/// Target of events that are not limited: those that an operator causes (start, reload, stop), and the reports of this
/// module. Traffic can cause all other events.
pub const UNLIMITED: &str = "streamgauge::unlimited";

/// A log statement, and the upstream of its line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct LineKind {
    statement: Option<Identifier>,
    upstream: String,
}

#[derive(Debug, Clone)]
struct Repeats {
    since: Instant,
    suppressed: u64,
    level: Level,
    message: String,
}

/// Passes each [kind](LineKind) of event once in [`INTERVAL`]. The others are counted, and [`RepeatLimit::report`]
/// logs their number. Events of the levels `debug` and `trace`, and those with the target [`UNLIMITED`], are not limited.
/// Clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct RepeatLimit {
    kinds: Arc<Mutex<HashMap<LineKind, Repeats>>>,
}

/// Reads from an event what a [`LineKind`] and the report need.
#[derive(Default)]
struct LineFields {
    message: String,
    upstream: String,
}

impl Visit for LineFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            "upstream" => self.upstream = value.to_owned(),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if matches!(field.name(), "message" | "upstream") {
            self.record_str(field, &format!("{value:?}"));
        }
    }
}

impl RepeatLimit {
    /// Whether a line of this kind is written now. If not, it is counted.
    fn passes(
        &self,
        statement: Identifier,
        level: Level,
        fields: LineFields,
        now: Instant,
    ) -> bool {
        let kind = LineKind { statement: Some(statement), upstream: fields.upstream };
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = kinds.len() >= MAX_KINDS && !kinds.contains_key(&kind);
        let kind = if is_full { LineKind::default() } else { kind };
        if let Some(repeats) = kinds.get_mut(&kind) {
            // A window with suppressed lines is ended by the report.
            if repeats.suppressed > 0 || now.saturating_duration_since(repeats.since) < INTERVAL {
                repeats.suppressed += 1;
                return false;
            }
        }
        let repeats = Repeats { since: now, suppressed: 0, level, message: fields.message };
        kinds.insert(kind, repeats);
        true
    }

    /// Removes the kinds whose interval is over, and returns those with suppressed lines. Their next interval begins.
    fn take_due(&self, now: Instant) -> Vec<(LineKind, Repeats)> {
        let mut due = Vec::new();
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.retain(|kind, repeats| {
            if now.saturating_duration_since(repeats.since) < INTERVAL {
                return true;
            }
            if repeats.suppressed > 0 {
                due.push((kind.clone(), repeats.clone()));
                (repeats.since, repeats.suppressed) = (now, 0);
                return true;
            }
            false
        });
        due
    }

    /// Logs how many lines were suppressed, for each kind whose interval is over.
    pub fn report(&self) {
        let now = Instant::now();
        for (kind, repeats) in self.take_due(now) {
            let Repeats { since, suppressed, level, message } = repeats;
            let seconds = now.saturating_duration_since(since).as_secs();
            let upstream = Some(&*kind.upstream).filter(|upstream| !upstream.is_empty());
            // The level of an event is constant.
            macro_rules! summarise {
                ($level:ident) => {
                    tracing::$level!(
                        target: UNLIMITED,
                        upstream,
                        "{message} ({suppressed} more in the last {seconds} s)"
                    )
                };
            }
            match level {
                Level::ERROR => summarise!(error),
                Level::WARN => summarise!(warn),
                _ => summarise!(info),
            }
        }
    }
}

impl<S: Subscriber> Layer<S> for RepeatLimit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || metadata.target() == UNLIMITED {
            return true;
        }
        let mut fields = LineFields::default();
        event.record(&mut fields);
        self.passes(metadata.callsite(), *metadata.level(), fields, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::{filter::LevelFilter, fmt};

    #[derive(Clone, Default)]
    struct CollectedLines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for CollectedLines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Runs `log` under a limit, and returns the lines and the limit.
    fn collect(log: impl FnOnce()) -> (String, RepeatLimit) {
        let (lines, limit) = (CollectedLines::default(), RepeatLimit::default());
        let writer = lines.clone();
        let layer =
            fmt::layer().without_time().with_ansi(false).with_writer(move || writer.clone());
        let subscriber =
            tracing_subscriber::registry().with(LevelFilter::DEBUG).with(limit.clone()).with(layer);
        tracing::subscriber::with_default(subscriber, log);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        (text, limit)
    }

    fn warn_about(upstream: &str) {
        tracing::warn!(upstream, "it is unreachable");
    }

    #[test]
    fn a_repeated_line_is_written_once_for_each_upstream_and_counted() {
        let (text, limit) = collect(|| {
            for _ in 0..1000 {
                warn_about("a");
                warn_about("b");
            }
            for number in 0..20 {
                tracing::debug!(number, "not limited");
                tracing::info!(target: UNLIMITED, number, "reloaded");
            }
            tracing::trace!("beyond the level");
        });
        assert_eq!(text.matches("it is unreachable").count(), 2, "{text}");
        assert_eq!(text.matches("not limited").count(), 20);
        assert_eq!(text.matches("reloaded").count(), 20);
        assert!(!text.contains("beyond the level"));
        let now = Instant::now();
        assert!(limit.take_due(now).is_empty());
        let mut due = limit.take_due(now + INTERVAL);
        due.sort_by(|(one, _), (other, _)| one.upstream.cmp(&other.upstream));
        let counts: Vec<_> =
            due.iter().map(|(kind, repeats)| (&*kind.upstream, repeats.suppressed)).collect();
        assert_eq!(counts, [("a", 999), ("b", 999)]);
        // The report was a line of this interval. Without more lines, the kinds are forgotten.
        assert_eq!(limit.kinds.lock().unwrap().len(), 2);
        assert!(limit.take_due(now + 3 * INTERVAL).is_empty());
        assert!(limit.kinds.lock().unwrap().is_empty());
    }

    #[test]
    fn the_report_has_the_message_and_the_count() {
        let (text, _) = collect(|| {
            let limit = RepeatLimit::default();
            let since = Instant::now().checked_sub(INTERVAL).unwrap();
            let kind = LineKind { statement: None, upstream: "gpu".into() };
            let message = "cannot accept clients".into();
            let repeats = Repeats { since, suppressed: 17, level: Level::WARN, message };
            limit.kinds.lock().unwrap().insert(kind, repeats);
            limit.report();
        });
        assert!(text.contains("WARN"), "{text}");
        let expected = "cannot accept clients (17 more in the last 10 s) upstream=\"gpu\"";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn the_number_of_kinds_is_limited() {
        let (_, limit) = collect(|| {
            (0..10 * MAX_KINDS).for_each(|number| warn_about(&number.to_string()));
        });
        assert!(limit.kinds.lock().unwrap().len() <= MAX_KINDS + 1);
    }
}
