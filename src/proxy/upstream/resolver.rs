//! The addresses of a host name, from the system's resolver.
//!
//! `getaddrinfo` follows `/etc/hosts`, search domains and `nsswitch.conf`, but it blocks its thread, sometimes for minutes.
//! So a name has one look-up at a time, which all workers wait for, on a thread that nothing waits for at the shutdown.

use crate::proxy::timers::Timers;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Time for which a result is used without a new look-up. A failed connection shortens it.
const KEEP: Duration = Duration::from_secs(5);
/// Time that a look-up may take before the previous result is used instead.
const PATIENCE: Duration = Duration::from_millis(250);
/// Time for which a result replaces look-ups that fail or take too long.
const MAX_STALE: Duration = Duration::from_secs(3600);
/// Maximum number of addresses that are kept.
const MAX_ADDRESSES: usize = 16;

/// Addresses in the order in which they are tried.
pub(super) type AddressList = Arc<[SocketAddr]>;

/// Returns the addresses of a host with this port, and blocks until then.
type LookupFn = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Resolver of one host name, shared by all workers.
#[derive(Clone)]
pub(super) struct NameResolver(Arc<ResolverShared>);

struct ResolverShared {
    host: String,
    port: u16,
    lookup: Box<LookupFn>,
    state: Mutex<ResolverState>,
}

#[derive(Default)]
struct ResolverState {
    /// The latest result.
    known: Option<KnownAddresses>,
    /// The latest look-up, which may still run.
    latest: Option<RunningLookup>,
}

#[derive(Clone)]
struct KnownAddresses {
    addresses: AddressList,
    since: Instant,
    /// A new look-up is due.
    expired: bool,
}

#[derive(Clone)]
struct RunningLookup {
    started: Instant,
    /// Holds the result at the end.
    result: watch::Receiver<Option<LookupResult>>,
}

type LookupResult = Result<AddressList, Arc<io::Error>>;

impl fmt::Debug for NameResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameResolver")
            .field("host", &self.0.host)
            .field("port", &self.0.port)
            .finish_non_exhaustive()
    }
}

impl NameResolver {
    /// Returns a resolver of `host` with the system's resolver. The addresses have this port.
    pub fn new(host: String, port: u16) -> Self {
        Self::with_lookup(host, port, |host, port| Ok((host, port).to_socket_addrs()?.collect()))
    }

    fn with_lookup(
        host: String,
        port: u16,
        lookup: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        let state = Mutex::default();
        Self(Arc::new(ResolverShared { host, port, lookup: Box::new(lookup), state }))
    }

    /// Returns the addresses. Waits without limit only if there was no result within the last hour.
    ///
    /// # Errors
    /// If the name does not resolve.
    pub async fn addresses(&self, timers: &Timers) -> io::Result<AddressList> {
        let (lookup, stale) = {
            let mut state = self.0.state();
            let known = state.known.as_ref().filter(|known| known.since.elapsed() < MAX_STALE);
            if let Some(known) = known.filter(|known| known.is_fresh()) {
                return Ok(Arc::clone(&known.addresses));
            }
            let stale = known.map(|known| Arc::clone(&known.addresses));
            let running = state.latest.as_ref().filter(|lookup| lookup.is_running());
            let lookup = running.cloned().map_or_else(|| self.start_lookup(), Ok)?;
            state.latest = Some(lookup.clone());
            (lookup, stale)
        };
        let Some(stale) = stale else { return lookup.end().await };
        let wait = PATIENCE.saturating_sub(lookup.started.elapsed());
        Ok(match timers.timeout(wait, lookup.end()).await {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(error)) => {
                tracing::debug!(%error, host = self.0.host, "the name does not resolve; using its previous addresses");
                stale
            }
            Err(_) => stale,
        })
    }

    /// Looks the name up again for the next connection, because the known addresses may be outdated.
    pub fn expire(&self) {
        if let Some(known) = &mut self.0.state().known {
            known.expired = true;
        }
    }

    /// Moves an address to the front, until the next look-up: the earlier ones did not respond in time.
    pub fn prefer(&self, address: SocketAddr) {
        if let Some(known) = &mut self.0.state().known {
            let (mut ordered, others): (Vec<_>, Vec<_>) =
                known.addresses.iter().partition(|known| **known == address);
            ordered.extend(others);
            known.addresses = ordered.into();
        }
    }

    /// Starts a look-up on its own thread.
    fn start_lookup(&self) -> io::Result<RunningLookup> {
        let (report, result) = watch::channel(None);
        let shared = Arc::clone(&self.0);
        thread::Builder::new().name("resolver".into()).spawn(move || {
            let result = shared.look_up();
            if let Ok(addresses) = &result {
                let addresses = Arc::clone(addresses);
                let known = KnownAddresses { addresses, since: Instant::now(), expired: false };
                shared.state().known = Some(known);
            }
            report.send_replace(Some(result));
        })?;
        Ok(RunningLookup { started: Instant::now(), result })
    }
}

impl ResolverShared {
    fn state(&self) -> std::sync::MutexGuard<'_, ResolverState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_up(&self) -> LookupResult {
        let addresses = (self.lookup)(&self.host, self.port)?;
        if addresses.is_empty() {
            return Err(Arc::new(io::Error::other("the name has no address")));
        }
        Ok(alternate_families(addresses).into())
    }
}

