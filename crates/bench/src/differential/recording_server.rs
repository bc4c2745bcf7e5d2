//! A server that records each request as it arrived. Its parser shares no code with a proxy.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::BoxError;

/// Requests that arrive later belong to no case.
const SETTLE: Duration = Duration::from_millis(40);

#[derive(Debug, Default)]
struct RecordedRequests {
    response: Vec<u8>,
    /// Complete requests of the current case.
    requests: Vec<Vec<u8>>,
}

/// A server that answers every request with the response of the current case.
#[derive(Debug)]
pub struct RecordingServer {
    pub address: SocketAddr,
    recorded: Arc<Mutex<RecordedRequests>>,
}

impl RecordingServer {
    /// Starts the server. Its threads end with the process.
    pub fn start() -> Result<Self, BoxError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let recorded = Arc::<Mutex<RecordedRequests>>::default();
        let shared = Arc::clone(&recorded);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(connection, &shared));
            }
        });
        Ok(Self { address, recorded })
    }

    /// Starts a case: forgets the requests so far, and answers with `response`.
    pub fn begin(&self, response: Vec<u8>) {
        *lock(&self.recorded) = RecordedRequests { response, requests: Vec::new() };
    }

    /// Returns the requests of the case, once no more arrive.
    pub fn take_requests(&self) -> Vec<Vec<u8>> {
        let (mut count, mut since) = (0, Instant::now());
        while since.elapsed() < SETTLE {
            thread::sleep(SETTLE / 10);
            let now = lock(&self.recorded).requests.len();
            if now != count {
                (count, since) = (now, Instant::now());
            }
        }
        std::mem::take(&mut lock(&self.recorded).requests)
    }
}

fn lock(recorded: &Mutex<RecordedRequests>) -> MutexGuard<'_, RecordedRequests> {
    recorded.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut connection: TcpStream, recorded: &Mutex<RecordedRequests>) {
    let mut received = Vec::new();
    let mut part = [0; 16 * 1024];
    while let Ok(count @ 1..) = connection.read(&mut part) {
        received.extend_from_slice(part.get(..count).unwrap_or_default());
        while let Some(length) = request_length(&received) {
            let request: Vec<u8> = received.drain(..length).collect();
            let response = {
                let mut recorded = lock(recorded);
                recorded.requests.push(request);
                recorded.response.clone()
            };
            if connection.write_all(&response).is_err() {
                return;
            }
        }
    }
}

/// Length of the first request in `bytes`, if it is complete. One with `Expect` is complete without its body.
fn request_length(bytes: &[u8]) -> Option<usize> {
    let head = find(bytes, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(bytes.get(..head)?).to_ascii_lowercase();
    let value = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(found, _)| found.trim() == name).map(|(_, value)| value.trim().to_owned())
    };
    if value("expect").is_some() {
        return Some(head);
    }
    if value("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        return chunked_end(bytes, head);
    }
    let length = value("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    Some(head + length).filter(|end| *end <= bytes.len())
}

/// End of the chunked body that starts at `at`.
fn chunked_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let line = find(bytes.get(at..)?, b"\r\n")?;
        let size = String::from_utf8_lossy(bytes.get(at..at + line)?).into_owned();
        let size = size.split(';').next().unwrap_or_default().trim().to_owned();
        let size = usize::from_str_radix(&size, 16).ok()?;
        at += line + 2;
        if size == 0 {
            break;
        }
        at = at.checked_add(size)?.checked_add(2)?;
    }
    // Trailers, up to an empty line.
    loop {
        let line = find(bytes.get(at..)?, b"\r\n")?;
        at += line + 2;
        if line == 0 {
            return Some(at);
        }
    }
}

fn find(bytes: &[u8], end: &[u8]) -> Option<usize> {
    bytes.windows(end.len()).position(|part| part == end)
}
