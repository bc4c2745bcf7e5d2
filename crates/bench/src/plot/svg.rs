//! Writes SVG images that need no script, font or external style.
//!
//! The background and the colours follow the reader's preference for a light or a dark page.

use std::fmt::{Display, Write as _};

use strum::VariantArray;

/// Width of an image in pixels.
pub const WIDTH: f64 = 800.0;
/// Free space at the edges in pixels.
pub const MARGIN: f64 = 24.0;

/// Purpose of an element, which determines its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum InkColor {
    /// The background.
    Paper,
    /// Important text, and whiskers.
    Strong,
    /// Explanations.
    Soft,
    /// Grid lines.
    Grid,
    /// Axes.
    Axis,
    /// Bars of other proxies.
    Others,
    /// The highlighted bar or line.
    First,
    /// The line that it is compared with.
    Second,
}

impl InkColor {
    /// Returns the CSS class, the colour on a light page, and that on a dark one. Blue, sky blue and orange are from the
    /// palette of Okabe and Ito, which colour-blind readers can distinguish.
    fn class_and_colors(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Paper => ("paper", "#ffffff", "#14181d"),
            Self::Strong => ("strong", "#1b1f24", "#eceff2"),
            Self::Soft => ("soft", "#59636e", "#a3adb8"),
            Self::Grid => ("grid", "#e3e7eb", "#2b323a"),
            Self::Axis => ("axis", "#818b96", "#737e8a"),
            Self::Others => ("others", "#b4bcc5", "#56606b"),
            Self::First => ("first", "#0072b2", "#56b4e9"),
            Self::Second => ("second", "#e69f00", "#e69f00"),
        }
    }

    fn class(self) -> &'static str {
        self.class_and_colors().0
    }
}

/// Returns the style sheet: all colours for light pages, and again for dark pages.
fn style() -> String {
    let rules = |color: fn(InkColor) -> &'static str| {
        let rule = |ink: InkColor| {
            let (class, color) = (ink.class(), color(ink));
            format!(
                "text.{class},rect.{class}{{fill:{color}}}line.{class},path.{class}{{stroke:{color}}}\n"
            )
        };
        InkColor::VARIANTS.iter().copied().map(rule).collect::<String>()
    };
    format!(
        "text{{font-family:{FONT};font-variant-numeric:tabular-nums}}path{{fill:none}}\n\
         {}@media(prefers-color-scheme:dark){{\n{}}}",
        rules(|ink| ink.class_and_colors().1),
        rules(|ink| ink.class_and_colors().2)
    )
}

/// Fonts of common systems.
const FONT: &str = "system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif";

/// Part of a text that is at its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextAnchor {
    Start,
    Middle,
    End,
}

impl TextAnchor {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

/// Style of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LineStroke {
    pub ink: InkColor,
    /// Width in pixels.
    pub width: f64,
    pub dashed: bool,
}

impl LineStroke {
    /// Creates the style of a solid line.
    pub fn solid(ink: InkColor, width: f64) -> Self {
        Self { ink, width, dashed: false }
    }

    /// Creates the style of a dashed line.
    pub fn dashed(ink: InkColor, width: f64) -> Self {
        Self { ink, width, dashed: true }
    }
}

/// An image that is being drawn. Coordinates are pixels from the top left.
#[derive(Debug)]
pub struct SvgPicture {
    width: f64,
    elements: String,
}

impl SvgPicture {
    /// Creates an image with a title and a subtitle. Returns it with the vertical position of the subtitle.
    pub fn with_title(title: &str, subtitle: &str) -> (Self, f64) {
        let mut svg = Self::new(WIDTH);
        let y = MARGIN + 12.0;
        svg.text(MARGIN, y, TextAnchor::Start, 17.0, InkColor::Strong, title);
        svg.text(MARGIN, y + 20.0, TextAnchor::Start, 12.0, InkColor::Soft, subtitle);
        (svg, y + 20.0)
    }

    /// Creates an empty image.
    pub fn new(width: f64) -> Self {
        Self { width, elements: String::new() }
    }

    /// Draws a text with its baseline at `y`. `size` is the font size.
    pub fn text(
        &mut self,
        x: f64,
        y: f64,
        anchor: TextAnchor,
        size: f64,
        ink: InkColor,
        text: &str,
    ) {
        let weight = if size > 13.0 { " font-weight=\"600\"" } else { "" };
        let (anchor, class) = (anchor.name(), ink.class());
        self.add_element(format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\"{weight}>{}</text>",
            escape(text)
        ));
    }

    /// Draws a straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: LineStroke) {
        let ((x1, y1), (x2, y2), attributes) = (from, to, attributes(stroke));
        self.add_element(format_args!(
            "<line {attributes} x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        ));
    }

    /// Draws a line through all `points`.
    pub fn path(&mut self, points: &[(f64, f64)], stroke: LineStroke) {
        let mut path = String::new();
        for (x, y) in points {
            let command = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{command}{x:.1} {y:.1}");
        }
        let attributes = attributes(stroke);
        self.add_element(format_args!(
            "<path {attributes} stroke-linejoin=\"round\" d=\"{path}\"/>"
        ));
    }

    /// Draws a bar from `x` to `to`, in either direction.
    pub fn bar(&mut self, x: f64, to: f64, y: f64, height: f64, ink: InkColor) {
        let (x, width, class) = (x.min(to), (to - x).abs(), ink.class());
        self.add_element(format_args!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
        ));
    }

    fn add_element(&mut self, element: impl Display) {
        let _ = writeln!(self.elements, "{element}");
    }

    /// Returns the file. `title` is its accessible name.
    pub fn finish(self, height: f64, title: &str) -> String {
        let Self { width, elements } = self;
        let (title, style) = (escape(title), style());
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\">\n<title>{title}</title>\n\
             <style>{style}</style>\n\
             <rect class=\"paper\" width=\"{width:.0}\" height=\"{height:.0}\" rx=\"6\"/>\n\
             {elements}</svg>\n"
        )
    }
}

fn attributes(stroke: LineStroke) -> String {
    let LineStroke { ink, width, dashed } = stroke;
    let dashes = if dashed { " stroke-dasharray=\"5 4\"" } else { "" };
    format!("class=\"{}\" stroke-width=\"{width}\"{dashes}", ink.class())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        let mut svg = SvgPicture::new(10.0);
        svg.text(1.0, 2.0, TextAnchor::End, 12.0, InkColor::Soft, "a < b & c");
        let file = svg.finish(20.0, "<title>");
        assert!(file.contains(">a &lt; b &amp; c</text>"), "{file}");
        assert!(file.contains("<title>&lt;title&gt;</title>"), "{file}");
    }

    #[test]
    fn bars_can_extend_to_the_left() {
        let mut svg = SvgPicture::new(10.0);
        svg.bar(8.0, 2.0, 0.0, 1.0, InkColor::First);
        assert!(svg.elements.contains("x=\"2.0\" y=\"0.0\" width=\"6.0\""), "{}", svg.elements);
    }
}
