//! Recorded streams of real servers pass unchanged, however TCP cuts them up.

mod support;

use flate2::read::GzDecoder;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use support::rng::Rng;
use support::wire::chunk;
use support::{Gauge, Upstream, Wire, chat};

fn bodies() -> Option<Vec<Vec<u8>>> {
    let file = BufReader::new(GzDecoder::new(File::open(support::corpus()?).unwrap()));
    let streams = file.lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let sse = streams.filter(|stream| stream["framing"] == "sse");
    Some(sse.filter_map(|stream| Some(stream["body"].as_str()?.into())).collect())
}

/// Sends a body in chunks, and the chunks in pieces, at random.
fn send(wire: &mut Wire, body: &[u8], rng: &mut Rng) {
    let mut message = chat::STREAM.as_bytes().to_vec();
    let mut rest = body;
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(rng.up_to(4000).min(rest.len()));
        message.extend(chunk(piece));
        rest = tail;
    }
    message.extend(chat::LAST.as_bytes());
    let mut rest = message.as_slice();
    while !rest.is_empty() {
        let most = [5, 100, 20_000][rng.up_to(3) - 1];
        let (piece, tail) = rest.split_at(rng.up_to(most).min(rest.len()));
        wire.send(piece);
        if rng.up_to(10) == 1 {
            std::thread::sleep(Duration::from_micros(rng.up_to(1000) as u64));
        }
        rest = tail;
    }
}

#[test]
fn every_recorded_stream_arrives_as_it_was_sent() {
    let Some(bodies) = bodies() else { return };
    let bodies = Arc::new(bodies);
    let scripted = Arc::clone(&bodies);
    let upstream = Upstream::each(move |_, wire| {
        while let Some(request) = wire.try_message() {
            let text = request.text();
            let number = text.split_once("?stream=").unwrap().1.split(' ').next().unwrap();
            let number: usize = number.parse().unwrap();
            send(wire, &scripted[number], &mut Rng::new(number as u64));
        }
    });
    let gauge = Gauge::new(upstream.address);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut client = Wire::connect(gauge.proxy);
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    let Some(body) = bodies.get(number) else { return };
                    let path = format!("/v1/chat/completions?stream={number}");
                    client.send(chat::post(&path, "", b"{\"stream\":true}"));
                    assert!(client.message().data() == *body, "stream {number} was changed");
                    client.received.clear();
                }
            });
        }
    });
    let scrape = gauge.scrape();
    scrape.assert_balanced();
    assert_eq!(scrape.ended() as usize, bodies.len());
    println!("{} streams", bodies.len());
}
