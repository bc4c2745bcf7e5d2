//! Bucket edges of the histograms, in sets that the configuration can replace.

/// A set of bucket edges. The configuration can replace it by its name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BucketSet {
    /// Name of the key in `[buckets]`.
    pub name: &'static str,
    /// Upper bounds of the buckets, without `+Inf`.
    pub edges: &'static [f64],
}

pub(super) const FIRST: BucketSet = BucketSet {
    name: "first_token",
    edges: &[
        0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
        15.0, 20.0, 30.0, 40.0, 60.0, 80.0, 120.0, 160.0, 300.0, 640.0, 2560.0,
    ],
};
pub(super) const PER_TOKEN: BucketSet = BucketSet {
    name: "per_token",
    edges: &[
        0.001, 0.0025, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5,
        0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    ],
};
pub(super) const GAP: BucketSet = BucketSet {
    name: "gap",
    edges: &[
        0.0005, 0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075,
        0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    ],
};
pub(super) const DURATION: BucketSet = BucketSet {
    name: "duration",
    edges: &[
        0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
        163.84, 327.68, 655.36, 1310.72, 2621.44,
    ],
};
pub(super) const LATENCY: BucketSet = BucketSet {
    name: "latency",
    edges: &[
        0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0,
        15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0,
    ],
};
pub(super) const CONNECT: BucketSet = BucketSet {
    name: "connect",
    edges: &[
        0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
        1.0, 2.5, 5.0, 10.0,
    ],
};
pub(super) const TOKENS: BucketSet = BucketSet {
    name: "tokens",
    edges: &[
        1.0,
        4.0,
        16.0,
        64.0,
        256.0,
        1024.0,
        4096.0,
        16384.0,
        65536.0,
        262_144.0,
        1_048_576.0,
        4_194_304.0,
        16_777_216.0,
        67_108_864.0,
    ],
};
pub(super) const CHARACTERS: BucketSet = BucketSet {
    name: "characters_per_second",
    edges: &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0],
};
pub(super) const CHUNK: BucketSet = BucketSet {
    name: "tokens_per_chunk",
    edges: &[1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0, 64.0],
};
pub(super) const SHARE: BucketSet =
    BucketSet { name: "burst_ratio", edges: &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0] };
pub(super) const OWN_COST: BucketSet = BucketSet {
    name: "own_cost",
    edges: &[
        0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1,
    ],
};

/// Every set of bucket edges.
pub const BUCKETS: &[BucketSet] = &[
    FIRST, PER_TOKEN, GAP, DURATION, LATENCY, CONNECT, TOKENS, CHARACTERS, CHUNK, SHARE, OWN_COST,
];
