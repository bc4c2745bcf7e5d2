//! A scripted upstream: what it does with each connection is a few lines of the test.

use super::wire::Wire;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

type Script = dyn Fn(usize, &mut Wire) + Send + Sync;

/// A listener whose connections each run a script on a thread of their own. A connection is closed
/// when its script returns.
pub struct Upstream {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    connections: AtomicUsize,
    probes: AtomicUsize,
    /// What each finished connection had received.
    received: Mutex<Vec<Vec<u8>>>,
    stop: AtomicBool,
}

impl Upstream {
    /// Runs `script` with each connection and its number, from 0. Connections that say nothing are probes,
    /// and do not count.
    pub fn each(script: impl Fn(usize, &mut Wire) + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), script)
    }

    /// At this address.
    pub fn at(
        address: SocketAddr,
        script: impl Fn(usize, &mut Wire) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let (ours, script): (_, Arc<Script>) = (Arc::clone(&shared), Arc::new(script));
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
                    let mut wire = Wire::of(socket);
                    script(number, &mut wire);
                    let received = std::mem::take(&mut wire.received);
                    // Whoever sees it in the list knows that the connection is closed.
                    drop(wire);
                    ours.received.lock().unwrap().push(received);
                });
            }
        });
        Self { address, shared }
    }

    /// Answers every request with these bytes, on connections that are kept.
    pub fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::each(move |_, wire| {
            while wire.try_message().is_some() {
                if !wire.try_send(&answer) {
                    return;
                }
            }
        })
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    /// How many connections were closed without a word.
    pub fn probes(&self) -> usize {
        self.shared.probes.load(SeqCst)
    }

    /// What the finished connections had received.
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.shared.received.lock().unwrap().clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

/// An address on which nobody listens.
pub fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// An instant that a script passes to its test.
pub struct Moment(Mutex<mpsc::Receiver<Instant>>);

impl Moment {
    /// The two ends: the script calls the first one with what it waited for.
    pub fn pair() -> (impl Fn(Instant) + Send + Sync, Self) {
        let (sender, receiver) = mpsc::channel();
        let sender = Mutex::new(sender);
        let tell = move |at| {
            let _ = sender.lock().unwrap().send(at);
        };
        (tell, Self(Mutex::new(receiver)))
    }

    /// Waits for it.
    pub fn wait(&self) -> Instant {
        self.0.lock().unwrap().recv_timeout(Duration::from_secs(20)).expect("it never happened")
    }
}
