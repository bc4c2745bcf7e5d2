//! Seeded rounds of faults on both sides, against the program as a process. In each round one exchange is hit, while
//! others run beside it.
//!
//! `STREAMGAUGE_FAULT_ROUNDS` sets the number of rounds, and `STREAMGAUGE_FAULT_SEED` the seed:
//! `STREAMGAUGE_FAULT_ROUNDS=1000 cargo test --test proxy fault_rounds -- --nocapture`.

use crate::support::connection::{chunk, dechunk};
use crate::support::process::StreamgaugeProcess;
use crate::support::scrape::get;
use crate::support::upstream::{EventReceiver, unused_address};
use crate::support::{
    ConnectionEnd, Disturbance, MetricsScrape, RawConnection, ScriptedUpstream, chat, one_to,
    wait_for,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read;
use std::time::{Duration, Instant};
use streamgauge_sim::rng::SplitMix64;

/// Exchanges that run beside the one that is hit.
const BYSTANDERS: u64 = 3;
/// Bytes of an upload that is refused early: more than the buffers take.
const REFUSED_UPLOAD: usize = 4 << 20;

/// What happens to the exchange that is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::EnumIter, strum::FromRepr)]
#[repr(u8)]
enum Fault {
    // The server's.
    Refuses,
    EndsBeforeHead,
    EndsMidHead,
    EndsMidChunk,
    EndsBetweenRequests,
    GarbageHead,
    GarbageChunk,
    Trickles,
    RefusesEarly,
    // The client's. The server is silent then.
    LeavesMidHead,
    LeavesMidUpload,
    LeavesBeforeResponse,
    LeavesMidStream,
    LeavesMidBody,
    ReadsSlowly,
}

use Fault::*;

impl Fault {
    /// The outcome in the request log. `None`: there was no request.
    fn outcome(self) -> Option<&'static str> {
        match self {
            Refuses => Some("upstream_unreachable"),
            EndsBeforeHead | EndsMidHead | EndsMidChunk | GarbageHead | GarbageChunk => {
                Some("truncated")
            }
            EndsBetweenRequests | Trickles | ReadsSlowly => Some("ok"),
            RefusesEarly => Some("client_error"),
            LeavesMidHead => None,
            LeavesMidUpload | LeavesBeforeResponse => Some("client_gone_before_head"),
            LeavesMidStream | LeavesMidBody => Some("client_gone_mid_stream"),
        }
    }

    fn client_leaves(self) -> bool {
        matches!(self, LeavesMidUpload | LeavesBeforeResponse | LeavesMidStream | LeavesMidBody)
    }

    /// Start of the response that arrives before the client leaves.
    fn part(self) -> Vec<u8> {
        match self {
            LeavesMidStream => {
                [chat::STREAM_HEAD.as_bytes(), &chunk(chat::content_event("Hi"))].concat()
            }
            LeavesMidBody => b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart".to_vec(),
            _ => Vec::new(),
        }
    }
}

/// Body of a request, with the name of its exchange as the model.
fn body_of(name: &str, length: usize) -> Vec<u8> {
    json!({"model": name, "stream": true, "pad": "x".repeat(length)}).to_string().into_bytes()
}

/// A request with instructions for the server: a fault or `none`, and a seed.
fn request(fault: &str, seed: u64, body: &[u8]) -> Vec<u8> {
    chat::post("/v1/chat/completions", &format!("X-Script: {fault} {seed}\r\n"), body)
}

/// Data of the response for this seed. Returns it with whether it is a stream.
fn response_data(seed: u64, request_body: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut rng = SplitMix64::new(seed);
    match one_to(&mut rng, 3) {
        1 => (vec![request_body.to_vec()], false),
        2 => {
            let block = (0..one_to(&mut rng, 200_000)).map(|_| rng.next_u64() as u8).collect();
            (vec![block], false)
        }
        _ => (stream_of(&mut rng, 30, 3000), true),
    }
}

