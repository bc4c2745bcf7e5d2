//! The terminal, or whatever standard output is instead.

use std::io::{self, IsTerminal, Write};

const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// One line of the live table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub text: String,
    /// It heads what follows.
    pub heading: bool,
}

/// Standard output.
#[derive(Debug)]
pub(super) struct Screen {
    /// It can be drawn over.
    live: bool,
    drawn: bool,
}

impl Screen {
    /// What standard output is.
    pub fn of_stdout() -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { live: io::stdout().is_terminal() && !is_dumb, drawn: false }
    }

    /// Whether each table replaces the one before.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Draws the table: in the place of the last one, or below it if that cannot be.
    pub fn draw(&mut self, lines: &[Line]) -> io::Result<()> {
        let frame = self.frame(lines);
        self.drawn = true;
        write(&frame)
    }

    /// Writes text below whatever is there.
    pub fn note(&self, text: &str) -> io::Result<()> {
        write(&format!("{text}\n"))
    }

    /// All of a table in one text: written at once, it does not flicker.
    fn frame(&self, lines: &[Line]) -> String {
        let mut frame = String::new();
        if !self.live {
            frame.push('\n');
            lines.iter().for_each(|line| frame.extend([&line.text, "\n"]));
            return frame;
        }
        frame.push_str(HOME);
        if !self.drawn {
            frame.push_str(CLEAR_BELOW);
        }
        for Line { text, heading } in lines {
            match heading {
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
    fn a_terminal_is_drawn_over_and_a_pipe_gets_plain_text() {
        let line = |text: &str, heading| Line { text: text.into(), heading };
        let lines = [line("head", true), line("row", false)];
        let table = [
            (false, false, "\nhead\nrow\n"),
            (true, false, "\x1b[H\x1b[J\x1b[1mhead\x1b[0m\x1b[K\nrow\x1b[K\n\x1b[J"),
            (true, true, "\x1b[H\x1b[1mhead\x1b[0m\x1b[K\nrow\x1b[K\n\x1b[J"),
        ];
        for (live, drawn, expected) in table {
            assert_eq!(Screen { live, drawn }.frame(&lines), expected);
        }
    }
}
