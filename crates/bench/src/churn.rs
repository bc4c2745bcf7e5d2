//! The closed loop of short requests: each client asks for a small whole answer, and for the next when it has it.

use std::cell::RefCell;
use std::str::FromStr;
use std::time::Duration;

use memchr::memmem;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::answer;
use crate::client::{Failure, GRACE, connect, read, read_more};
use crate::clock::{now, sleep_until};
use crate::load::{Plan, Tally};

/// The clients ask on for a while after the window, so that all are busy at its end. Nanoseconds.
const RUN_ON: u64 = 200_000_000;

/// What a client does with its connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Churn {
    /// A new one for each request. The client says so in the request, and the proxy closes it.
    New,
    /// It is kept for the next request.
    Kept,
}

impl Churn {
    /// As it stands on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Kept => "kept",
        }
    }

    /// The bytes of the request for the answer `number`.
    fn request(self, plan: &Plan, number: u64) -> Vec<u8> {
        let body = format!(
            r#"{{"model":"bench/model-8b","messages":[{{"role":"user","content":"What does it cost?"}}],"stream":false,"number":{number}}}"#
        );
        let close = match self {
            Self::New => "connection: close\r\n",
            Self::Kept => "",
        };
        let (target, length) = (plan.target, body.len());
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {target}\r\naccept: application/json\r\n{close}\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

impl FromStr for Churn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::New, Self::Kept]
            .into_iter()
            .find(|churn| churn.name() == text)
            .ok_or_else(|| "must be new or kept".to_owned())
    }
}

/// The life of client `number`: asks until the plan ends.
pub async fn client(plan: &Plan, churn: Churn, number: u64, tally: &RefCell<Tally>) {
    sleep_until(plan.opens(number)).await;
    let until = plan.until + RUN_ON;
    let patience = Duration::from_nanos((until + GRACE).saturating_sub(now()));
    let asking = async {
        let mut connected = None;
        // Of its own, each time.
        let mut number = number;
        while now() < until {
            tally.borrow_mut().begin(answer::tokens(number));
            let bytes = ask(plan, churn, number, &mut connected).await?;
            let mut tally = tally.borrow_mut();
            tally.answer(answer::tokens(number), bytes);
            tally.end(plan, now());
            number += plan.streams;
        }
        Ok(())
    };
    if let Err(failure) = timeout(patience, asking).await.unwrap_or(Err("took too long")) {
        tally.borrow_mut().fail(failure);
    }
}

/// One request and its answer. Returns the bytes of the body.
async fn ask(
    plan: &Plan,
    churn: Churn,
    number: u64,
    connected: &mut Option<TcpStream>,
) -> Result<u64, Failure> {
    let mut socket = match connected.take() {
        Some(socket) => socket,
        None => connect(plan.target).await?,
    };
    socket.write_all(&churn.request(plan, number)).await.map_err(|_| "cannot write")?;
    let (expected, mut response) = (answer::body(number), Vec::with_capacity(4096));
    while !is_whole(&response, &expected)? {
        read_more(&mut socket, &mut response).await?;
    }
    match churn {
        Churn::Kept => *connected = Some(socket),
        Churn::New => {
            if read(&mut socket, &mut response).await? != 0 {
                return Err("bytes behind the answer");
            }
            // The proxy has closed. A reset frees what the kernel still holds for its end, which would else
            // wait for a minute (TIME_WAIT), by the hundred thousand. The proxy does not see it.
            socket.set_zero_linger().map_err(|_| "cannot set linger")?;
        }
    }
    Ok(expected.len() as u64)
}

/// Whether `response` is a whole answer with the body `expected`; an error if it never will be.
fn is_whole(response: &[u8], expected: &[u8]) -> Result<bool, Failure> {
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
        return Err("the content-length is not the answer's");
    }
    if !expected.starts_with(body) {
        return Err("the answer is not the one that was asked for");
    }
    Ok(body.len() == expected.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let body = answer::body(7);
        let response = answer::response(&body);
        for length in 0..response.len() {
            assert_eq!(is_whole(&response[..length], &body), Ok(false), "{length}");
        }
        assert_eq!(is_whole(&response, &body), Ok(true));
    }

    #[test]
    fn any_other_answer_is_none() {
        let body = answer::body(7);
        let other = answer::response(&answer::body(8));
        assert!(is_whole(&other, &body).is_err());
        let right = answer::response(&body);
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
