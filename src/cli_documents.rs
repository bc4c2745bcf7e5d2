//! Documents that are generated from the command line's definition: shell completions and man pages.

use crate::cli::Cli;
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use std::io::{self, Write};

/// Writes the completion script of a shell to standard output.
///
/// # Errors
/// If standard output fails.
pub fn print_completions(shell: Shell) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    print(&script)
}

/// Writes the man page of the program to standard output, or that of a command.
///
/// # Errors
/// If there is no such command, or standard output fails.
pub fn print_man_page(command: Option<&str>) -> io::Result<()> {
    print(&man_page(command)?)
}

/// Name of the program.
const NAME: &str = "streamgauge";

fn man_page(command: Option<&str>) -> io::Result<Vec<u8>> {
    let mut program = Cli::command();
    program.build();
    let page = match command {
        None => program,
        Some(name) => {
            let found = program.find_subcommand(name).cloned();
            let found = found.ok_or_else(|| io::Error::other(format!("no command {name:?}")))?;
            // The name of the page, such as streamgauge-tail(1).
            let page = found.get_display_name().unwrap_or(name).to_owned();
            found.name(page)
        }
    };
    let mut text = Vec::new();
    Man::new(page).render(&mut text)?;
    Ok(text)
}

fn print(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        // The reader of the pipe has what it needs.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
