//! Limit of open file descriptors, and how many client connections it allows.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors that clients and their upstream connections cannot use: listeners, event queues, log files, the admin
/// port, refused clients and probes. So `/metrics` and `/readyz` still work when clients use all others.
const RESERVE: u64 = 200;
/// Number of client connections beyond which memory is the limit, and not the number of descriptors.
const MAX_CONNECTIONS: u64 = 1_000_000;

/// Raises the soft limit of open file descriptors to the hard limit.
///
/// The soft limit is usually 1024 for the sake of programs that use `select`, which Streamgauge does not.
pub fn raise_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit of open file descriptors");
    }
}

/// Returns the limit of open file descriptors in force.
pub fn limit() -> u64 {
    // POSIX guarantees 20; an error is not possible with valid arguments.
    getrlimit(Resource::RLIMIT_NOFILE).map_or(20, |(soft, _)| soft)
}

/// Returns the number of client connections that a limit of descriptors allows. Each of them can have a connection to
/// the upstream.
pub fn max_connections(limit: u64) -> usize {
    let reserve = RESERVE.min(limit / 2);
    let connections = ((limit - reserve) / 2).clamp(1, MAX_CONNECTIONS);
    usize::try_from(connections).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_can_have_an_upstream_connection() {
        let cases = [(1024, 412), (256, 64), (20, 5), (0, 1), (u64::MAX, 1_000_000)];
        for (limit, connections) in cases {
            assert_eq!(max_connections(limit), connections, "{limit}");
        }
        for limit in 2..10_000 {
            let connections = max_connections(limit) as u64;
            assert!(2 * connections <= limit - RESERVE.min(limit / 2) || connections == 1);
        }
    }
}
