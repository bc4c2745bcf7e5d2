//! The scenarios of `cargo bench --bench cold`: what can be known is found.

#[path = "../../../../benches/cold/rng.rs"]
pub(super) mod rng;
#[path = "../../../../benches/cold/scenarios.rs"]
mod scenarios;
#[path = "../../../../benches/cold/server.rs"]
mod server;
#[path = "../../../../benches/cold/table.rs"]
mod table;
#[path = "../../../../benches/cold/world.rs"]
mod world;

use scenarios::{Knowable, SCENARIOS};
use table::{EvalResult, HEAD};

#[test]
fn what_can_be_known_is_found() {
    let mut wrong = Vec::new();
    for scenario in &SCENARIOS {
        let result = EvalResult::of(scenario);
        if !matches!(scenario.knowable, Knowable::No(_)) && !result.is_right() {
            wrong.push(format!("{}\n{result:?}", result.row(scenario)));
        }
    }
    assert!(wrong.is_empty(), "{HEAD}\n{}", wrong.join("\n"));
}
