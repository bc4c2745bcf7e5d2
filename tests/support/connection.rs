//! One end of a TCP connection that sends and receives exact bytes: a raw client, or a scripted upstream.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long a test waits for bytes before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the peer ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionEnd {
    /// An orderly end (FIN).
    Closed,
    /// RST: received bytes may be incomplete.
    Reset,
}

/// A received message: the start line and headers with the blank line, and the body in its framing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawMessage {
    pub head: Vec<u8>,
    pub body: Vec<u8>,
}

impl RawMessage {
    /// Headers and body as text.
    pub fn text(&self) -> String {
        let bytes: Vec<u8> = self.head.iter().chain(&self.body).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn status(&self) -> u16 {
        let head = String::from_utf8_lossy(&self.head);
        head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// The values of a header, in order.
    pub fn header(&self, name: &str) -> Vec<String> {
        let head = String::from_utf8_lossy(&self.head).into_owned();
        let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    }

    pub fn is_chunked(&self) -> bool {
        self.header("transfer-encoding").iter().any(|coding| coding.ends_with("chunked"))
    }

    /// The body without its framing.
    pub fn data(&self) -> Vec<u8> {
        if self.is_chunked() { dechunk(&self.body) } else { self.body.clone() }
    }
}

/// The data of complete chunks. Bytes after the last complete chunk are left out.
pub fn dechunk(mut body: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(body.len());
    while let Some(at) = body.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&body[..at]).unwrap();
        let size = usize::from_str_radix(size.split(';').next().unwrap(), 16).unwrap();
        let rest = &body[at + 2..];
        if size == 0 || rest.len() < size + 2 {
            break;
        }
        data.extend_from_slice(&rest[..size]);
        body = &rest[size + 2..];
    }
    data
}

