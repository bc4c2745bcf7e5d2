//! One connection of the load client: asks for streams, one after the other, and checks each.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::clock::{now, sleep_until};
use crate::dechunk::Dechunker;
use crate::events::Events;
use crate::load::{Plan, Tally};

/// How much later than planned a response may end, nanoseconds.
pub const GRACE: u64 = 10_000_000_000;

/// Why a response does not count.
pub type Failure = &'static str;

/// The life of connection `number`: waits for its turn, then streams until the plan ends.
pub async fn connection(plan: &Plan, number: u64, tally: &RefCell<Tally>) {
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
            // The next stream would tell no more.
            return tally.borrow_mut().fail(failure);
        }
    }
}

/// One stream, from the request to the last byte of the response.
async fn stream(
    plan: &Plan,
    tokens: u64,
    connected: &mut Option<TcpStream>,
    tally: &RefCell<Tally>,
) -> Result<(), Failure> {
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

    let (mut body, mut events) = (Dechunker::new(), Events::default());
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

/// A connection to `target`.
pub async fn connect(target: SocketAddr) -> Result<TcpStream, Failure> {
    let socket = TcpStream::connect(target).await.map_err(|_| "cannot connect")?;
    socket.set_nodelay(true).map_err(|_| "cannot set nodelay")?;
    Ok(socket)
}

/// Appends to `buffer` what has come; returns how much, 0 at the end of the connection.
pub async fn read(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<usize, Failure> {
    socket.read_buf(buffer).await.map_err(|_| "cannot read")
}

/// As [`read`]; the end of the connection is a failure.
pub async fn read_more(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(), Failure> {
    match read(socket, buffer).await? {
        0 => Err("ended early"),
        _ => Ok(()),
    }
}

/// Whether the head of a response announces a stream.
pub fn check_head(head: &[u8]) -> Result<(), Failure> {
    let head = head.to_ascii_lowercase();
    if !head.starts_with(b"http/1.1 200 ") {
        return Err("the status is not 200");
    }
    if memmem::find(&head, b"transfer-encoding: chunked").is_none() {
        return Err("the response is not chunked");
    }
    Ok(())
}
