//! A hundred HTTP/2 requests at once on one connection, through TLS: each body, its trailers and each reset arrive as they
//! were sent.

use crate::support::http2::{H2Client, H2Request, H2Upstream, all, next, post};
use crate::support::tls::TestCertificate;
use crate::support::upstream::EventReceiver;
use crate::support::wait_for;
use crate::tls::{in_front, secured_with};
use bytes::Bytes;
use h2::Reason;
use hyper::Response;
use hyper::http::HeaderMap;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use streamgauge_sim::rng::SplitMix64;

const STREAMS: u64 = 100;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamFate {
    Complete,
    /// The client resets it after the first data of the response.
    Cancelled,
    /// The server resets it with this code after its first data.
    Reset(Reason),
}

fn end_of(number: u64) -> StreamFate {
    let codes = [Reason::ENHANCE_YOUR_CALM, Reason::INTERNAL_ERROR, Reason::INADEQUATE_SECURITY];
    match number % 5 {
        3 => StreamFate::Cancelled,
        4 => StreamFate::Reset(codes[number as usize % codes.len()]),
        _ => StreamFate::Complete,
    }
}

/// Messages of one direction of a request: some empty, some larger than a frame.
fn messages(seed: u64) -> Vec<Bytes> {
    let mut rng = SplitMix64::new(seed);
    let count = rng.between((1, 12));
    (0..count)
        .map(|_| {
            let length = rng.between((0, 40_000));
            (0..length).map(|_| rng.next_u64() as u8).collect()
        })
        .collect()
}

fn trailers(seed: u64) -> HeaderMap {
    let values = [("grpc-status", "0".to_owned()), ("x-sum", seed.to_string())];
    let fields = values.into_iter();
    fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

/// A server that does with each request what its number says. Reports the code of a client's reset.
async fn serve(mut request: H2Request, report: Arc<impl Fn((u64, Reason))>) {
    let number: u64 = request.head.headers["x-number"].to_str().unwrap().parse().unwrap();
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    match end_of(number) {
        StreamFate::Complete => {
            assert_eq!(all(&mut request.body).await, messages(number).concat(), "{number}");
            let fields = request.body.trailers().await.unwrap();
            assert_eq!(fields, Some(trailers(number)), "{number}");
            let mut sender = request.respond.send_response(head, false).unwrap();
            for message in messages(!number) {
                sender.send_data(message, false).unwrap();
            }
            sender.send_trailers(trailers(!number)).unwrap();
        }
        StreamFate::Cancelled => {
            let mut sender = request.respond.send_response(head, false).unwrap();
            sender.send_data("first".into(), false).unwrap();
            report((number, poll_fn(|cx| sender.poll_reset(cx)).await.unwrap()));
        }
        StreamFate::Reset(reason) => {
            request.body.data().await.unwrap().unwrap();
            let mut sender = request.respond.send_response(head, false).unwrap();
            sender.send_data("first".into(), false).unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            sender.send_reset(reason);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_streams_pass_with_trailers_and_resets() {
    let (report, cancelled) = EventReceiver::channel();
    let report = Arc::new(report);
    let upstream = H2Upstream::with_script(move |request| serve(request, Arc::clone(&report)));
    let certificate = TestCertificate::of("streams", &["localhost"]);
    let always = ("http2", "always");
    let far = secured_with(upstream.address, &certificate, &[always]);
    let near = in_front(&far, "localhost", &[("ca_file", &certificate.cert), always]);
    let mut client = H2Client::connect(near.proxy).await;
    let mut open = Vec::new();
    for number in 0..STREAMS {
        let mut request =
            post("http://h/inference.GRPCInferenceService/ModelStreamInfer", "application/grpc");
        request.headers_mut().insert("te", "trailers".parse().unwrap());
        request.headers_mut().insert("x-number", number.into());
        open.push((number, client.begin(request).await));
    }
    wait_for("all requests at once", || {
        let in_flight = far.scrape().sum("streamgauge_in_flight_requests", &[]);
        (in_flight == STREAMS as f64).then_some(())
    });
    let mut requests = tokio::task::JoinSet::new();
    for (number, (response, mut sender)) in open {
        requests.spawn(async move {
            if end_of(number) == StreamFate::Complete {
                for message in messages(number) {
                    sender.send_data(message, false).unwrap();
                }
                sender.send_trailers(trailers(number)).unwrap();
            } else {
                // Little: what the server does not read would fill the window of the whole connection.
                sender.send_data("request".into(), false).unwrap();
            }
            let mut body = response.await.unwrap().into_body();
            match end_of(number) {
                StreamFate::Complete => {
                    assert_eq!(all(&mut body).await, messages(!number).concat(), "{number}");
                    assert_eq!(body.trailers().await.unwrap(), Some(trailers(!number)));
                }
                StreamFate::Cancelled => {
                    assert!("first".as_bytes().starts_with(&next(&mut body).await.unwrap()));
                    sender.send_reset(Reason::CANCEL);
                }
                StreamFate::Reset(reason) => {
                    // The reset may overtake data that waits for the connection's window.
                    let mut received = Vec::new();
                    let error = loop {
                        match body.data().await.unwrap() {
                            Ok(data) => received.extend_from_slice(&data),
                            Err(error) => break error,
                        }
                    };
                    assert!(b"first".starts_with(&received), "{number}");
                    assert_eq!(error.reason(), Some(reason), "{number}");
                }
            }
        });
    }
    while let Some(ended) = requests.join_next().await {
        ended.unwrap();
    }
    let count = (0..STREAMS).filter(|number| end_of(*number) == StreamFate::Cancelled).count();
    let resets: BTreeMap<u64, Reason> = (0..count).map(|_| cancelled.wait()).collect();
    assert_eq!(resets.len(), count);
    assert!(resets.values().all(|reason| *reason == Reason::CANCEL), "{resets:?}");
    assert_eq!(upstream.connections(), 1);
    for gauge in [&near, &far] {
        gauge.requests_when(STREAMS as usize);
        gauge.scrape().assert_balanced();
    }
}
