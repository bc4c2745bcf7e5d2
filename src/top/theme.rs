//! Colours of the terminal view, or none.

use ratatui::style::{Color, Modifier, Style};

/// Meaning of a piece of text. Colours only repeat what the text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Dim,
    Strong,
    Heading,
    Good,
    Warning,
    Bad,
    Selected,
}

/// How tones look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Theme {
    has_colors: bool,
}

impl Theme {
    /// Without colours.
    pub const PLAIN: Self = Self { has_colors: false };

    /// With colours, unless the variable `NO_COLOR` is set and not empty (<https://no-color.org>).
    pub fn of_environment() -> Self {
        Self { has_colors: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    /// The style of a tone. Without colours, weight and inversion remain.
    pub fn style(self, tone: Tone) -> Style {
        let color = |color: Color| match self.has_colors {
            true => Style::new().fg(color),
            false => Style::new(),
        };
        match tone {
            Tone::Plain => Style::new(),
            Tone::Dim => Style::new().add_modifier(Modifier::DIM),
            Tone::Strong => Style::new().add_modifier(Modifier::BOLD),
            Tone::Heading => color(Color::Cyan).add_modifier(Modifier::BOLD),
            Tone::Good => color(Color::Green),
            Tone::Warning => color(Color::Yellow).add_modifier(Modifier::BOLD),
            Tone::Bad => color(Color::Red).add_modifier(Modifier::BOLD),
            Tone::Selected => Style::new().add_modifier(Modifier::REVERSED),
        }
    }
}