/// Events of a complete stream.
fn stream_of(rng: &mut SplitMix64, most: usize, length: usize) -> Vec<Vec<u8>> {
    let word = |rng: &mut SplitMix64| {
        let letters =
            (0..one_to(rng, length)).map(|_| char::from(b'a' + (rng.next_u64() % 26) as u8));
        chat::content_event(&letters.collect::<String>())
    };
    let count = one_to(rng, most);
    let words: Vec<String> = (0..count).map(|_| word(rng)).collect();
    let end = [chat::finish_event(), chat::DONE.into()];
    words.into_iter().chain(end).map(String::into_bytes).collect()
}

fn response_of(data: &[Vec<u8>], is_stream: bool) -> Vec<u8> {
    if !is_stream {
        return chat::response("200 OK", "application/octet-stream", &data.concat());
    }
    let chunks: Vec<u8> = data.iter().flat_map(chunk).collect();
    [chat::STREAM_HEAD.as_bytes(), &chunks, chat::LAST_CHUNK.as_bytes()].concat()
}

fn end_by_reset(connection: &RawConnection) {
    if let Ok(socket) = connection.socket.try_clone() {
        RawConnection::from_socket(socket).reset();
    }
}

/// Serves one request of `connection`. Returns `false` if the connection is over.
fn serve(connection: &mut RawConnection, reached: &impl Fn(()), left: &impl Fn(Instant)) -> bool {
    let Some(head) = connection.read_head() else { return false };
    let script = head.header("x-script").remove(0);
    let (fault, seed) = script.split_once(' ').unwrap();
    let fault = fault.parse().ok().and_then(Fault::from_repr);
    let seed = seed.parse().unwrap();
    let mut rng = SplitMix64::new(seed);
    let length = head.header("content-length").remove(0).parse().unwrap();
    if fault == Some(RefusesEarly) {
        let closes = one_to(&mut rng, 2) == 1;
        let connection_header = if closes { "close" } else { "keep-alive" };
        connection.try_send(format!(
            "HTTP/1.1 413 Content Too Large\r\nConnection: {connection_header}\r\nContent-Length: 9\r\n\r\ntoo large"
        ));
        // Streamgauge uses the connection again only if it has sent the whole request.
        return !closes && connection.read_exactly(length).is_some();
    }
    let length = if fault == Some(LeavesMidUpload) { length / 2 } else { length };
    let Some(body) = connection.read_exactly(length) else { return false };
    let (data, is_stream) = match fault {
        None => response_data(seed, &body),
        Some(ReadsSlowly) => (stream_of(&mut rng, 40, 60_000), true),
        Some(_) => (stream_of(&mut rng, 5, 50), true),
    };
    let whole = response_of(&data, is_stream);
    // The last two events complete a stream.
    let words: usize = data.iter().rev().skip(2).map(|event| chunk(event).len()).sum();
    let started =
        &whole[..whole.len().min(chat::STREAM_HEAD.len() + one_to(&mut rng, words.max(1)))];
    match fault {
        None | Some(ReadsSlowly) => return connection.try_send(&whole),
        Some(Trickles) => {
            return whole.iter().all(|byte| {
                std::thread::sleep(Duration::from_micros(20));
                connection.try_send([*byte])
            });
        }
        Some(LeavesMidUpload | LeavesBeforeResponse | LeavesMidStream | LeavesMidBody) => {
            connection.try_send(fault.map_or(Vec::new(), Fault::part));
            reached(());
            left(connection.wait_for_close());
            return false;
        }
        Some(EndsBeforeHead | Refuses | RefusesEarly | LeavesMidHead) => {}
        Some(EndsMidHead) => {
            connection.try_send(&whole[..one_to(&mut rng, chat::STREAM_HEAD.len() - 1)]);
        }
        Some(EndsMidChunk) => {
            connection.try_send(started);
        }
        Some(EndsBetweenRequests) => {
            connection.try_send(&whole);
        }
        Some(GarbageHead) => {
            connection.try_send("no HTTP at all\r\n\r\n");
        }
        Some(GarbageChunk) => {
            let chunks = chunk(chat::content_event("Hi"));
            connection.try_send([chat::STREAM_HEAD.as_bytes(), &chunks, b"zz\r\nno"].concat());
        }
    }
    if one_to(&mut rng, 2) == 1 {
        end_by_reset(connection);
    }
    false
}

