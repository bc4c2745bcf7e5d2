//! Clients that leave in each phase of a request, with and without bytes behind it. The upstream's connection is closed at
//! once, although the server is silent.

use crate::support::connection::chunk;
use crate::support::http2::{H2Client, next, post};
use crate::support::tls::TestCertificate;
use crate::support::upstream::EventReceiver;
use crate::support::{Disturbance, RawConnection, ScriptedUpstream, Streamgauge, chat};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use streamgauge::testing::FaultInjection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

/// The moment at which the client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DeparturePhase {
    /// The server has the request and is silent.
    Waiting,
    /// One token of a stream has arrived.
    Streaming,
    /// Part of a body with a declared length has arrived.
    ReadingBody,
    /// The server has sent more than the client's socket takes.
    NotReading,
    /// Part of the request body was sent.
    Uploading,
}

use DeparturePhase::{NotReading, ReadingBody, Streaming, Uploading, Waiting};

impl DeparturePhase {
    fn path(self) -> &'static str {
        match self {
            Waiting => "/waiting",
            Streaming => "/streaming",
            ReadingBody => "/reading-body",
            NotReading => "/not-reading",
            Uploading => "/uploading",
        }
    }

    fn request(self) -> Vec<u8> {
        let path = self.path();
        match self {
            Uploading => {
                let head =
                    format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
                [head.as_bytes(), &[b'x'; PART]].concat()
            }
            _ => chat::post(path, "", b"{}"),
        }
    }

    /// Start of the response that has arrived when the client leaves.
    fn response(self) -> Vec<u8> {
        match self {
            Streaming => [chat::STREAM_HEAD.as_bytes(), &chunk(chat::content_event("Hi"))].concat(),
            ReadingBody => b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart".to_vec(),
            _ => Vec::new(),
        }
    }

    fn outcome(self) -> &'static str {
        match self {
            Waiting | Uploading => "client_gone_before_head",
            // No event of its stream is a token.
            NotReading => "client_gone_before_token",
            Streaming | ReadingBody => "client_gone_mid_stream",
        }
    }
}

/// Bytes of an upload that arrive before the client leaves.
const PART: usize = 100_000;

/// A server that is silent in the phase that the path names. Reports when it is reached, and when the connection ends.
fn silent_server() -> (ScriptedUpstream, EventReceiver<()>, EventReceiver<Instant>) {
    let (reached, is_reached) = EventReceiver::channel();
    let (tell, gone) = EventReceiver::channel();
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        let head = connection.read_head().unwrap().text();
        let all = [Waiting, Streaming, ReadingBody, NotReading, Uploading];
        let phase = *all.iter().find(|phase| head.contains(phase.path())).unwrap();
        let length = if phase == Uploading { PART } else { 2 };
        connection.read_exactly(length).unwrap();
        connection.send(phase.response());
        reached(());
        if phase == NotReading {
            connection.send(chat::STREAM_HEAD);
            let piece = chunk([b'x'; 60_000]);
            while connection.try_send(&piece) {}
            tell(Instant::now());
        } else {
            tell(connection.wait_for_close());
        }
    });
    (upstream, is_reached, gone)
}

/// How a client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Departure {
    Close,
    HalfClose,
    Reset,
}

