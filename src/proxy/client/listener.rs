//! Listener: accepts clients and starts a task for each connection.

use super::connection_limit::ConnectionLimit;
use super::drain::{Drain, DrainStage};
use crate::metrics::LimitKind;
use crate::proxy::handover::ClientConnection;
use crate::proxy::tls::SharedServerConfig;
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

/// Maximum number of connections that wait to be accepted. The system can limit it further (`net.core.somaxconn`).
/// std's default of 128 overflows in a burst, and the clients that are left out retry after a second.
const BACKLOG: i32 = 4096;
/// Pause after an accept that failed for lack of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Maximum time for the TLS handshake with a client.
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A bound listening socket, shared by several workers.
#[derive(Debug)]
pub struct Listener(StdListener);

impl Listener {
    /// Binds `address`. Port 0 selects a free port. `kernel_stamps` enables the kernel's receive timestamps on accepted
    /// sockets.
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

    /// Address and port that the listener is bound to.
    ///
    /// # Errors
    /// If the operating system does not return it.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Returns another handle of the same socket, for another worker.
    ///
    /// # Errors
    /// If no file descriptor is left.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Returns the socket.
    pub fn into_std(self) -> StdListener {
        self.0
    }
}

/// Serves clients until `stage` is [`DrainStage::Closing`] and all connections have ended. With `tls`, clients must use
/// TLS.
///
/// # Errors
/// If the listener cannot be used.
pub async fn serve(
    listener: Listener,
    tls: Option<SharedServerConfig>,
    upstream: Arc<UpstreamPool>,
    limit: Arc<ConnectionLimit>,
    mut stage: watch::Receiver<DrainStage>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener.into_std())?;
    let timers = upstream.timers().clone();
    let clients = ClientSpawner { tls, upstream, limit, drain: Arc::default() };
    let mut close_idle = pin!(clients.upstream.close_idle());
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => clients.spawn(socket),
                Err(error) if is_client_error(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept clients: check the limit of file descriptors");
                    clients.upstream.tap().upstream_series().count_limit(LimitKind::Descriptors);
                    timers.sleep(ACCEPT_PAUSE).await;
                }
            },
            () = &mut close_idle => {}
            entered = next_stage(&mut stage) => match entered {
                DrainStage::Serving | DrainStage::LameDuck => clients.drain.enter(entered),
                DrainStage::Closing | DrainStage::Aborting => break,
            },
        }
    }
    drop(listener);
    clients.drain.enter(DrainStage::Closing);
    tokio::select! {
        () = clients.drain.closed() => {}
        () = aborting(&mut stage) => {
            clients.upstream.tap().begin_shutdown();
            clients.drain.enter(DrainStage::Aborting);
            clients.drain.closed().await;
        }
    }
    Ok(())
}

/// Waits for the next stage of the shutdown. Without a sender, that is the last one.
async fn next_stage(stage: &mut watch::Receiver<DrainStage>) -> DrainStage {
    match stage.changed().await {
        Ok(()) => *stage.borrow_and_update(),
        Err(_) => DrainStage::Aborting,
    }
}

/// Completes at the last stage of the shutdown.
async fn aborting(stage: &mut watch::Receiver<DrainStage>) {
    // An error means that the sender was dropped.
    let _ = stage.wait_for(|stage| *stage == DrainStage::Aborting).await;
}

/// Whether an accept failed because the client has already disconnected.
fn is_client_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// State that all connections of one worker's listener share.
struct ClientSpawner {
    tls: Option<SharedServerConfig>,
    upstream: Arc<UpstreamPool>,
    limit: Arc<ConnectionLimit>,
    drain: Arc<Drain>,
}

impl ClientSpawner {
    /// Starts the task of a new connection.
    fn spawn(&self, socket: TcpStream) {
        let slot = self.limit.admit();
        if slot.as_ref().is_none_or(|slot| slot.is_refused) {
            self.upstream.tap().upstream_series().count_limit(LimitKind::Connections);
            tracing::warn!("too many connections: clients get 503. max_connections is the limit");
        }
        let Some(slot) = slot else { return };
        let upstream = Arc::clone(&self.upstream);
        let drain = Arc::clone(&self.drain);
        let io = TimestampedIo::accepted(socket, upstream.tap().on_forwarded());
        let Some(tls) = self.tls.as_ref().map(SharedServerConfig::acceptor) else {
            tokio::spawn(drain.run(ClientConnection::new(io, upstream, slot)));
            return;
        };
        tokio::spawn(async move {
            let accepted = upstream.timers().timeout(TLS_HANDSHAKE_TIMEOUT, io.accept_tls(&tls));
            match accepted.await {
                Ok(Ok(io)) => drain.run(ClientConnection::new(io, upstream, slot)).await,
                Ok(Err(error)) => tracing::debug!(%error, "TLS handshake with a client failed"),
                Err(_) => {
                    tracing::debug!("TLS handshake with a client timed out");
                    upstream.tap().upstream_series().count_limit(LimitKind::TlsHandshakeTime);
                }
            }
        });
    }
}