/// One exchange that nothing may disturb.
fn undisturbed(connection: &mut RawConnection, seed: u64) {
    let mut rng = SplitMix64::new(!seed);
    let body = body_of("bystander", one_to(&mut rng, 50_000));
    connection.send(request("none", seed, &body));
    let answer = connection.read_message();
    let (data, is_stream) = response_data(seed, &body);
    assert_eq!((answer.status(), answer.is_chunked()), (200, is_stream));
    assert!(answer.data() == data.concat(), "wrong bytes, seed {seed}");
    connection.received.clear();
}

/// The exchange that is hit. Returns when the client left, if it did.
fn hit(
    connection: RawConnection,
    fault: Fault,
    seed: u64,
    name: &str,
    reached: &EventReceiver<()>,
) -> Option<Instant> {
    let mut connection = connection;
    let mut rng = SplitMix64::new(!seed);
    let instruction = (fault as u8).to_string();
    let length = match fault {
        RefusesEarly => REFUSED_UPLOAD,
        LeavesMidUpload => one_to(&mut rng, 500_000),
        _ => one_to(&mut rng, 1000),
    };
    let request = request(&instruction, seed, &body_of(name, length));
    let body_at = request.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    if fault == LeavesMidHead {
        connection.send(&request[..one_to(&mut rng, body_at - 1)]);
    } else if fault == LeavesMidUpload {
        connection.send(&request[..body_at + (request.len() - body_at).div_ceil(2)]);
    } else {
        connection.send(&request);
    }
    if fault.client_leaves() || fault == LeavesMidHead {
        if fault.client_leaves() && fault != LeavesMidUpload {
            let next = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n";
            let behind = [b"".to_vec(), b"\r\n".to_vec(), next.to_vec(), next.repeat(600)];
            connection.send(&behind[one_to(&mut rng, behind.len()) - 1]);
        }
        if fault.client_leaves() {
            reached.wait();
            connection.read_exactly(fault.part().len()).unwrap();
        }
        let left = Instant::now();
        match one_to(&mut rng, 3) {
            1 => drop(connection),
            2 => connection.reset(),
            _ => {
                connection.half_close();
                // An upload that ends early is refused; the rest is silence.
                let (received, _) = connection.read_to_end();
                assert!(fault == LeavesMidUpload || received.is_empty(), "{fault:?}, seed {seed}");
            }
        }
        return Some(left);
    }
    if fault == ReadsSlowly {
        let mut received = Vec::new();
        let mut piece = [0; 32 * 1024];
        while !received.ends_with(b"\r\n0\r\n\r\n") {
            let count = connection.socket.read(&mut piece).unwrap();
            assert!(count > 0, "the stream broke off");
            received.extend_from_slice(&piece[..count]);
            std::thread::sleep(Duration::from_micros(200));
        }
        let expected = stream_of(&mut SplitMix64::new(seed), 40, 60_000).concat();
        let body =
            received.split_off(received.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4);
        assert!(dechunk(&body) == expected, "wrong bytes for a slow reader, seed {seed}");
        return None;
    }
    let status = match fault {
        Refuses => 503,
        EndsBeforeHead | EndsMidHead | GarbageHead => 502,
        RefusesEarly => 413,
        _ => 200,
    };
    if matches!(fault, EndsMidChunk | GarbageChunk) {
        // What arrives is a part of the response, without its end.
        assert_eq!(connection.read_head().unwrap().status(), status);
        let (rest, _) = connection.read_to_end();
        assert!(!rest.ends_with(chat::LAST_CHUNK.as_bytes()), "a clean end, seed {seed}");
        return None;
    }
    let answer = connection.read_message();
    assert_eq!(answer.status(), status, "{fault:?}, seed {seed}");
    if matches!(fault, EndsBetweenRequests | Trickles) {
        let expected = stream_of(&mut SplitMix64::new(seed), 5, 50).concat();
        assert!(answer.data() == expected, "wrong bytes, {fault:?}, seed {seed}");
    }
    if fault == RefusesEarly {
        assert_eq!(answer.body, b"too large");
        // The buffers may have taken the whole upload before the answer came.
        if !answer.header("connection").is_empty() {
            assert_eq!(connection.read_to_end(), (Vec::new(), ConnectionEnd::Closed));
        }
    }
    None
}

