//! Accepts clients.

use super::drain::Drain;
use crate::proxy::handover::ClientConnection;
use crate::proxy::upstream::UpstreamPool;
use crate::socket::{TimestampedIo, set_socket_options};
use nix::sys::socket::{Backlog, listen};
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// ClientSpawner that may wait to be accepted; the system may allow fewer (`net.core.somaxconn`). std asks for
/// 128, which a burst overflows: those left out try again after a second.
const BACKLOG: i32 = 4096;
/// How long to wait after an accept that failed for lack of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a client may take to begin with TLS.
const TLS_HANDSHAKE: Duration = Duration::from_secs(10);

/// A bound socket for clients, which several workers can accept from.
#[derive(Debug)]
pub struct Listener(StdListener);

impl Listener {
    /// Binds `address`; port 0 takes a free one. `kernel_stamps` asks the kernel to stamp what its
    /// clients send.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub fn bind(address: SocketAddr, kernel_stamps: bool) -> io::Result<Self> {
        let listener = StdListener::bind(address)?;
        listener.set_nonblocking(true)?;
        set_socket_options(&listener, kernel_stamps);
        listen(&listener, Backlog::new(BACKLOG)?)?;
        Ok(Self(listener))
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the operating system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The same socket for another worker.
    ///
    /// # Errors
    /// If there are no file descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// The socket, for another server that speaks HTTP on it.
    pub fn into_std(self) -> StdListener {
        self.0
    }
}

/// Serves clients until `shutdown` holds `true`, then lets open requests finish for at most `grace`.
/// What still runs then is cut: its client sees a response that breaks off. With `tls` clients must
/// speak it.
///
/// # Errors
/// If the listener cannot be used.
pub async fn serve(
    listener: Listener,
    tls: Option<Arc<ServerConfig>>,
    upstream: Arc<UpstreamPool>,
    mut shutdown: watch::Receiver<bool>,
    grace: Duration,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener.into_std())?;
    let timers = upstream.timers().clone();
    let clients =
        ClientSpawner { tls: tls.map(TlsAcceptor::from), upstream, drain: Arc::default() };
    // A sender that is gone says stop too.
    let mut stop = pin!(async {
        let _ = shutdown.wait_for(|stop| *stop).await;
    });
    let mut reap = pin!(clients.upstream.reap());
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => clients.spawn(socket),
                Err(error) if is_of_one_client(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept clients: are there file descriptors left?");
                    timers.sleep(ACCEPT_PAUSE).await;
                }
            },
            () = &mut reap => {}
            () = &mut stop => break,
        }
    }
    drop(listener);
    if timers.timeout(grace, clients.drain.all()).await.is_err() {
        // The worker ends now, and with it the tasks of these connections.
        clients.upstream.tap().begin_shutdown();
    }
    Ok(())
}

/// The client left before we got to it.
fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// What the clients of one worker's listener share.
struct ClientSpawner {
    tls: Option<TlsAcceptor>,
    upstream: Arc<UpstreamPool>,
    drain: Arc<Drain>,
}

impl ClientSpawner {
    fn spawn(&self, socket: TcpStream) {
        let upstream = Arc::clone(&self.upstream);
        let drain = Arc::clone(&self.drain);
        let io = TimestampedIo::accepted(socket, upstream.tap().on_forwarded());
        let Some(tls) = self.tls.clone() else {
            tokio::spawn(drain.run(ClientConnection::new(io, upstream)));
            return;
        };
        tokio::spawn(async move {
            let accepted = upstream.timers().timeout(TLS_HANDSHAKE, io.accept_tls(&tls));
            match accepted.await {
                Ok(Ok(io)) => drain.run(ClientConnection::new(io, upstream)).await,
                Ok(Err(error)) => tracing::debug!(%error, "a client failed to speak TLS"),
                Err(_) => tracing::debug!("a client took too long to begin with TLS"),
            }
        });
    }
}
