//! Traffic during a shutdown or a reload: endless streams, and clients that keep their connections.

use super::connection::chunk;
use super::{RawConnection, ScriptedUpstream, chat};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

/// A request without a stream.
pub const SHORT_REQUEST: &str = "GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n";
/// Its response.
const SHORT_RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An upstream whose streams continue until they are ended, and that answers other requests at once.
pub struct StreamingUpstream {
    pub server: ScriptedUpstream,
    end: Arc<AtomicBool>,
}

impl Default for StreamingUpstream {
    fn default() -> Self {
        let end = Arc::<AtomicBool>::default();
        let ends = Arc::clone(&end);
        let server = ScriptedUpstream::with_script(move |_, connection| {
            while let Some(request) = connection.try_read_message() {
                if request.head.starts_with(b"GET") {
                    connection.try_send(SHORT_RESPONSE);
                    continue;
                }
                connection.try_send(chat::STREAM_HEAD);
                while !ends.load(SeqCst) {
                    if !connection.try_send(chunk(chat::content_event("Hi"))) {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
                let end = [chunk(chat::finish_event()), chunk(chat::DONE)].concat();
                connection.try_send([&end, chat::LAST_CHUNK.as_bytes()].concat());
            }
        });
        Self { server, end }
    }
}

impl StreamingUpstream {
    /// Ends all streams.
    pub fn end_streams(&self) {
        self.end.store(true, SeqCst);
    }

    /// Opens a stream, and reads its first event.
    pub fn open_stream(proxy: SocketAddr) -> RawConnection {
        let mut client = RawConnection::connect(proxy);
        client.send(chat::request());
        assert_eq!(client.read_head().unwrap().status(), 200);
        client.read_exactly(chunk(chat::content_event("Hi")).len()).unwrap();
        client
    }
}

/// Number of requests by their result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientCounts {
    pub complete: usize,
    /// The connection was refused.
    pub refused: usize,
    /// The connection ended before the response was complete.
    pub lost: usize,
    /// Responses that announced the end of their connection.
    pub closing: usize,
}

impl ClientCounts {
    fn add(self, other: Self) -> Self {
        Self {
            complete: self.complete + other.complete,
            refused: self.refused + other.refused,
            lost: self.lost + other.lost,
            closing: self.closing + other.closing,
        }
    }
}

/// Clients that each send a short request every 2 ms and keep their connections.
pub struct KeepAliveClients {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<ClientCounts>>,
}

impl KeepAliveClients {
    pub fn start(count: usize, proxy: SocketAddr) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let client = |_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || send_until(&stop, proxy))
        };
        Self { threads: (0..count).map(client).collect(), stop }
    }

    /// Stops the clients, and adds up their counts.
    pub fn stop(self) -> ClientCounts {
        self.stop.store(true, SeqCst);
        let counts = self.threads.into_iter().map(|thread| thread.join().unwrap());
        counts.fold(ClientCounts::default(), ClientCounts::add)
    }
}

fn send_until(stop: &AtomicBool, proxy: SocketAddr) -> ClientCounts {
    let mut counts = ClientCounts::default();
    let mut open: Option<RawConnection> = None;
    while !stop.load(SeqCst) {
        std::thread::sleep(Duration::from_millis(2));
        let mut connection = match open.take() {
            Some(connection) => connection,
            None => match TcpStream::connect(proxy) {
                Ok(socket) => RawConnection::from_socket(socket),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    counts.refused += 1;
                    continue;
                }
                Err(error) => panic!("cannot connect: {error}"),
            },
        };
        let sent = connection.try_send(SHORT_REQUEST);
        let Some(response) = sent.then(|| connection.try_read_message()).flatten() else {
            counts.lost += 1;
            continue;
        };
        assert_eq!(response.status(), 200);
        counts.complete += 1;
        if response.header("connection") == ["close"] {
            counts.closing += 1;
        } else {
            open = Some(connection);
        }
    }
    counts
}
