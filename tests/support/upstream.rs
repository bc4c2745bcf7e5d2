//! A scripted upstream: the test defines what it does with each connection.

use super::connection::RawConnection;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

type ConnectionScript = dyn Fn(usize, &mut RawConnection) + Send + Sync;

/// A listener that runs a script for each connection, on another thread. The connection is closed when its
/// script returns.
pub struct ScriptedUpstream {
    pub address: SocketAddr,
    shared: Arc<ScriptState>,
}

#[derive(Default)]
struct ScriptState {
    connections: AtomicUsize,
    probes: AtomicUsize,
    /// The bytes that each finished connection received.
    received: Mutex<Vec<Vec<u8>>>,
    stop: AtomicBool,
}

impl ScriptedUpstream {
    /// Runs `script` with each connection and its number, from 0. Connections without a byte are readiness probes and
    /// are not counted.
    pub fn with_script(script: impl Fn(usize, &mut RawConnection) + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), script)
    }

    /// Listens on this address.
    pub fn at(
        address: SocketAddr,
        script: impl Fn(usize, &mut RawConnection) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<ScriptState>::default();
        let (ours, script): (_, Arc<ConnectionScript>) = (Arc::clone(&shared), Arc::new(script));
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if ours.stop.load(SeqCst) {
                    return;
                }
                let (ours, script) = (Arc::clone(&ours), Arc::clone(&script));
                std::thread::spawn(move || {
                    if matches!(socket.peek(&mut [0]), Ok(0)) {
                        ours.probes.fetch_add(1, SeqCst);
                        return;
                    }
                    let number = ours.connections.fetch_add(1, SeqCst);
                    let mut connection = RawConnection::from_socket(socket);
                    script(number, &mut connection);
                    let received = std::mem::take(&mut connection.received);
                    // Close before the bytes appear in the list: tests wait for that.
                    drop(connection);
                    ours.received.lock().unwrap().push(received);
                });
            }
        });
        Self { address, shared }
    }

    /// Responds to every request with these bytes and keeps the connections open.
    pub fn responding_with(response: impl Into<Vec<u8>>) -> Self {
        let response = response.into();
        Self::with_script(move |_, connection| {
            while connection.try_read_message().is_some() {
                if !connection.try_send(&response) {
                    return;
                }
            }
        })
    }

    /// Stops listening, and waits until connections are refused.
    pub fn stop(self) {
        let address = self.address;
        drop(self);
        super::wait_for("the end of the listener", || {
            TcpStream::connect(address).is_err().then_some(())
        });
    }

    /// Number of accepted connections without probes.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    /// Number of connections that were closed without a byte.
    pub fn probes(&self) -> usize {
        self.shared.probes.load(SeqCst)
    }

    /// The bytes that each finished connection received.
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.shared.received.lock().unwrap().clone()
    }
}

impl Drop for ScriptedUpstream {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        // Wake the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

/// An address that nothing listens on.
pub fn unused_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Receives what a script reports to its test, usually when something happened.
pub struct EventReceiver<T = Instant>(Mutex<mpsc::Receiver<T>>);

impl<T: Send + 'static> EventReceiver<T> {
    /// A function for the script to report with, and the receiver.
    pub fn channel() -> (impl Fn(T) + Send + Sync, Self) {
        let (sender, receiver) = mpsc::channel();
        let sender = Mutex::new(sender);
        let report = move |event| {
            let _ = sender.lock().unwrap().send(event);
        };
        (report, Self(Mutex::new(receiver)))
    }

    /// Waits for the next report.
    pub fn wait(&self) -> T {
        self.0
            .lock()
            .unwrap()
            .recv_timeout(Duration::from_secs(20))
            .expect("the script reported nothing")
    }
}
