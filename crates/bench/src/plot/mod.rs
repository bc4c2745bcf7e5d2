//! Plots of the results of `run` and `truth`, from their JSON files.
//!
//! With the crate `plotters`, this module was only 20 % shorter, for three more crates and 5 s more of build time, and its
//! plots did not adapt to dark pages.

mod axis_scale;
mod bar_chart;
mod distribution_chart;
mod figures;
mod svg;

use std::fmt::Display;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::BoxError;
use crate::args::RoleArgs;

/// Runs the role `plot`.
pub fn role(words: Vec<String>) -> Result<(), BoxError> {
    let args = RoleArgs::parse(words, &["run", "truth", "out"], &[])?;
    let out: PathBuf = args.required("out")?;
    let mut files = Vec::new();
    if let Some(path) = args.optional("run")? {
        let run = read_json(path)?;
        files.push(("cpu.svg", figures::cpu(&run).map(|chart| chart.draw())));
        files.push(("latency.svg", figures::latency(&run).map(|chart| chart.draw())));
        files.push(("memory.svg", figures::memory(&run).map(|chart| chart.draw())));
    }
    if let Some(path) = args.optional("truth")? {
        files.push(("truth.svg", figures::truth(&read_json(path)?).map(|chart| chart.draw())));
    }
    if files.is_empty() {
        return Err("nothing to draw: give --run FILE, --truth FILE or both".into());
    }
    fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    for (name, svg) in files {
        let path = out.join(name);
        match svg {
            Ok(svg) => {
                fs::write(&path, svg).map_err(|error| format!("{}: {error}", path.display()))?;
                println!("{}", path.display());
            }
            Err(missing) => println!("{name} is skipped: {missing}."),
        }
    }
    Ok(())
}

fn read_json(path: PathBuf) -> Result<Value, BoxError> {
    let failed = |error: &dyn Display| format!("{}: {error}", path.display());
    let text = fs::read(&path).map_err(|error| failed(&error))?;
    Ok(serde_json::from_slice(&text).map_err(|error| failed(&error))?)
}
