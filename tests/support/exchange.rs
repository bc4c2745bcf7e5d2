//! One request and its answer through the proxy: what arrived on either side.

use super::upstream::Upstream;
use super::wire::Wire;
use super::{Gauge, wait_for};
use streamgauge::tap::FaultInjection;

/// What the upstream got of the request and the client of the answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Exchange {
    pub request: String,
    pub answer: String,
}

/// Sends `request` through a proxy with these keys to an upstream that answers with `answer`.
pub fn exchange_with(keys: &[(&'static str, &str)], request: &[u8], answer: &[u8]) -> Exchange {
    let until_close = ends_with_connection(answer);
    let scripted = answer.to_vec();
    let upstream = Upstream::each(move |_, wire| {
        while wire.try_message().is_some() && wire.try_send(&scripted) && !until_close {}
    });
    let gauge = Gauge::with(upstream.address, keys, FaultInjection::default());
    let mut client = Wire::connect(gauge.proxy);
    client.send(request);
    let got =
        if request.starts_with(b"HEAD ") { client.answer_to_head() } else { client.message() };
    client.half_close();
    let (surplus, _) = client.rest();
    assert_eq!(String::from_utf8_lossy(&surplus), "", "more than one answer came");
    drop(gauge);
    let received = wait_for("the upstream's end", || upstream.received().pop());
    Exchange { request: String::from_utf8_lossy(&received).into_owned(), answer: got.text() }
}

/// With all defaults.
pub fn exchange(request: &str, answer: &str) -> Exchange {
    exchange_with(&[], request.as_bytes(), answer.as_bytes())
}

fn ends_with_connection(answer: &[u8]) -> bool {
    let answer = String::from_utf8_lossy(answer).to_lowercase();
    let (head, _) = answer.split_once("\r\n\r\n").unwrap();
    let has_none = head.contains(" 204 ") || head.contains(" 304 ");
    !has_none && !head.contains("content-length:") && !head.contains("transfer-encoding:")
}
