//! Runs the simulated server of the demo in a separate process, which can be stopped and started.
//!
//! Usage: `sim_server ADDRESS [SECONDS]`. Every model takes this many seconds to load after the start; without it, as long
//! as in the demo.

use std::error::Error;
use std::time::Duration;
use streamgauge_sim::{SimServer, demo_engines};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("usage: sim_server ADDRESS [SECONDS]")?.parse()?;
    let load_time = arguments.next().map(|seconds| seconds.parse()).transpose()?;
    let mut engines = demo_engines();
    for engine in &mut engines {
        engine.load_time = load_time.map_or(engine.load_time, Duration::from_secs_f64);
    }
    let server = SimServer::bind(address, engines).await?;
    println!("http://{}", server.local_addr()?);
    server.run(std::future::pending()).await;
    Ok(())
}