/// One chunk of chunked coding, spelled as hyper does.
pub fn chunk(data: impl AsRef<[u8]>) -> Vec<u8> {
    let data = data.as_ref();
    [format!("{:X}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

/// One end of a connection.
pub struct RawConnection {
    pub socket: TcpStream,
    /// Received bytes that no reader has taken yet.
    buffer: Vec<u8>,
    /// All received bytes.
    pub received: Vec<u8>,
}

impl RawConnection {
    pub fn connect(address: SocketAddr) -> Self {
        Self::from_socket(TcpStream::connect(address).unwrap())
    }

    pub fn from_socket(socket: TcpStream) -> Self {
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { socket, buffer: Vec::new(), received: Vec::new() }
    }

    /// Sends, unless the peer has closed. Returns whether it could.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.socket.write_all(bytes.as_ref()).is_ok()
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).unwrap();
    }

    /// Receives more bytes. Returns how the peer ended the connection, if it did.
    fn more(&mut self) -> Result<(), ConnectionEnd> {
        let mut piece = [0; 64 * 1024];
        match self.socket.read(&mut piece) {
            Ok(0) => Err(ConnectionEnd::Closed),
            Ok(count) => {
                self.buffer.extend_from_slice(&piece[..count]);
                self.received.extend_from_slice(&piece[..count]);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Err(ConnectionEnd::Reset),
            Err(error) => panic!("no bytes arrived: {error}; received {:?}", self.show()),
        }
    }

    fn show(&self) -> String {
        String::from_utf8_lossy(&self.received[..self.received.len().min(4096)]).into_owned()
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        self.buffer.drain(..count).collect()
    }

    /// Reads up to and including `end`. Returns `None` if the connection ends first.
    pub fn read_until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        let mut looked = 0;
        loop {
            let found = self.buffer[looked..].windows(end.len()).position(|window| window == end);
            if let Some(at) = found {
                return Some(self.take(looked + at + end.len()));
            }
            looked = self.buffer.len().saturating_sub(end.len() - 1);
            self.more().ok()?;
        }
    }

    /// Reads this many bytes. Returns `None` if the connection ends first.
    pub fn read_exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            self.more().ok()?;
        }
        Some(self.take(count))
    }

    /// Reads the next start line and headers.
    pub fn read_head(&mut self) -> Option<RawMessage> {
        Some(RawMessage { head: self.read_until(b"\r\n\r\n")?, body: Vec::new() })
    }

    /// Reads the next message with its body. `no_body`: the message is the response to a HEAD.
    fn message_of(&mut self, no_body: bool) -> Option<RawMessage> {
        let mut message = self.read_head()?;
        let is_answer = message.head.starts_with(b"HTTP/");
        if no_body || is_answer && matches!(message.status(), 100..=199 | 204 | 304) {
            return Some(message);
        }
        if message.is_chunked() {
            loop {
                let line = self.read_until(b"\r\n")?;
                let size = std::str::from_utf8(&line).unwrap().trim_end().split(';').next();
                let size = usize::from_str_radix(size.unwrap(), 16).unwrap();
                message.body.extend(line);
                if size == 0 {
                    break;
                }
                message.body.extend(self.read_exactly(size + 2)?);
            }
            loop {
                let trailer = self.read_until(b"\r\n")?;
                let is_last = trailer == b"\r\n";
                message.body.extend(trailer);
                if is_last {
                    return Some(message);
                }
            }
        }
        match message.header("content-length").first() {
            Some(length) => message.body = self.read_exactly(length.parse().unwrap())?,
            None if is_answer => message.body = self.read_to_end().0,
            None => {}
        }
        Some(message)
    }

    /// Reads the next message. Returns `None` if the connection ends first.
    pub fn try_read_message(&mut self) -> Option<RawMessage> {
        self.message_of(false)
    }

    /// Reads the next message with its body.
    pub fn read_message(&mut self) -> RawMessage {
        let message = self.message_of(false);
        message.unwrap_or_else(|| panic!("incomplete message: {:?}", self.show()))
    }

    /// Reads the response to a HEAD request.
    pub fn read_response_to_head(&mut self) -> RawMessage {
        self.message_of(true).unwrap()
    }

    /// Reads the remaining bytes, and how the peer ended the connection.
    pub fn read_to_end(&mut self) -> (Vec<u8>, ConnectionEnd) {
        loop {
            if let Err(ending) = self.more() {
                return (std::mem::take(&mut self.buffer), ending);
            }
        }
    }

    /// Waits until the peer has ended the connection, and returns the time.
    pub fn wait_for_close(&mut self) -> Instant {
        self.read_to_end();
        Instant::now()
    }

    /// Closes the sending direction only.
    pub fn half_close(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Ends the connection with RST.
    pub fn reset(self) {
        // The standard library cannot set SO_LINGER; tokio can.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let _context = runtime.enter();
        self.socket.set_nonblocking(true).unwrap();
        let socket = tokio::net::TcpStream::from_std(self.socket).unwrap();
        socket.set_zero_linger().unwrap();
    }
}

/// For large bodies: bytes read this way are not kept in `received`.
impl Read for RawConnection {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.buffer.is_empty() {
            return self.socket.read(into);
        }
        let count = self.buffer.len().min(into.len());
        into[..count].copy_from_slice(&self.take(count));
        Ok(count)
    }
}

/// Reads the data of a chunked body, up to its last chunk.
pub struct ChunkedReader<'a> {
    connection: &'a mut RawConnection,
    left: usize,
    over: bool,
}

impl<'a> ChunkedReader<'a> {
    pub fn new(connection: &'a mut RawConnection) -> Self {
        Self { connection, left: 0, over: false }
    }
}

impl Read for ChunkedReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 && !self.over {
            let line = self.connection.read_until(b"\r\n").unwrap();
            let size = std::str::from_utf8(&line).unwrap().trim_end();
            self.left = usize::from_str_radix(size, 16).unwrap();
            self.over = self.left == 0;
        }
        let most = self.left.min(into.len());
        let count = self.connection.read(&mut into[..most])?;
        self.left -= count;
        if self.left == 0 {
            assert_eq!(self.connection.read_exactly(2).unwrap(), b"\r\n");
        }
        Ok(count)
    }
}