/// Bytes that the client sends behind its request. The last does not fit into the buffers that read it.
fn tails() -> [(&'static str, Vec<u8>); 4] {
    let next = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n";
    [
        ("nothing", Vec::new()),
        ("a line end", b"\r\n".to_vec()),
        ("a request", next.to_vec()),
        ("many requests", next.repeat(600)),
    ]
}

/// The bound for a departure. The server would be silent for 20 s.
fn assert_at_once(what: &str, after: Duration, disturbance: &Disturbance) {
    println!("{what}: closed after {after:?}");
    assert!(after.as_secs_f64() < disturbance.allow(2.0), "{what}: {after:?}");
}

#[test]
fn a_client_that_leaves_is_seen_in_each_phase() {
    let disturbance = Disturbance::watch();
    let (upstream, reached, gone) = silent_server();
    for phase in [Waiting, Streaming, ReadingBody, NotReading, Uploading] {
        let gauge = Streamgauge::new(upstream.address);
        let mut count = 0;
        for (behind, tail) in tails() {
            if phase == Uploading && !tail.is_empty() {
                continue;
            }
            for departure in [Departure::Close, Departure::HalfClose, Departure::Reset] {
                let mut client = RawConnection::connect(gauge.proxy);
                client.send([phase.request(), tail.clone()].concat());
                client.read_exactly(phase.response().len()).unwrap();
                reached.wait();
                if phase == NotReading {
                    // Not a condition: in all states of the buffers, the departure is seen.
                    std::thread::sleep(Duration::from_millis(50));
                }
                let left = Instant::now();
                let half_closed = match departure {
                    Departure::Close => {
                        drop(client);
                        None
                    }
                    Departure::HalfClose => {
                        client.half_close();
                        Some(client)
                    }
                    Departure::Reset => {
                        client.reset();
                        None
                    }
                };
                let after = gone.wait() - left;
                drop(half_closed);
                count += 1;
                let what = format!("{phase:?}, {departure:?}, with {behind} behind it");
                assert_at_once(&what, after, &disturbance);
            }
        }
        for record in gauge.requests_when(count) {
            assert_eq!(record["outcome"], phase.outcome(), "{phase:?}: {record}");
        }
        gauge.scrape().assert_balanced();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_is_seen_through_tls() {
    let disturbance = Disturbance::watch();
    let (upstream, reached, gone) = silent_server();
    let certificate = TestCertificate::of("departures", &["localhost"]);
    let gauge = Streamgauge::with(upstream.address, &certificate.keys(), FaultInjection::default());
    for phase in [Waiting, Streaming, ReadingBody, Uploading] {
        for (behind, tail) in tails() {
            // A `close_notify` is found behind one record.
            if phase == Uploading && !tail.is_empty() || tail.len() > 16_000 {
                continue;
            }
            for only_notify in [true, false] {
                let connected = certificate.connect(gauge.proxy, &["http/1.1"]).await;
                let mut client = connected.unwrap();
                client.write_all(&[phase.request(), tail.clone()].concat()).await.unwrap();
                let mut response = phase.response();
                client.read_exact(&mut response).await.unwrap();
                reached.wait();
                let left = Instant::now();
                let open = if only_notify {
                    client.get_mut().1.send_close_notify();
                    client.flush().await.unwrap();
                    Some(client)
                } else {
                    drop(client);
                    None
                };
                let after = gone.wait() - left;
                drop(open);
                let what = format!("{phase:?} through TLS, {only_notify}, with {behind} behind it");
                assert_at_once(&what, after, &disturbance);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_is_seen_over_http2() {
    let disturbance = Disturbance::watch();
    let (upstream, reached, gone) = silent_server();
    let gauge = Streamgauge::new(upstream.address);
    for phase in [Waiting, Streaming, ReadingBody, NotReading, Uploading] {
        let mut client = H2Client::connect(gauge.proxy).await;
        let request = post(&format!("http://h{}", phase.path()), "application/json");
        let (response, mut sender) = client.begin(request).await;
        let length = if phase == Uploading { PART } else { 2 };
        sender.send_data(vec![b'x'; length].into(), phase != Uploading).unwrap();
        let mut streaming = None;
        if !phase.response().is_empty() {
            let mut body = response.await.unwrap().into_body();
            next(&mut body).await.unwrap();
            streaming = Some(body);
        } else if phase == NotReading {
            streaming = Some(response.await.unwrap().into_body());
        } else {
            tokio::spawn(response);
        }
        reached.wait();
        let left = Instant::now();
        client.abort();
        drop((client, sender, streaming));
        assert_at_once(&format!("{phase:?} over HTTP/2"), gone.wait() - left, &disturbance);
    }
    gauge.scrape().assert_balanced();
}

/// The request is not sent yet: the server's queue of connections is full.
#[test]
fn a_client_that_leaves_before_the_server_is_reached_is_seen() {
    let disturbance = Disturbance::watch();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let full = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket.listen(1).unwrap()
    });
    let address = full.local_addr().unwrap();
    let patience = Duration::from_millis(200);
    let mut waiting = Vec::new();
    while let Ok(socket) = TcpStream::connect_timeout(&address, patience) {
        waiting.push(socket);
    }
    for (behind, tail) in tails() {
        let gauge = Streamgauge::new(address);
        let mut client = RawConnection::connect(gauge.proxy);
        client.send([chat::request(), tail].concat());
        crate::support::wait_for("the request", || {
            (gauge.scrape().sum("streamgauge_in_flight_requests", &[]) == 1.0).then_some(())
        });
        let left = Instant::now();
        drop(client);
        gauge.assert_single_request("client_gone_before_head");
        let what = format!("connecting, with {behind} behind it");
        assert_at_once(&what, left.elapsed(), &disturbance);
    }
}

/// The server does not read, so the upload fills every buffer. The connection ends with a reset, which does not wait
/// behind these bytes.
#[test]
fn a_client_that_resets_a_blocked_upload_is_seen() {
    let disturbance = Disturbance::watch();
    let (blocked, is_blocked) = std::sync::mpsc::channel::<()>();
    let is_blocked = std::sync::Mutex::new(is_blocked);
    let (tell, end) = EventReceiver::channel();
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_head();
        // Until the test has seen the end of the request.
        let _ = is_blocked.lock().unwrap().recv();
        tell(connection.read_to_end().1);
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send("POST /v1/files HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n");
    client.socket.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    while client.try_send([b'x'; 100_000]) {}
    let left = Instant::now();
    client.reset();
    gauge.assert_single_request("client_gone_before_head");
    assert_at_once("a blocked upload", left.elapsed(), &disturbance);
    drop(blocked);
    assert_eq!(end.wait(), crate::support::ConnectionEnd::Reset);
}
