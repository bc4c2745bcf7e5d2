//! Lingering close: reads and discards what a client still sends after the last response on its connection.
//!
//! A server may answer before it has received the whole request, for example 401 or 413. Many clients read the response
//! only after they have sent everything. Closing the connection while bytes are unread makes the kernel send a reset: such
//! a client fails to send, and loses the response.

use crate::proxy::timers::Timers;
use crate::socket::TimestampedIo;
use std::future::poll_fn;
use std::time::Duration;

/// Maximum number of bytes to discard.
const MAX_BYTES: usize = 256 * 1024 * 1024;
/// Maximum time to discard bytes (the same as nginx's `lingering_time`).
const MAX_TIME: Duration = Duration::from_secs(30);
/// Maximum time between two reads (the same as nginx's `lingering_timeout`).
const MAX_SILENCE: Duration = Duration::from_secs(5);
/// Maximum number of bytes per read.
const MAX_READ: usize = 64 * 1024;

/// Discards what the client sends until it closes the connection, or until a limit is reached. The sending direction must
/// be shut down already.
pub(crate) async fn discard_rest(mut io: TimestampedIo, timers: Timers) {
    let discard = async {
        let mut left = MAX_BYTES;
        while left > 0 {
            let received = poll_fn(|cx| io.poll_receive(cx, MAX_READ, |_| {}));
            match timers.timeout(MAX_SILENCE, received).await {
                Ok(Ok(bytes @ 1..)) => left = left.saturating_sub(bytes),
                _ => break,
            }
        }
    };
    // At a limit, the connection is closed with what is unread.
    let _ = timers.timeout(MAX_TIME, discard).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::Socket;
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;
    use tokio::runtime::Handle;
    use tokio::time::Instant;

    /// Runs `client` against a lingering close. Returns the seconds until it ended.
    async fn linger<F: Future<Output = ()>>(client: impl FnOnce(UnixStream) -> F) -> u64 {
        let (theirs, ours) = UnixStream::pair().unwrap();
        let io = TimestampedIo::connected(Socket::Unix(ours), false);
        let start = Instant::now();
        let lingering = discard_rest(io, Timers::new(Handle::current()));
        tokio::select! {
            () = lingering => {}
            () = client(theirs) => panic!("the client ended first"),
        }
        start.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_closed() {
        let seconds = linger(|mut client| async move {
            client.write_all(b"rest").await.unwrap();
            std::future::pending().await
        });
        assert_eq!(seconds.await, MAX_SILENCE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_ends_is_closed() {
        let seconds = linger(|mut client| async move {
            while client.write_all(b"rest").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            std::future::pending().await
        });
        assert_eq!(seconds.await, MAX_TIME.as_secs());
    }

    #[tokio::test]
    async fn a_client_that_sends_too_much_is_closed() {
        let sent = std::cell::Cell::new(0);
        let sent = &sent;
        linger(|mut client| async move {
            while let Ok(count) = client.write(&[0; MAX_READ]).await {
                sent.set(sent.get() + count);
            }
            std::future::pending().await
        })
        .await;
        assert!(sent.get() >= MAX_BYTES, "{}", sent.get());
    }

    #[tokio::test]
    async fn the_end_of_the_client_ends_it() {
        let seconds = linger(|mut client| async move {
            client.write_all(&[0; 3 * MAX_READ]).await.unwrap();
            client.shutdown().await.unwrap();
            std::future::pending().await
        });
        assert!(seconds.await < MAX_SILENCE.as_secs());
    }
}
