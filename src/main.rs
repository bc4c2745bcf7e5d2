//! The program `streamgauge`.

use clap::Parser;
use std::process::ExitCode;
use streamgauge::cli::Cli;

fn main() -> ExitCode {
    streamgauge::run(Cli::try_parse())
}
