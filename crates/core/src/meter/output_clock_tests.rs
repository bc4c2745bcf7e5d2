//! Gaps with a client that pauses, compared with the gaps of a scripted server.
//!
//! The simulation has a server that generates and writes events, the receive buffer of the kernel, a proxy that reads and
//! sends, and a client that pauses. One tick is a millisecond. The truth is the time for which the server generates: the
//! time for which it cannot write is the client's doing.

use super::{ClientPauses, OutputClock};
use crate::dialect::Dialect;
use crate::meter::{Arrival, GapUpdate, LiveSample, OutputFlow, ResponseMeter, ResponseTokens};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::time::Duration;

/// Longest gap that is no stall, in milliseconds.
const STALL: u64 = 2000;
/// Error of a time in the simulation: two ticks, one at each end.
const TOLERANCE: u64 = 2;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// How the arrival of bytes is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
enum StampMode {
    /// Kernel timestamps; the proxy reads directly.
    Kernel,
    /// The time of the read.
    Program,
    /// Kernel timestamps, but a library reads ahead.
    Buffered,
}

#[derive(Debug, Clone)]
struct Schedule {
    /// Time to generate an event after the previous one is written, and its size in bytes.
    events: Vec<(u64, usize)>,
    /// Pauses of the client: begin and length.
    pauses: Vec<(u64, u64)>,
    /// Size of the kernel's receive buffer, and of what the client's side takes in during a pause.
    receive_buffer: usize,
    send_buffer: usize,
}

/// Gaps as measured, in milliseconds.
#[derive(Debug, Default)]
struct Measured {
    max_gap: u64,
    stalls: usize,
    /// Longest sample of inter-token and inter-chunk latency.
    longest_sample: f64,
    /// Time from the first to the last output, as in TPOT.
    span: u64,
    /// Longest read after a pause, in bytes.
    largest_held: usize,
}

