//! Numbers of requests in flight, in buckets.

/// Requests in flight up to this number have a bucket of their own.
const EXACT: usize = 16;
/// Number of buckets for each doubling above [`EXACT`].
const PER_DOUBLING: usize = 8;
/// Largest number of requests in flight with a bucket. More count as this number.
const MAX_IN_FLIGHT: usize = 4095;
/// Number of buckets: 16 + 8 for each doubling up to 4,096.
#[cfg(test)]
const MAX_BUCKETS: usize = EXACT + PER_DOUBLING * 8;

/// Bucket of a number of requests in flight.
pub(super) fn bucket(in_flight: usize) -> usize {
    let in_flight = in_flight.min(MAX_IN_FLIGHT);
    if in_flight < EXACT {
        return in_flight;
    }
    let doubling = (in_flight / EXACT).ilog2() as usize;
    let width = width_after(doubling);
    EXACT + doubling * PER_DOUBLING + (in_flight - (EXACT << doubling)) / width
}

/// Number of different numbers of requests in flight that a bucket has.
pub(super) fn width(bucket: usize) -> usize {
    bucket.checked_sub(EXACT).map_or(1, |above| width_after(above / PER_DOUBLING))
}

fn width_after(doubling: usize) -> usize {
    (EXACT << doubling) / PER_DOUBLING
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_each_number_once() {
        let mut next = 0;
        for index in 0..MAX_BUCKETS {
            for _ in 0..width(index) {
                assert_eq!(bucket(next), index, "{next} in flight");
                next += 1;
            }
        }
        assert_eq!(next, MAX_IN_FLIGHT + 1);
        assert_eq!(bucket(usize::MAX), MAX_BUCKETS - 1);
    }
}
