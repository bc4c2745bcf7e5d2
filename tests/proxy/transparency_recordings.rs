//! Recorded streams of real servers pass unchanged, in any segmentation by TCP.

use crate::support::connection::chunk;
use crate::support::corpus::{RecordedStream, streams};
use crate::support::{RawConnection, ScriptedUpstream, Streamgauge, chat, one_to};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use streamgauge_sim::rng::SplitMix64;

/// Sends a body in chunks, and the chunks in pieces, at random.
fn send(connection: &mut RawConnection, stream: &RecordedStream, rng: &mut SplitMix64) {
    let kind = &stream.content_type;
    let mut message = format!(
        "HTTP/1.1 200 OK\r\n{}Transfer-Encoding: chunked\r\n\r\n",
        match &**kind {
            "" => String::new(),
            kind => format!("Content-Type: {kind}\r\n"),
        }
    )
    .into_bytes();
    let mut rest = stream.body.as_slice();
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(one_to(rng, 4000).min(rest.len()));
        message.extend(chunk(piece));
        rest = tail;
    }
    message.extend(chat::LAST_CHUNK.as_bytes());
    let mut rest = message.as_slice();
    while !rest.is_empty() {
        let most = [5, 100, 20_000][one_to(rng, 3) - 1];
        let (piece, tail) = rest.split_at(one_to(rng, most).min(rest.len()));
        connection.send(piece);
        if one_to(rng, 10) == 1 {
            std::thread::sleep(Duration::from_micros(one_to(rng, 1000) as u64));
        }
        rest = tail;
    }
}

#[test]
fn every_recorded_stream_arrives_as_it_was_sent() {
    let Some(streams) = streams() else { return };
    let streams = Arc::new(streams);
    let scripted = Arc::clone(&streams);
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        while let Some(request) = connection.try_read_message() {
            let text = request.text();
            let number = text.split_once("?stream=").unwrap().1.split(' ').next().unwrap();
            let number: usize = number.parse().unwrap();
            send(connection, &scripted[number], &mut SplitMix64::new(number as u64));
        }
    });
    let gauge = Streamgauge::new(upstream.address);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut client = RawConnection::connect(gauge.proxy);
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    let Some(stream) = streams.get(number) else { return };
                    let path = stream.path.as_deref().unwrap_or("/v1/chat/completions");
                    let path = path.split('?').next().unwrap().replace(['<', '>'], "");
                    let path = format!("/{}?stream={number}", path.trim_start_matches('/'));
                    client.send(chat::post(&path, "", b"{\"stream\":true}"));
                    let arrived = client.read_message().data() == stream.body;
                    assert!(arrived, "{} was changed", stream.id);
                    client.received.clear();
                }
            });
        }
    });
    let scrape = gauge.scrape();
    scrape.assert_balanced();
    assert_eq!(scrape.ended() as usize, streams.len());
    println!("{} streams", streams.len());
}
