//! The closed loop of short requests: each client sends its next request when the response has arrived.

use std::cell::RefCell;
use std::time::Duration;

use memchr::memmem;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::clock::{now, sleep_until};
use crate::connection::{FailureReason, GRACE, connect, read, read_more};
use crate::load_plan::LoadPlan;
use crate::load_totals::LoadTotals;
use crate::short_response;
use crate::traffic::ConnectionReuse;

/// Time in nanoseconds for which clients continue after the window, so that all are busy at its end.
const RUN_ON: u64 = 200_000_000;

/// Runs client `number`: sends requests until the plan ends.
pub async fn run_client(
    plan: &LoadPlan,
    reuse: ConnectionReuse,
    number: u64,
    totals: &RefCell<LoadTotals>,
) {
    sleep_until(plan.opening_time(number)).await;
    let until = plan.until + RUN_ON;
    let patience = Duration::from_nanos((until + GRACE).saturating_sub(now()));
    let requests = async {
        let mut connected = None;
        // All clients together request each response number at most once.
        let mut number = number;
        while now() < until {
            totals.borrow_mut().record_request(short_response::tokens(number));
            let bytes = send_request(plan, reuse, number, &mut connected).await?;
            let mut totals = totals.borrow_mut();
            totals.record_short_response(short_response::tokens(number), bytes);
            totals.record_end(plan, now());
            number += plan.streams;
        }
        Ok(())
    };
    if let Err(failure) = timeout(patience, requests).await.unwrap_or(Err("took too long")) {
        totals.borrow_mut().record_failure(failure);
    }
}

/// Returns the bytes of the request for response `number`.
fn request(plan: &LoadPlan, reuse: ConnectionReuse, number: u64) -> Vec<u8> {
    let body = format!(
        r#"{{"model":"bench/model-8b","messages":[{{"role":"user","content":"What does it cost?"}}],"stream":false,"number":{number}}}"#
    );
    let close = match reuse {
        ConnectionReuse::New => "connection: close\r\n",
        ConnectionReuse::Kept => "",
    };
    let (target, length) = (plan.target, body.len());
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {target}\r\naccept: application/json\r\n{close}\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Sends one request and reads its response. Returns the number of body bytes.
async fn send_request(
    plan: &LoadPlan,
    reuse: ConnectionReuse,
    number: u64,
    connected: &mut Option<TcpStream>,
) -> Result<u64, FailureReason> {
    let mut socket = match connected.take() {
        Some(socket) => socket,
        None => connect(plan.target).await?,
    };
    socket.write_all(&request(plan, reuse, number)).await.map_err(|_| "cannot write")?;
    let (expected, mut response) = (short_response::body(number), Vec::with_capacity(4096));
    while !is_whole(&response, &expected)? {
        read_more(&mut socket, &mut response).await?;
    }
    match reuse {
        ConnectionReuse::Kept => *connected = Some(socket),
        ConnectionReuse::New => {
            if read(&mut socket, &mut response).await? != 0 {
                return Err("bytes after the response");
            }
            // The proxy has closed the connection. A reset avoids a hundred thousand sockets in TIME_WAIT. The proxy does not
            // see it.
            socket.set_zero_linger().map_err(|_| "cannot set linger")?;
        }
    }
    Ok(expected.len() as u64)
}

/// Whether `response` is complete with the body `expected`; an error if it cannot become so.
fn is_whole(response: &[u8], expected: &[u8]) -> Result<bool, FailureReason> {
    let Some(head) = memmem::find(response, b"\r\n\r\n").map(|at| at + 4) else {
        return Ok(false);
    };
    let (head, body) = response.split_at(head);
    let head = head.to_ascii_lowercase();
    if !head.starts_with(b"http/1.1 200 ") {
        return Err("the status is not 200");
    }
    let length = format!("\r\ncontent-length: {}\r\n", expected.len());
    if memmem::find(&head, length.as_bytes()).is_none() {
        return Err("the content-length differs");
    }
    if !expected.starts_with(body) {
        return Err("the body is not the expected one");
    }
    Ok(body.len() == expected.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_is_complete_with_its_last_byte() {
        let body = short_response::body(7);
        let response = short_response::response(&body);
        for length in 0..response.len() {
            assert_eq!(is_whole(&response[..length], &body), Ok(false), "{length}");
        }
        assert_eq!(is_whole(&response, &body), Ok(true));
    }

    #[test]
    fn other_responses_are_errors() {
        let body = short_response::body(7);
        let other = short_response::response(&short_response::body(8));
        assert!(is_whole(&other, &body).is_err());
        let right = short_response::response(&body);
        assert!(is_whole(&[&right[..], b"x"].concat(), &body).is_err());
        assert!(is_whole(&replaced(&right, b" 200 ", b" 502 "), &body).is_err());
        let length = body.len().to_string();
        assert!(is_whole(&replaced(&right, length.as_bytes(), b"1"), &body).is_err());
        for at in right.len() - body.len()..right.len() {
            let mut wrong = right.clone();
            wrong[at] ^= 1;
            assert!(is_whole(&wrong, &body).is_err(), "{at}");
        }
    }

    fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
        let at = memmem::find(bytes, old).unwrap();
        [&bytes[..at], new, &bytes[at + old.len()..]].concat()
    }
}
