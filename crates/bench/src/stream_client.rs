//! One connection of the load generator: requests streams one after the other, and checks each.

use std::cell::RefCell;
use std::time::Duration;

use memchr::memmem;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::clock::{now, sleep_until};
use crate::connection::{FailureReason, GRACE, check_headers, connect, read_more};
use crate::dechunk::Dechunker;
use crate::load_plan::LoadPlan;
use crate::load_totals::LoadTotals;
use crate::received_events::ReceivedEvents;

/// Runs connection `number`: waits for its start, then streams until the plan ends.
pub async fn run_client(plan: &LoadPlan, number: u64, totals: &RefCell<LoadTotals>) {
    let opening_time = plan.opening_time(number);
    sleep_until(opening_time).await;
    let tokens = plan.tokens_per_stream(opening_time);
    let patience = Duration::from_nanos(tokens * plan.period() + GRACE);
    let mut socket = None;
    while now() < plan.until {
        totals.borrow_mut().record_request(tokens);
        let result = match timeout(patience, stream(plan, tokens, &mut socket, totals)).await {
            Ok(result) => result,
            Err(_) => Err("took too long"),
        };
        if let Err(failure) = result {
            // Further streams would give the same failure.
            return totals.borrow_mut().record_failure(failure);
        }
    }
}

/// Runs one stream, from the request to the last byte of the response.
async fn stream(
    plan: &LoadPlan,
    tokens: u64,
    connected: &mut Option<TcpStream>,
    totals: &RefCell<LoadTotals>,
) -> Result<(), FailureReason> {
    let requested_at = now();
    let socket = match connected {
        Some(socket) => socket,
        None => connected.insert(connect(plan.target).await?),
    };
    socket.write_all(&plan.request(tokens)).await.map_err(|_| "cannot write")?;

    let mut buffer = Vec::with_capacity(16 * 1024);
    let headers = loop {
        read_more(socket, &mut buffer).await?;
        if let Some(at) = memmem::find(&buffer, b"\r\n\r\n") {
            break at + 4;
        }
    };
    let mut at = now();
    totals.borrow_mut().record_headers(at - requested_at);
    check_headers(&buffer[..headers])?;
    buffer.drain(..headers);

    let (mut body, mut events) = (Dechunker::new(), ReceivedEvents::default());
    loop {
        body.feed(&buffer, events.buffer())?;
        let (tokens_before, bytes_before) = (events.tokens(), events.bytes());
        {
            let mut totals = totals.borrow_mut();
            if tokens_before == 0 {
                totals.expect_first_token(requested_at);
            }
            events.read(|sent| totals.record_token(plan, sent, at))?;
            totals.bytes += events.bytes() - bytes_before;
        }
        if body.is_done() {
            events.finish(tokens)?;
            totals.borrow_mut().record_end(plan, at);
            return Ok(());
        }
        buffer.clear();
        read_more(socket, &mut buffer).await?;
        at = now();
    }
}
