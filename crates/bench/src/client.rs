//! One connection of the load generator: requests streams one after the other, and checks each.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::clock::{now, sleep_until};
use crate::dechunk::Dechunker;
use crate::events::ReceivedEvents;
use crate::load::{LoadPlan, LoadTotals};

/// Maximum delay of the end of a response, in nanoseconds.
pub const GRACE: u64 = 10_000_000_000;

/// Why a response is not counted.
pub type FailureReason = &'static str;

/// Runs connection `number`: waits for its start, then streams until the plan ends.
pub async fn connection(plan: &LoadPlan, number: u64, tally: &RefCell<LoadTotals>) {
    let opens = plan.opens(number);
    sleep_until(opens).await;
    let tokens = plan.tokens_each(opens);
    let patience = Duration::from_nanos(tokens * plan.period() + GRACE);
    let mut socket = None;
    while now() < plan.until {
        tally.borrow_mut().begin(tokens);
        let result = match timeout(patience, stream(plan, tokens, &mut socket, tally)).await {
            Ok(result) => result,
            Err(_) => Err("took too long"),
        };
        if let Err(failure) = result {
            // Further streams would give the same failure.
            return tally.borrow_mut().fail(failure);
        }
    }
}

/// Runs one stream, from the request to the last byte of the response.
async fn stream(
    plan: &LoadPlan,
    tokens: u64,
    connected: &mut Option<TcpStream>,
    tally: &RefCell<LoadTotals>,
) -> Result<(), FailureReason> {
    let asked = now();
    let socket = match connected {
        Some(socket) => socket,
        None => connected.insert(connect(plan.target).await?),
    };
    socket.write_all(&plan.request(tokens)).await.map_err(|_| "cannot write")?;

    let mut buffer = Vec::with_capacity(16 * 1024);
    let head = loop {
        read_more(socket, &mut buffer).await?;
        if let Some(at) = memmem::find(&buffer, b"\r\n\r\n") {
            break at + 4;
        }
    };
    let mut at = now();
    tally.borrow_mut().head(at - asked);
    check_head(&buffer[..head])?;
    buffer.drain(..head);

    let (mut body, mut events) = (Dechunker::new(), ReceivedEvents::default());
    loop {
        body.feed(&buffer, events.buffer())?;
        let (tokens_before, bytes_before) = (events.tokens(), events.bytes());
        {
            let mut tally = tally.borrow_mut();
            if tokens_before == 0 {
                tally.first_from(asked);
            }
            events.read(|sent| tally.token(plan, sent, at))?;
            tally.bytes += events.bytes() - bytes_before;
        }
        if body.is_done() {
            events.finish(tokens)?;
            tally.borrow_mut().end(plan, at);
            return Ok(());
        }
        buffer.clear();
        read_more(socket, &mut buffer).await?;
        at = now();
    }
}

/// Connects to `target`.
pub async fn connect(target: SocketAddr) -> Result<TcpStream, FailureReason> {
    let socket = TcpStream::connect(target).await.map_err(|_| "cannot connect")?;
    socket.set_nodelay(true).map_err(|_| "cannot set nodelay")?;
    Ok(socket)
}

/// Appends received bytes to `buffer` and returns their number; 0 at the end of the connection.
pub async fn read(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<usize, FailureReason> {
    socket.read_buf(buffer).await.map_err(|_| "cannot read")
}

/// Like [`read`], but the end of the connection is a failure.
pub async fn read_more(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(), FailureReason> {
    match read(socket, buffer).await? {
        0 => Err("ended early"),
        _ => Ok(()),
    }
}

/// Checks that response headers announce a stream.
pub fn check_head(head: &[u8]) -> Result<(), FailureReason> {
    let head = head.to_ascii_lowercase();
    if !head.starts_with(b"http/1.1 200 ") {
        return Err("the status is not 200");
    }
    if memmem::find(&head, b"transfer-encoding: chunked").is_none() {
        return Err("the response is not chunked");
    }
    Ok(())
}
