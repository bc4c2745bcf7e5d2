//! The truth server's pacing: one task that owns every stream and writes each token at its instant.
//!
//! tokio's timers have a granularity of a millisecond, in which the tokens of several streams would go out
//! together. A `timerfd` wakes the task at the very instant, so that spread tokens really are spread. The
//! instants are absolute: a late token does not delay those after it.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::str::FromStr;
use std::time::Duration;

use nix::sys::timer::{Expiration, TimerSetTimeFlags};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
use tokio::net::TcpStream;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use crate::clock;
use crate::sse::Writer;

/// When a client takes no more bytes, how long until the next try.
const RETRY: u64 = 1_000_000;
/// After so many writes in a row, whoever else waits has a turn.
const TURN: u32 = 64;

/// How the tokens of the streams lie next to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Each stream with a phase of its own: every token comes alone. The dearest case for a proxy.
    Spread,
    /// All streams at the same instants, as an engine's step emits a token for each running request.
    Step,
}

impl Pattern {
    /// As it stands on the command line and in a request.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spread => "spread",
            Self::Step => "step",
        }
    }

    /// The instant of the first token of stream `number`, asked for at `now`: within the next period.
    pub fn first(self, now: u64, number: u64, period: u64) -> u64 {
        let phase = match self {
            // Multiples of the golden ratio: evenly spread, however many streams there are.
            Self::Spread => {
                ((number as f64 * 0.618_033_988_749_895).fract() * period as f64) as u64
            }
            Self::Step => 0,
        };
        now + (phase + period - now % period) % period
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Spread, Self::Step]
            .into_iter()
            .find(|pattern| pattern.name() == text)
            .ok_or_else(|| "must be spread or step".to_owned())
    }
}

/// One response that is being sent.
pub struct Stream {
    socket: TcpStream,
    writer: Writer,
    tokens: u64,
    period: u64,
    due: u64,
    /// Bytes that the socket did not take yet. No token is made meanwhile.
    unsent: Vec<u8>,
    /// The last byte is written or in `unsent`.
    closed: bool,
    back: oneshot::Sender<TcpStream>,
}

impl Stream {
    /// `tokens` tokens: the first at once, the second at `due`, and then one every `period` ns. Then `back` gets
    /// the connection.
    pub fn new(
        socket: TcpStream,
        mut writer: Writer,
        tokens: u64,
        period: u64,
        due: u64,
        back: oneshot::Sender<TcpStream>,
    ) -> Self {
        let mut unsent = Vec::with_capacity(512);
        writer.open(&mut unsent);
        Self { socket, writer, tokens, period, due, unsent, closed: false, back }
    }

    /// Writes what is due. Returns when to come again; `None` when the response is complete.
    fn step(&mut self) -> io::Result<Option<u64>> {
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
            // The first token follows the head.
            (true, false) if self.writer.tokens() == 0 => Some(0),
            (true, false) => Some(self.due),
            (false, _) => Some(clock::now() + RETRY),
        })
    }
}

/// A stream and when it is to be seen to; the earliest is the greatest.
struct Due(Reverse<u64>, Box<Stream>);

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Due {}

/// Owns the streams.
pub struct Emitter {
    timer: TimerFd,
    /// The timer again. tokio has no safe way to wait for a descriptor of another kind.
    expired: pipe::Receiver,
    streams: BinaryHeap<Due>,
}

impl Emitter {
    /// Must be made inside of a runtime.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let same = File::from(timer.as_fd().try_clone_to_owned()?);
        let expired = pipe::Receiver::from_file_unchecked(same)?;
        Ok(Self { timer, expired, streams: BinaryHeap::new() })
    }

    /// Takes streams from `incoming` and sends them, until nobody can hand in any.
    pub async fn run(mut self, mut incoming: mpsc::UnboundedReceiver<Stream>) {
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
                // Its head goes out now.
                Some(stream) => self.streams.push(Due(Reverse(0), Box::new(stream))),
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
            // Takes the expiry back; there is none if it was one of an earlier setting.
            let _ = self.expired.try_read(&mut [0; 8]);
        }
        Ok(())
    }

    fn send_due(&mut self) {
        for _ in 0..TURN {
            if self.streams.peek().is_none_or(|due| due.0.0 > clock::now()) {
                return;
            }
            let Some(Due(_, mut stream)) = self.streams.pop() else { return };
            match stream.step() {
                Ok(Some(next)) => self.streams.push(Due(Reverse(next), stream)),
                // The connection may take its next request; or nobody waits for it.
                Ok(None) => drop(stream.back.send(stream.socket)),
                // The client went away.
                Err(_) => {}
            }
        }
    }
}
