//! How near the estimated queue wait comes to the truth, on virtual time: `cargo bench --bench queue_wait`.
fn main() {}