/// The record of the request that named this model.
fn record_of(gauge: &StreamgaugeProcess, name: &str) -> Value {
    wait_for("the record of a request", || {
        let lines = get(gauge.admin, "/requests?last=20");
        let mut records = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.find(|record| record["model"] == name)
    })
}

fn scrape(gauge: &StreamgaugeProcess) -> MetricsScrape {
    MetricsScrape::parse(&get(gauge.admin, "/metrics"))
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[test]
fn faults_on_both_sides_hit_only_their_exchange() {
    let rounds = from_environment("STREAMGAUGE_FAULT_ROUNDS", 60);
    let seed = from_environment("STREAMGAUGE_FAULT_SEED", 1);
    let disturbance = Disturbance::watch();
    let (reach, reached) = EventReceiver::channel();
    let (leave, left) = EventReceiver::channel();
    let upstream = ScriptedUpstream::with_script(
        move |_, connection| {
            while serve(connection, &reach, &leave) {}
        },
    );
    let gauge = StreamgaugeProcess::start(upstream.address, &[]);
    let refused = StreamgaugeProcess::start(unused_address(), &[]);
    let descriptors = |gauge: &StreamgaugeProcess| scrape(gauge).sum("process_open_fds", &[]);
    let before = [descriptors(&gauge), descriptors(&refused)];
    let mut bystanders: Vec<RawConnection> =
        (0..BYSTANDERS).map(|_| RawConnection::connect(gauge.proxy)).collect();
    let kinds = <Fault as strum::IntoEnumIterator>::iter().collect::<Vec<_>>();
    let mut departures = BTreeMap::<Fault, Vec<Duration>>::new();
    let mut requests = 0;
    for round in 0..rounds {
        let fault = kinds[round as usize % kinds.len()];
        let mut rng = SplitMix64::for_item(seed, round);
        let ours = if fault == Refuses { &refused } else { &gauge };
        let name = format!("round-{round}");
        let left_at = std::thread::scope(|scope| {
            for connection in &mut bystanders {
                let seed = rng.next_u64();
                scope.spawn(move || undisturbed(connection, seed));
            }
            hit(RawConnection::connect(ours.proxy), fault, rng.next_u64(), &name, &reached)
        });
        requests += BYSTANDERS;
        if let Some(outcome) = fault.outcome() {
            let record = record_of(ours, &name);
            assert_eq!(record["outcome"], outcome, "round {round}, {fault:?}: {record}");
            requests += u64::from(fault != Refuses);
        }
        if let Some(left_at) = left_at
            && fault.client_leaves()
        {
            let after = left.wait().saturating_duration_since(left_at);
            assert!(after.as_secs_f64() < disturbance.allow(2.0), "{round}, {fault:?}: {after:?}");
            departures.entry(fault).or_default().push(after);
        }
    }
    for (fault, mut times) in departures {
        times.sort();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        let late = times.iter().filter(|time| **time > Duration::from_millis(50)).count();
        let count = times.len();
        println!(
            "{fault:?}: {count} departures, median {median:?}, worst {worst:?}, {late} over 50 ms"
        );
    }
    drop(bystanders);
    for (gauge, before) in [&gauge, &refused].into_iter().zip(before) {
        wait_for("the end of all connections", || (descriptors(gauge) <= before).then_some(()));
        let scrape = scrape(gauge);
        assert_eq!(scrape.sum("streamgauge_in_flight_requests", &[]), 0.0);
        scrape.assert_balanced();
    }
    assert_eq!(scrape(&gauge).ended(), requests as f64);
}