fn whole(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

fn event(size: usize) -> Vec<u8> {
    let frame = r#"data: {"choices":[{"index":0,"delta":{"content":""}}]}"#.len() + 2;
    let text = "x".repeat(size.saturating_sub(frame).max(1));
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
        .into()
}

/// The proxy's measurement of one stream.
struct Proxy {
    meter: ResponseMeter,
    clock: OutputClock,
    flow: OutputFlow,
    mode: StampMode,
    reads: u64,
    last_read: u64,
    measured: Measured,
}

impl Proxy {
    fn read(&mut self, now: u64, stamp: u64, pauses: u64, bytes: &[u8]) {
        self.reads += 1;
        let is_stamped = self.mode != StampMode::Program;
        let at = ms(if is_stamped { stamp } else { now });
        let mut arrival = Arrival {
            size: bytes.len(),
            not_before: ms(self.last_read),
            read_delay: ms(now) - at,
            is_stamped,
            ..Arrival::on_time(at, self.reads)
        };
        self.last_read = now;
        let Measured { stalls, longest_sample, largest_held, .. } = &mut self.measured;
        if ms(pauses) == self.clock.pauses() {
            self.clock.place(&mut arrival);
        } else {
            *largest_held = (*largest_held).max(bytes.len());
            let is_direct = self.mode != StampMode::Buffered;
            let client = ClientPauses { total: ms(pauses), now: ms(now), is_direct };
            self.clock.place_after_pause(&mut arrival, client);
        }
        self.meter.push(arrival, bytes, &mut |sample| {
            let length = match sample {
                LiveSample::ChunkGap(gap) => gap.as_secs_f64() * 1e3,
                LiveSample::TokenGap { gap, shares, .. } => gap.as_secs_f64() * 1e3 / shares as f64,
                _ => 0.0,
            };
            *longest_sample = longest_sample.max(length);
        });
        let tally = self.meter.tally();
        let held = self.flow.take_held_gap(Some(arrival));
        let update = self.flow.on_read(tally, arrival, ms(0)).unwrap_or_default();
        let GapUpdate { ended_gap: ended, .. } = update;
        *stalls += [held, ended].into_iter().flatten().filter(|gap| *gap > ms(STALL)).count();
    }

    fn end(mut self, now: u64, pauses: u64) -> Measured {
        let held = self.flow.take_held_gap(None);
        let last = self.flow.finish(ms(now), &self.clock, ms(pauses));
        let stalls = [held, last].into_iter().flatten().filter(|gap| *gap > ms(STALL)).count();
        self.measured.stalls += stalls;
        self.measured.max_gap = whole(self.flow.max_gap().unwrap_or_default());
        let tally = self.meter.tally();
        let at = |read: Option<crate::meter::ReadInstant>| read.unwrap().server_at;
        self.measured.span = whole(at(tally.last_output).saturating_sub(at(tally.first_output)));
        assert_eq!(ResponseTokens::from_tally(tally, true).output.unwrap().0, tally.output_events);
        self.measured
    }
}

fn is_paused(pauses: &[(u64, u64)], now: u64) -> bool {
    pauses.iter().any(|(begin, length)| (*begin..begin + length).contains(&now))
}

/// Plays a schedule, and measures it.
fn play(schedule: &Schedule, mode: StampMode) -> Measured {
    let chat = Dialect::by_name("openai-chat").unwrap();
    let meter = ResponseMeter::new(chat, b"text/event-stream", b"").unwrap();
    let mut proxy = Proxy {
        meter,
        clock: OutputClock::default(),
        flow: OutputFlow::default(),
        mode,
        reads: 0,
        last_read: 0,
        measured: Measured::default(),
    };
    let mut script: VecDeque<_> = schedule.events.iter().copied().collect();
    // The server: the rest of the event that it writes, and when the next one is generated.
    let mut writing: VecDeque<u8> = VecDeque::new();
    let mut due = script.front().map(|(gap, _)| *gap);
    let mut kernel: VecDeque<(u8, u64)> = VecDeque::new();
    let (mut unsent, mut accepted) = (0, 0);
    let (mut stalled_since, mut pauses) = (None, 0);
    for now in 0.. {
        if !is_paused(&schedule.pauses, now) {
            accepted = 0;
        }
        // The server and the proxy take turns until neither can do more.
        loop {
            let before = (script.len(), writing.len(), kernel.len(), unsent);
            let sent = (schedule.send_buffer - accepted).min(unsent);
            unsent -= sent;
            accepted += if is_paused(&schedule.pauses, now) { sent } else { 0 };
            if unsent == 0
                && let Some(since) = stalled_since.take()
            {
                pauses += now - since;
            }
            if writing.is_empty() && due.is_some_and(|due| due <= now) {
                writing = event(script.pop_front().unwrap().1).into();
                due = None;
            }
            if !writing.is_empty() {
                let room = (schedule.receive_buffer - kernel.len()).min(writing.len());
                kernel.extend(writing.drain(..room).map(|byte| (byte, now)));
                if writing.is_empty() {
                    due = script.front().map(|(gap, _)| now + gap);
                }
            }
            if unsent == 0 && !kernel.is_empty() {
                let most = if mode == StampMode::Buffered { 8 * 1024 } else { 64 * 1024 };
                let size = kernel.len().min(most);
                let read: Vec<_> = kernel.drain(..size).collect();
                let bytes: Vec<u8> = read.iter().map(|(byte, _)| *byte).collect();
                proxy.read(now, read.last().unwrap().1, pauses, &bytes);
                unsent = size;
                let sent = (schedule.send_buffer - accepted).min(unsent);
                unsent -= sent;
                accepted += if is_paused(&schedule.pauses, now) { sent } else { 0 };
                if unsent > 0 {
                    stalled_since = Some(now);
                }
            }
            if before == (script.len(), writing.len(), kernel.len(), unsent) {
                break;
            }
        }
        if script.is_empty() && writing.is_empty() && kernel.is_empty() && unsent == 0 {
            return proxy.end(now, pauses);
        }
    }
    unreachable!()
}

impl Schedule {
    /// Gaps of the server between its outputs, in milliseconds.
    fn gaps(&self) -> impl Iterator<Item = u64> {
        self.events.iter().skip(1).map(|(gap, _)| *gap)
    }

    fn longest_gap(&self) -> u64 {
        self.gaps().max().unwrap_or(0)
    }

    /// Number of gaps that can be stalls, within the error of the simulation.
    fn stalls(&self) -> usize {
        self.gaps().filter(|gap| *gap + TOLERANCE > STALL).count()
    }
}

const MODES: [StampMode; 3] = [StampMode::Kernel, StampMode::Program, StampMode::Buffered];

fn schedule() -> impl Strategy<Value = Schedule> {
    let usual = 1..200_u64;
    let gap = prop_oneof![12 => usual, 1 => 200..6000_u64];
    let size = prop_oneof![6 => 60..400_usize, 2 => 400..6000_usize, 1 => 6000..90_000_usize];
    let events = prop::collection::vec((gap, size), 2..80);
    let pauses = prop::collection::vec((0..8000_u64, 1..5000_u64), 0..6);
    let buffer = || prop_oneof![4096..20_000_usize, 20_000..200_000_usize];
    let send = prop_oneof![2 => Just(1_usize), 1 => 1..100_000_usize];
    (events, pauses, buffer(), send).prop_map(|(events, pauses, receive_buffer, send_buffer)| {
        Schedule { events, pauses, receive_buffer, send_buffer }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_pause_of_the_client_makes_no_gap_longer(schedule in schedule()) {
        let longest = schedule.longest_gap() + TOLERANCE;
        for mode in MODES {
            let measured = play(&schedule, mode);
            prop_assert!(measured.max_gap <= longest, "{mode:?} {measured:?} {longest}");
            prop_assert!(measured.longest_sample <= longest as f64, "{mode:?} {measured:?} {longest}");
            prop_assert!(measured.stalls <= schedule.stalls(), "{mode:?} {measured:?}");
            let span = schedule.gaps().sum::<u64>() + TOLERANCE;
            prop_assert!(measured.span <= span, "{mode:?} {measured:?} {span}");
        }
    }

    #[test]
    fn without_pauses_each_gap_is_exact(mut schedule in schedule()) {
        schedule.pauses.clear();
        for mode in MODES {
            let measured = play(&schedule, mode);
            prop_assert_eq!(measured.max_gap, schedule.longest_gap());
            prop_assert_eq!(measured.span, schedule.gaps().sum::<u64>());
            let stalls = schedule.gaps().filter(|gap| *gap > STALL).count();
            prop_assert_eq!(measured.stalls, stalls);
        }
    }

    /// With stamps, and with room in the kernel, pauses hide nothing of the time from the first to the last output, and
    /// of each gap at least its share.
    #[test]
    fn a_pause_that_does_not_block_the_server_changes_no_sum(mut schedule in schedule()) {
        schedule.events.iter_mut().for_each(|(_, size)| *size = 60);
        schedule.receive_buffer = 200_000;
        let measured = play(&schedule, StampMode::Kernel);
        prop_assume!(measured.largest_held < super::ROOM);
        prop_assert_eq!(measured.span, schedule.gaps().sum::<u64>());
        let mean = measured.span / schedule.events.len() as u64;
        prop_assert!(measured.max_gap >= mean, "{measured:?}");
    }
}

/// A schedule with small events. The client's side takes in nothing during a pause, and the kernel has room.
fn small(gaps: &[u64], pauses: &[(u64, u64)]) -> Schedule {
    Schedule {
        events: gaps.iter().map(|gap| (*gap, 100)).collect(),
        pauses: pauses.to_vec(),
        receive_buffer: 100_000,
        send_buffer: 50,
    }
}

#[test]
fn a_server_that_was_blocked_by_a_pause_has_no_stall() {
    // The kernel has room for half a second of output. Then the server waits for 2.5 s.
    let steady = Schedule {
        events: vec![(50, 1000); 100],
        pauses: vec![(1010, 3000)],
        receive_buffer: 10_000,
        send_buffer: 500,
    };
    for mode in MODES {
        let Measured { max_gap, stalls, longest_sample, span, .. } = play(&steady, mode);
        assert!(max_gap <= 50 && stalls == 0 && longest_sample <= 50.0, "{mode:?} {max_gap}");
        // The server filled the kernel's buffer in the first half second of the pause, which is excluded.
        let truth = 99 * 50;
        assert!((truth - 600..=truth).contains(&span), "{mode:?} {span}");
    }
}

#[test]
fn a_stall_that_begins_and_ends_with_a_pause_in_it_is_found() {
    // The second event cannot be sent for 2 s. Nothing lies in the kernel, because the server is silent for 3 s.
    let schedule = small(&[100, 50, 3000, 50], &[(140, 2000)]);
    let found = |mode| {
        let Measured { max_gap, stalls, .. } = play(&schedule, mode);
        (max_gap, stalls)
    };
    assert_eq!(found(StampMode::Kernel), (3000, 1));
    // Without stamps, the event may have arrived in the pause: only the second after it is certain.
    let (gap, stalls) = found(StampMode::Program);
    assert!((980..=1010).contains(&gap) && stalls == 0, "{gap}");
}

#[test]
fn a_stall_that_begins_in_a_pause_is_found() {
    // The client pauses for 10 s. One event arrives after 1 s; the next one after 11 s more.
    let schedule = small(&[100, 50, 1000, 11_000, 50], &[(140, 10_000)]);
    let found = |mode| {
        let Measured { max_gap, stalls, .. } = play(&schedule, mode);
        (max_gap, stalls)
    };
    assert_eq!(found(StampMode::Kernel), (11_000, 1));
    let (gap, stalls) = found(StampMode::Program);
    assert!((1990..=2015).contains(&gap) && stalls <= 1, "{gap}");
}

#[test]
fn a_stall_that_a_pause_hides_has_the_share_of_each_output() {
    // Three events lie in the kernel: one of the gaps before them is at least a third of 6.1 s.
    let schedule = small(&[100, 50, 6000, 50, 50], &[(140, 7000)]);
    let Measured { max_gap, stalls, .. } = play(&schedule, StampMode::Kernel);
    assert!((2030..=2050).contains(&max_gap) && stalls == 1, "{max_gap}");
}

#[test]
fn the_clock_is_frozen_while_the_client_pauses() {
    let clock = OutputClock::new(ms(500));
    assert_eq!(clock.read(ms(3000), ms(500)), ms(3000));
    assert_eq!(clock.read(ms(3000), ms(1500)), ms(2000));
    assert_eq!(clock.read(ms(4000), ms(2500)), ms(2000));
}
