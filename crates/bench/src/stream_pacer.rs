//! Paces the streams of the server: one task owns all streams and writes each token at its instant.
//!
//! tokio's timers have a granularity of a millisecond, which would send tokens of several streams together. A `timerfd`
//! wakes the task at the exact instant. Instants are absolute: a late token does not delay later ones.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::timer::{Expiration, TimerSetTimeFlags};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
use tokio::net::TcpStream;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use crate::clock;
use crate::sse_writer::SseWriter;

/// Time until the next attempt when a client does not accept bytes.
const RETRY: u64 = 1_000_000;
/// Number of consecutive writes after which other tasks run.
const TURN: u32 = 64;

/// One response that is being sent.
pub struct PacedStream {
    socket: TcpStream,
    writer: SseWriter,
    tokens: u64,
    period: u64,
    due: u64,
    /// Bytes that the socket has not accepted yet. No token is generated meanwhile.
    unsent: Vec<u8>,
    /// Whether the last byte is written or in `unsent`.
    closed: bool,
    /// Receives the connection after the last byte.
    on_end: oneshot::Sender<TcpStream>,
}

impl PacedStream {
    /// Creates a stream of `tokens` tokens: the first at once, the second at `due`, then one every `period` ns. At the
    /// end, `on_end` receives the connection.
    pub fn new(
        socket: TcpStream,
        mut writer: SseWriter,
        tokens: u64,
        period: u64,
        due: u64,
        on_end: oneshot::Sender<TcpStream>,
    ) -> Self {
        let mut unsent = Vec::with_capacity(512);
        writer.open(&mut unsent);
        Self { socket, writer, tokens, period, due, unsent, closed: false, on_end }
    }

    /// Writes due tokens. Returns the instant of the next call; `None` when the response is complete.
    fn write_due(&mut self) -> io::Result<Option<u64>> {
        if self.unsent.is_empty() {
            if self.writer.tokens() < self.tokens {
                if self.writer.tokens() > 0 {
                    self.due += self.period;
                }
                self.writer.token(&mut self.unsent, clock::now());
            } else {
                self.writer.close(&mut self.unsent);
                self.closed = true;
            }
        }
        let from = clock::now();
        match self.socket.try_write(&self.unsent) {
            Ok(written) => drop(self.unsent.drain(..written)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if self.unsent.is_empty() {
            self.writer.written(from, clock::now());
        }
        Ok(match (self.unsent.is_empty(), self.closed) {
            (true, true) => None,
            // The first token follows the headers.
            (true, false) if self.writer.tokens() == 0 => Some(0),
            (true, false) => Some(self.due),
            (false, _) => Some(clock::now() + RETRY),
        })
    }
}

/// A stream with the instant of its next call; the earliest is the greatest.
struct ScheduledStream(Reverse<u64>, Box<PacedStream>);

impl Ord for ScheduledStream {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for ScheduledStream {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ScheduledStream {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for ScheduledStream {}

/// Owner of all streams.
pub struct StreamPacer {
    timer: TimerFd,
    /// A second handle of the timer, because tokio cannot wait safely for other kinds of descriptors.
    expired: pipe::Receiver,
    streams: BinaryHeap<ScheduledStream>,
}

impl StreamPacer {
    /// Creates the pacer; must be called in a runtime.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let same = File::from(timer.as_fd().try_clone_to_owned()?);
        let expired = pipe::Receiver::from_file_unchecked(same)?;
        Ok(Self { timer, expired, streams: BinaryHeap::new() })
    }

    /// Sends the streams from `incoming` until all senders are dropped.
    pub async fn run(mut self, mut incoming: mpsc::UnboundedReceiver<PacedStream>) {
        loop {
            let next = self.streams.peek().map(|due| due.0.0);
            let stream = tokio::select! {
                biased;
                stream = incoming.recv() => stream,
                result = self.wait(next) => match result {
                    Ok(()) => {
                        self.send_due();
                        tokio::task::yield_now().await;
                        continue;
                    }
                    Err(error) => return eprintln!("bench serve: timer: {error}"),
                },
            };
            match stream {
                // Sends its headers now.
                Some(stream) => self.streams.push(ScheduledStream(Reverse(0), Box::new(stream))),
                None => return,
            }
        }
    }

    async fn wait(&self, next: Option<u64>) -> io::Result<()> {
        let Some(next) = next else {
            return std::future::pending().await;
        };
        while clock::now() < next {
            let at = Expiration::OneShot(Duration::from_nanos(next).into());
            self.timer.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            self.expired.readable().await?;
            // Consumes the expiry. There is none if it was of an earlier setting.
            let _ = self.expired.try_read(&mut [0; 8]);
        }
        Ok(())
    }

    fn send_due(&mut self) {
        for _ in 0..TURN {
            if self.streams.peek().is_none_or(|due| due.0.0 > clock::now()) {
                return;
            }
            let Some(ScheduledStream(_, mut stream)) = self.streams.pop() else { return };
            match stream.write_due() {
                Ok(Some(next)) => self.streams.push(ScheduledStream(Reverse(next), stream)),
                // The connection can take its next request, if the handler still waits for it.
                Ok(None) => drop(stream.on_end.send(stream.socket)),
                // The client disconnected.
                Err(_) => {}
            }
        }
    }
}
