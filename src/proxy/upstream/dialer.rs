//! Sockets to the upstream: which address is connected to.

use super::address::UpstreamAddress;
use super::resolver::NameResolver;
use crate::proxy::timers::Timers;
use crate::socket::Socket;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;

/// Time after which the next address is tried beside the earlier ones (RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Opens sockets to one upstream.
#[derive(Debug, Clone)]
pub(super) enum Dialer {
    Unix(PathBuf),
    Address(SocketAddr),
    Name(NameResolver),
}

impl Dialer {
    /// Returns a dialer for this address. All its clones share the look-ups of a host name.
    pub fn new(address: &UpstreamAddress) -> Self {
        match address {
            UpstreamAddress::Unix(path) => Self::Unix(path.clone()),
            UpstreamAddress::Tcp { host, port } => match host.parse::<IpAddr>() {
                Ok(ip) => Self::Address(SocketAddr::new(ip, *port)),
                Err(_) => Self::Name(NameResolver::new(host.clone(), *port)),
            },
        }
    }

    /// Opens a socket. `budget`: the time after which the caller gives up, of which each address gets a share.
    ///
    /// # Errors
    /// If the name does not resolve, or no address accepts a connection.
    pub async fn dial(&self, budget: Duration, timers: &Timers) -> io::Result<Socket> {
        match self {
            Self::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix),
            Self::Address(address) => TcpStream::connect(address).await.map(Socket::Tcp),
            Self::Name(resolver) => {
                let addresses = resolver.addresses(timers).await?;
                let connected = connect_first(&addresses, budget, timers).await;
                match &connected {
                    // The server may have moved.
                    Err(_) => resolver.expire(),
                    Ok((address, _)) if addresses.first() != Some(address) => {
                        resolver.prefer(*address);
                    }
                    Ok(_) => {}
                }
                connected.map(|(_, socket)| Socket::Tcp(socket))
            }
        }
    }
}

/// Connects to the first of these addresses that accepts ("happy eyeballs", RFC 8305).
///
/// The attempts start in order: each when the one before has failed, or after [`ATTEMPT_DELAY`], or after its share of the
/// budget if that is less. An attempt that has started goes on until another one succeeds or the caller gives up.
async fn connect_first(
    addresses: &[SocketAddr],
    budget: Duration,
    timers: &Timers,
) -> io::Result<(SocketAddr, TcpStream)> {
    let share = budget / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut attempts = JoinSet::new();
    let mut failure = io::Error::other("the name has no address");
    for address in addresses.iter().copied() {
        attempts.spawn(async move { Ok((address, TcpStream::connect(address).await?)) });
        let first_end = timers.timeout(share.min(ATTEMPT_DELAY), attempts.join_next());
        match first_end.await {
            Ok(Some(Ok(Ok(connected)))) => return Ok(connected),
            Ok(Some(Ok(Err(error)))) => failure = more_conclusive(failure, error),
            // A cancelled task, which happens only when the runtime ends; or no attempt has ended yet.
            Ok(Some(Err(_)) | None) | Err(_) => {}
        }
    }
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error)) => failure = more_conclusive(failure, error),
            Err(_) => {}
        }
    }
    Err(failure)
}

/// Returns the failure that says more about the server: a refusal, else the later one.
fn more_conclusive(earlier: io::Error, later: io::Error) -> io::Error {
    if earlier.kind() == io::ErrorKind::ConnectionRefused { earlier } else { later }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{Backlog, listen};
    use std::net::{TcpListener, TcpStream as StdStream};
    use std::time::Instant;

    /// A listener whose full queue leaves new connections without an answer, as an address that drops packets does.
    fn black_hole() -> (TcpListener, Vec<StdStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listen(&listener, Backlog::new(1).unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let connect = |_| StdStream::connect_timeout(&address, Duration::from_millis(300)).ok();
        let waiting: Vec<_> = (0..50).map_while(connect).collect();
        assert!(waiting.len() < 50, "the queue does not fill up");
        (listener, waiting)
    }

    fn listening() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_costs_a_quarter_of_a_second() {
        let (hole, _waiting) = black_hole();
        let (_server, good) = listening();
        let addresses = [hole.local_addr().unwrap(), good];
        let start = Instant::now();
        let budget = Duration::from_secs(20);
        let (connected, _) = connect_first(&addresses, budget, &Timers::current()).await.unwrap();
        let took = start.elapsed();
        assert_eq!(connected, good);
        assert!(took >= ATTEMPT_DELAY && took < budget / 2, "{took:?}");
    }

    #[tokio::test]
    async fn each_address_gets_a_share_of_a_short_budget() {
        let (hole, _waiting) = black_hole();
        let (_server, good) = listening();
        let mut addresses = [hole.local_addr().unwrap(); 20];
        addresses[10] = good;
        let (budget, timers) = (Duration::from_secs(2), Timers::current());
        let connecting = connect_first(&addresses, budget, &timers);
        // With 0.25 s for each, the good one would start after 2.5 s.
        let (connected, _) = timers.timeout(budget, connecting).await.unwrap().unwrap();
        assert_eq!(connected, good);
    }

    #[tokio::test]
    async fn the_next_address_follows_a_refusal_at_once() {
        let (refusing, refused) = listening();
        drop(refusing);
        let (_server, good) = listening();
        let timers = Timers::current();
        let start = Instant::now();
        let budget = Duration::from_secs(20);
        let (connected, _) = connect_first(&[refused, good], budget, &timers).await.unwrap();
        assert_eq!(connected, good);
        assert!(start.elapsed() < ATTEMPT_DELAY, "{:?}", start.elapsed());
        // The broadcast address cannot be connected to. The refusal says more.
        let unusable = SocketAddr::from(([255, 255, 255, 255], 1));
        for addresses in [[refused, unusable], [unusable, refused]] {
            let error = connect_first(&addresses, budget, &timers).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{addresses:?}");
            assert!(error.raw_os_error().is_some());
        }
    }
}
