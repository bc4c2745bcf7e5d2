//! One request and its response through the proxy, with the bytes that arrive on either side.

use super::connection::RawConnection;
use super::upstream::ScriptedUpstream;
use super::{Streamgauge, wait_for};
use streamgauge::testing::FaultInjection;

/// The bytes that the upstream and the client received.
#[derive(Debug, PartialEq, Eq)]
pub struct ProxiedExchange {
    pub request: String,
    pub answer: String,
}

/// Sends `request` through a proxy with these keys to an upstream that responds with `answer`.
pub fn exchange_with(
    keys: &[(&'static str, &str)],
    request: &[u8],
    answer: &[u8],
) -> ProxiedExchange {
    let until_close = ends_with_connection(answer);
    let scripted = answer.to_vec();
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        while connection.try_read_message().is_some()
            && connection.try_send(&scripted)
            && !until_close
        {}
    });
    let gauge = Streamgauge::with(upstream.address, keys, FaultInjection::default());
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(request);
    let got = if request.starts_with(b"HEAD ") {
        client.read_response_to_head()
    } else {
        client.read_message()
    };
    client.half_close();
    let (surplus, _) = client.read_to_end();
    assert_eq!(String::from_utf8_lossy(&surplus), "", "more than one answer came");
    drop(gauge);
    let received = wait_for("the upstream's end", || upstream.received().pop());
    ProxiedExchange { request: String::from_utf8_lossy(&received).into_owned(), answer: got.text() }
}

/// The same with default settings.
pub fn exchange(request: &str, answer: &str) -> ProxiedExchange {
    exchange_with(&[], request.as_bytes(), answer.as_bytes())
}

fn ends_with_connection(answer: &[u8]) -> bool {
    let answer = String::from_utf8_lossy(answer).to_lowercase();
    let (head, _) = answer.split_once("\r\n\r\n").unwrap();
    let has_none = head.contains(" 204 ") || head.contains(" 304 ");
    !has_none && !head.contains("content-length:") && !head.contains("transfer-encoding:")
}
