//! The birth-death chain: how often each number of requests is in flight at a given arrival rate, and which share of
//! the requests then misses its targets.

use super::states;

/// Behaviour of the server with one number of requests in flight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ChainState {
    /// Requests that end per second.
    pub completion_rate: f64,
    /// Share of the requests that arrive in this state and miss a target.
    pub missed_share: f64,
}

/// Assumption about more requests in flight than were observed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum UnseenStates {
    /// They are like the last state that was observed.
    LikeLast,
    /// The server gets no faster, and every request misses its targets.
    AllMissed,
    /// They never occur: the server gets as fast as necessary.
    Never,
}

/// Share of the arrivals that miss a target in the steady state, if they arrive at this rate. `states` are the buckets
/// of requests in flight; the first is the idle server.
///
/// In the steady state as many requests arrive in state `n - 1` as end in state `n`, so
/// `p(n) = p(n - 1) * rate / completion_rate(n)`. Poisson arrivals find each state as often as it is (R. W. Wolff,
/// Poisson Arrivals See Time Averages, 1982).
pub(super) fn missed_share(states: &[ChainState], rate: f64, unseen: UnseenStates) -> f64 {
    let Some((idle, busy)) = states.split_first() else { return 0.0 };
    let mut weights = ChainWeights { current: 1.0, total: 1.0, missed: idle.missed_share };
    for (bucket, state) in (1..).zip(busy) {
        let ratio = rate / state.completion_rate;
        if !ratio.is_finite() {
            // Nothing ends in this state, so the server stays there.
            return state.missed_share;
        }
        weights.add(ratio, states::width(bucket) as f64, state.missed_share);
    }
    let ChainWeights { current, total, missed } = weights;
    let last = busy.last().unwrap_or(idle);
    let share = match unseen {
        UnseenStates::Never => return missed / total,
        UnseenStates::LikeLast => last.missed_share,
        UnseenStates::AllMissed => 1.0,
    };
    let ratio = rate / last.completion_rate;
    if ratio >= 1.0 {
        // The queue grows without a limit.
        return share;
    }
    let tail = current * ratio / (1.0 - ratio);
    (missed + tail * share) / (total + tail)
}

/// Sums over the states so far, relative to each other.
#[derive(Debug, Clone, Copy)]
struct ChainWeights {
    /// Weight of the deepest state.
    current: f64,
    /// Sum of the weights of all states.
    total: f64,
    /// Sum of the weights, times the share that misses.
    missed: f64,
}

impl ChainWeights {
    /// Adds `width` states. Each is `ratio` times as frequent as the one before: a geometric series.
    fn add(&mut self, ratio: f64, width: f64, missed_share: f64) {
        let sum = if (ratio - 1.0).abs() < 1e-9 {
            self.current * width
        } else if ratio < 1.0 {
            let power = ratio.powf(width);
            let sum = self.current * ratio * (1.0 - power) / (1.0 - ratio);
            self.current *= power;
            sum
        } else {
            // Relative to the deepest state, so that the sums stay finite.
            let power = ratio.powf(-width);
            let scale = power / self.current;
            (self.total, self.missed, self.current) =
                (self.total * scale, self.missed * scale, 1.0);
            (1.0 - power) / (1.0 - 1.0 / ratio)
        };
        self.total += sum;
        self.missed += sum * missed_share;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One server that ends `mu` requests per second. Requests that find `limit` or more in flight miss.
    fn single_server(mu: f64, limit: usize, seen: usize) -> Vec<ChainState> {
        let state = |n| ChainState {
            completion_rate: if n == 0 { 0.0 } else { mu },
            missed_share: if n >= limit { 1.0 } else { 0.0 },
        };
        (0..=seen).map(state).collect()
    }

    #[test]
    fn a_single_server_has_a_geometric_queue() {
        // M/M/1: a request finds n or more with probability (rate / mu)^n.
        let states = single_server(2.0, 5, 12);
        for rate in [0.1, 1.0, 1.5, 1.9] {
            let expected = (rate / 2.0_f64).powi(5);
            let found = missed_share(&states, rate, UnseenStates::LikeLast);
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        assert_eq!(missed_share(&states, 2.0, UnseenStates::LikeLast), 1.0, "it never ends");
    }

    #[test]
    fn assumptions_about_unseen_states_bound_the_share() {
        let (all, seen) = (single_server(2.0, 5, 12), single_server(2.0, 5, 6));
        for rate in [0.5, 1.0, 1.5] {
            let truth = missed_share(&all, rate, UnseenStates::LikeLast);
            let most = missed_share(&seen, rate, UnseenStates::AllMissed);
            let least = missed_share(&seen, rate, UnseenStates::Never);
            assert!(least < truth && truth <= most + 1e-12, "{least} {truth} {most}");
        }
    }

    #[test]
    fn deep_queues_stay_finite() {
        let states = single_server(0.001, 5, 60);
        assert_eq!(missed_share(&states, 1000.0, UnseenStates::Never), 1.0);
        assert_eq!(missed_share(&[], 1.0, UnseenStates::LikeLast), 0.0);
    }
}
