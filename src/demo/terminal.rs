//! Output to the terminal, or to a pipe.

use std::io::{self, IsTerminal, Write};

const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Size assumed for a terminal that does not report one.
const DEFAULT_SIZE: TerminalSize = TerminalSize { columns: 80, rows: 24 };

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TerminalSize {
    pub columns: usize,
    pub rows: usize,
}

/// One line of the live table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TableLine {
    pub text: String,
    /// Whether it is printed in bold.
    pub is_heading: bool,
}

/// Standard output.
#[derive(Debug)]
pub(super) struct Terminal {
    is_live: bool,
    has_drawn: bool,
}

impl Terminal {
    /// Inspects standard output and `TERM`.
    pub fn of_stdout() -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { is_live: io::stdout().is_terminal() && !is_dumb, has_drawn: false }
    }

    /// Whether each table replaces the previous one.
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// Current size of the terminal; `None` if standard output is not a terminal.
    pub fn size(&self) -> Option<TerminalSize> {
        self.is_live.then(|| match terminal_size::terminal_size_of(io::stdout()) {
            Some((columns, rows)) => {
                TerminalSize { columns: columns.0.into(), rows: rows.0.into() }
            }
            None => DEFAULT_SIZE,
        })
    }

    /// Draws the table over the previous one, or below it on a pipe.
    pub fn draw(&mut self, lines: &[TableLine]) -> io::Result<()> {
        let frame = self.frame(lines);
        self.has_drawn = true;
        write(&frame)
    }

    /// Prints text below the current output.
    pub fn print(&self, text: &str) -> io::Result<()> {
        write(&format!("{text}\n"))
    }

    /// Renders a whole table as one string: a single write does not flicker.
    fn frame(&self, lines: &[TableLine]) -> String {
        let mut frame = String::new();
        if !self.is_live {
            frame.push('\n');
            lines.iter().for_each(|line| frame.extend([&line.text, "\n"]));
            return frame;
        }
        frame.push_str(HOME);
        if !self.has_drawn {
            frame.push_str(CLEAR_BELOW);
        }
        for TableLine { text, is_heading } in lines {
            match is_heading {
                true => frame.extend([BOLD, text, PLAIN]),
                false => frame.push_str(text),
            }
            frame.extend([CLEAR_LINE, "\n"]);
        }
        frame.push_str(CLEAR_BELOW);
        frame
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_is_redrawn_and_pipe_gets_plain_text() {
        let line = |text: &str, is_heading| TableLine { text: text.into(), is_heading };
        let lines = [line("head", true), line("row", false)];
        let table = [
            (false, false, "\nhead\nrow\n"),
            (true, false, "\x1b[H\x1b[J\x1b[1mhead\x1b[0m\x1b[K\nrow\x1b[K\n\x1b[J"),
            (true, true, "\x1b[H\x1b[1mhead\x1b[0m\x1b[K\nrow\x1b[K\n\x1b[J"),
        ];
        for (is_live, has_drawn, expected) in table {
            assert_eq!(Terminal { is_live, has_drawn }.frame(&lines), expected);
        }
    }
}
