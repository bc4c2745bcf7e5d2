//! WebSocket frames pass unchanged in both directions at once, compared one by one with those that the other side sent.

use crate::support::tls::TestCertificate;
use crate::support::upstream::EventReceiver;
use crate::support::websocket::WebSocketFrame;
use crate::support::{RawConnection, ScriptedUpstream, Streamgauge, one_to};
use crate::tls::{in_front, secured};
use std::net::Shutdown;
use streamgauge_sim::rng::SplitMix64;

const MESSAGES: usize = 60;
const LARGE: usize = 16 << 20;

/// Frames of one side: messages whole and in fragments, with control frames between, and a close frame.
fn frames(seed: u64, is_client: bool, close: u16) -> Vec<WebSocketFrame> {
    let mut rng = SplitMix64::new(seed);
    let mask = |rng: &mut SplitMix64| is_client.then(|| (rng.next_u64() as u32).to_be_bytes());
    let mut frames = Vec::new();
    for message in 0..MESSAGES {
        let length = match message {
            20 | 40 => LARGE,
            _ => [0, 1, 125, 126, 65_535, 65_536][one_to(&mut rng, 6) - 1],
        };
        let payload: Vec<u8> =
            (0..length.div_ceil(8)).flat_map(|_| rng.next_u64().to_le_bytes()).collect();
        let payload = &payload[..length];
        // One of the two large messages is one frame.
        let fragment =
            if message == 20 { LARGE } else { payload.len().div_ceil(one_to(&mut rng, 4)) };
        let mut opcode = one_to(&mut rng, 2) as u8;
        let mut rest = payload;
        loop {
            let (part, later) = rest.split_at(fragment.min(rest.len()));
            let is_last = later.is_empty();
            let mask_of = mask(&mut rng);
            frames.push(WebSocketFrame { is_last, opcode, mask: mask_of, payload: part.to_vec() });
            if one_to(&mut rng, 3) == 1 {
                let opcode = 8 + one_to(&mut rng, 2) as u8;
                let payload = vec![b'p'; one_to(&mut rng, 125)];
                frames.push(WebSocketFrame {
                    is_last: true,
                    opcode,
                    mask: mask(&mut rng),
                    payload,
                });
            }
            if is_last {
                break;
            }
            (rest, opcode) = (later, 0);
        }
    }
    let mask_of = mask(&mut rng);
    frames.push(WebSocketFrame::close(close, "the end \u{fffd}", mask_of));
    frames
}

/// Sends frames and half-closes, and receives the other side's frames at the same time.
fn exchange(connection: &mut RawConnection, ours: &[WebSocketFrame]) -> Vec<WebSocketFrame> {
    let mut out = connection.socket.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            ours.iter().for_each(|frame| frame.write(&mut out).unwrap());
            out.shutdown(Shutdown::Write).unwrap();
        });
        std::iter::from_fn(|| WebSocketFrame::read(connection)).collect()
    })
}

/// A server that switches the protocol and exchanges its frames. Reports the client's.
fn server(seed: u64, close: u16) -> (ScriptedUpstream, EventReceiver<Vec<WebSocketFrame>>) {
    let (report, received) = EventReceiver::channel();
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_head();
        connection.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        );
        report(exchange(connection, &frames(seed, false, close)));
    });
    (upstream, received)
}

fn assert_frames_pass(
    gauge: &Streamgauge,
    received: &EventReceiver<Vec<WebSocketFrame>>,
    seed: u64,
    close: u16,
) {
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(
        "GET /v1/realtime HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    assert_eq!(client.read_head().unwrap().status(), 101);
    let (ours, theirs) = (frames(!seed, true, close), frames(seed, false, close));
    let down = exchange(&mut client, &ours);
    for (side, sent, got) in [("server", &theirs, &down), ("client", &ours, &received.wait())] {
        assert_eq!(sent.len(), got.len(), "frames of the {side}");
        for (number, (sent, got)) in sent.iter().zip(got).enumerate() {
            assert!(sent == got, "frame {number} of the {side}: {sent:?} became {got:?}");
        }
    }
    gauge.assert_single_request("ok");
}

#[test]
fn frames_pass_unchanged() {
    for (seed, close) in [(1, 1000), (2, 1011), (3, 4999)] {
        let (upstream, received) = server(seed, close);
        assert_frames_pass(&Streamgauge::new(upstream.address), &received, seed, close);
    }
}

/// The frames pass through TLS on both sides of a proxy.
#[test]
fn frames_pass_unchanged_through_tls() {
    let certificate = TestCertificate::of("frames", &["localhost"]);
    let (upstream, received) = server(4, 1001);
    let far = secured(upstream.address, &certificate);
    let near = in_front(&far, "localhost", &[("ca_file", &certificate.cert)]);
    assert_frames_pass(&near, &received, 4, 1001);
    far.assert_single_request("ok");
}
