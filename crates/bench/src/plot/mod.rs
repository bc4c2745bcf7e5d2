//! Pictures of what `run` and `truth` measured, from their JSON files.

mod bars;
mod figures;
mod scale;
mod shares;
mod svg;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::BoxError;
use crate::args::RoleArgs;

/// The role `plot`.
pub fn role(words: Vec<String>) -> Result<(), BoxError> {
    let args = RoleArgs::parse(words, &["run", "truth", "out"], &[])?;
    let out: PathBuf = args.required("out")?;
    let mut files = Vec::new();
    if let Some(path) = args.optional("run")? {
        let run = read(path)?;
        files.push(("cpu.svg", figures::cpu(&run)));
        files.push(("latency.svg", figures::latency(&run)));
        files.push(("memory.svg", figures::memory(&run)));
    }
    if let Some(path) = args.optional("truth")? {
        files.push(("truth.svg", figures::truth(&read(path)?)));
    }
    if files.is_empty() {
        return Err("nothing to draw: give --run FILE, --truth FILE or both".into());
    }
    fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    for (name, figure) in files {
        let path = out.join(name);
        match figure {
            Ok(svg) => {
                fs::write(&path, svg).map_err(|error| format!("{}: {error}", path.display()))?;
                println!("{}", path.display());
            }
            Err(missing) => println!("{name} is left out: {missing}."),
        }
    }
    Ok(())
}

fn read(path: PathBuf) -> Result<Value, BoxError> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = fs::read(&path).map_err(|error| told(&error))?;
    Ok(serde_json::from_slice(&text).map_err(|error| told(&error))?)
}