impl KnownAddresses {
    fn is_fresh(&self) -> bool {
        !self.expired && self.since.elapsed() < KEEP
    }
}

impl RunningLookup {
    fn is_running(&self) -> bool {
        // An error means that the thread has ended.
        self.result.has_changed().is_ok() && self.result.borrow().is_none()
    }

    /// Waits for the result.
    async fn end(mut self) -> io::Result<AddressList> {
        let result = self.result.wait_for(Option::is_some).await;
        match result.as_deref() {
            Ok(Some(Ok(addresses))) => Ok(Arc::clone(addresses)),
            Ok(Some(Err(error))) => Err(io::Error::other(Arc::clone(error))),
            Ok(None) | Err(_) => Err(io::Error::other("the look-up ended without a result")),
        }
    }
}

/// Orders addresses so that IPv6 and IPv4 alternate (RFC 8305, section 4), starting with the family that the system
/// prefers. Keeps at most [`MAX_ADDRESSES`].
fn alternate_families(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let preferred = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == preferred);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = Vec::new();
    while ordered.len() < MAX_ADDRESSES {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            break;
        }
        ordered.extend(pair.into_iter().flatten());
    }
    ordered.truncate(MAX_ADDRESSES);
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc;

    fn address(last: u8) -> SocketAddr {
        ([127, 0, 0, last], 80).into()
    }

    /// A look-up that answers with the results of a channel, each as it comes, and its number of calls.
    fn scripted() -> (NameResolver, mpsc::Sender<io::Result<Vec<SocketAddr>>>, Arc<AtomicUsize>) {
        let (answer, answers) = mpsc::channel();
        let (answers, calls) = (Mutex::new(answers), Arc::<AtomicUsize>::default());
        let counted = Arc::clone(&calls);
        let resolver = NameResolver::with_lookup("name".into(), 80, move |host, port| {
            assert_eq!((host, port), ("name", 80));
            counted.fetch_add(1, SeqCst);
            answers.lock().unwrap().recv().unwrap()
        });
        (resolver, answer, calls)
    }

    #[tokio::test]
    async fn look_ups_of_one_name_are_shared_and_their_result_is_kept() {
        let (resolver, answer, calls) = scripted();
        let requests: Vec<_> = (0..100)
            .map(|_| {
                let resolver = resolver.clone();
                tokio::spawn(async move { resolver.addresses(&Timers::current()).await })
            })
            .collect();
        // All of them wait now.
        tokio::task::yield_now().await;
        answer.send(Ok(vec![address(1)])).unwrap();
        for request in requests {
            assert_eq!(*request.await.unwrap().unwrap(), [address(1)]);
        }
        assert_eq!(*resolver.addresses(&Timers::current()).await.unwrap(), [address(1)]);
        assert_eq!(calls.load(SeqCst), 1);
    }

    #[tokio::test]
    async fn a_changed_address_is_followed_after_a_failed_connection() {
        let (resolver, answer, calls) = scripted();
        let timers = Timers::current();
        answer.send(Ok(vec![address(1), address(2)])).unwrap();
        resolver.addresses(&timers).await.unwrap();
        resolver.prefer(address(2));
        assert_eq!(*resolver.addresses(&timers).await.unwrap(), [address(2), address(1)]);
        resolver.expire();
        answer.send(Ok(vec![address(3)])).unwrap();
        assert_eq!(*resolver.addresses(&timers).await.unwrap(), [address(3)]);
        assert_eq!(calls.load(SeqCst), 2);
    }

    #[tokio::test]
    async fn the_previous_addresses_are_used_while_the_resolver_fails_or_hangs() {
        let (resolver, answer, calls) = scripted();
        let timers = Timers::current();
        let failure = || Err(io::Error::other("no such name"));
        answer.send(failure()).unwrap();
        let error = resolver.addresses(&timers).await.unwrap_err();
        assert_eq!((error.to_string(), error.raw_os_error()), ("no such name".into(), None));
        answer.send(Ok(vec![address(1)])).unwrap();
        resolver.addresses(&timers).await.unwrap();
        resolver.expire();
        answer.send(failure()).unwrap();
        assert_eq!(*resolver.addresses(&timers).await.unwrap(), [address(1)]);
        // From now on it hangs. Many connections start one look-up.
        for _ in 0..100 {
            assert_eq!(*resolver.addresses(&timers).await.unwrap(), [address(1)]);
        }
        assert_eq!(calls.load(SeqCst), 4);
    }

    #[test]
    fn a_hanging_look_up_does_not_hold_the_shutdown() {
        let (resolver, answer, calls) = scripted();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let timers = Timers::current();
            let wait = timers.timeout(Duration::from_millis(50), resolver.addresses(&timers));
            assert!(wait.await.is_err());
        });
        while calls.load(SeqCst) == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        let start = Instant::now();
        drop(runtime);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        // It still waits.
        answer.send(Ok(Vec::new())).unwrap();
    }

    #[test]
    fn families_alternate_and_the_list_is_bounded() {
        let v6 = |last: u16| SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, last], 80));
        let mixed = vec![v6(1), v6(2), v6(3), address(1)];
        assert_eq!(alternate_families(mixed), [v6(1), address(1), v6(2), v6(3)]);
        assert_eq!(alternate_families(vec![address(1), v6(1)]), [address(1), v6(1)]);
        let many = (0..200).map(address).collect();
        assert_eq!(alternate_families(many).len(), MAX_ADDRESSES);
    }
}
