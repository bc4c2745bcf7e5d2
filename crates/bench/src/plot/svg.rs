//! A picture in SVG: its elements, its colours, its text.
//!
//! The picture stands alone: no script, no font and no style from elsewhere. It brings its own background, which
//! follows the reader's preference for light or dark.

use std::fmt::{Display, Write as _};

/// Of a picture, pixels; and what is left free at its edges.
pub const WIDTH: f64 = 800.0;
/// See [`WIDTH`].
pub const MARGIN: f64 = 24.0;

/// What an element is for; says how it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InkColor {
    /// The background.
    Paper,
    /// Text that is read first, and marks on bars.
    Strong,
    /// Text that explains.
    Soft,
    /// Lines of the grid.
    Grid,
    /// Axes.
    Axis,
    /// What the picture is not about.
    Others,
    /// What it is about.
    First,
    /// What that is held against.
    Second,
}

impl InkColor {
    const ALL: [Self; 8] = [
        Self::Paper,
        Self::Strong,
        Self::Soft,
        Self::Grid,
        Self::Axis,
        Self::Others,
        Self::First,
        Self::Second,
    ];

    /// Its name in the file, and its colour on light and on dark. Blue, sky blue and orange are those of Okabe and
    /// Ito, which the colour-blind can tell apart.
    fn look(self) -> (&'static str, &'static str, &'static str) {
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
        self.look().0
    }
}

/// The style of a file: all inks on light, and on dark for those who prefer that.
fn style() -> String {
    let rules = |colour: fn(InkColor) -> &'static str| {
        let rule = |ink: InkColor| {
            let (class, colour) = (ink.class(), colour(ink));
            format!(
                "text.{class},rect.{class}{{fill:{colour}}}line.{class},path.{class}{{stroke:{colour}}}\n"
            )
        };
        InkColor::ALL.into_iter().map(rule).collect::<String>()
    };
    format!(
        "text{{font-family:{FONT};font-variant-numeric:tabular-nums}}path{{fill:none}}\n\
         {}@media(prefers-color-scheme:dark){{\n{}}}",
        rules(|ink| ink.look().1),
        rules(|ink| ink.look().2)
    )
}

/// Whatever the reader's system has.
const FONT: &str = "system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif";

/// To which side of its position a text lies.
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

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LineStroke {
    pub ink: InkColor,
    /// In pixels.
    pub width: f64,
    pub dashed: bool,
}

impl LineStroke {
    /// An unbroken line.
    pub fn solid(ink: InkColor, width: f64) -> Self {
        Self { ink, width, dashed: false }
    }

    /// A broken line.
    pub fn dashed(ink: InkColor, width: f64) -> Self {
        Self { ink, width, dashed: true }
    }
}

/// A picture that is being drawn, in pixels from the top left.
#[derive(Debug)]
pub struct SvgPicture {
    width: f64,
    elements: String,
}

impl SvgPicture {
    /// A picture that is [`WIDTH`] wide, with its title and what was done; and the height of the latter.
    pub fn titled(title: &str, subtitle: &str) -> (Self, f64) {
        let mut svg = Self::new(WIDTH);
        let y = MARGIN + 12.0;
        svg.text(MARGIN, y, TextAnchor::Start, 17.0, InkColor::Strong, title);
        svg.text(MARGIN, y + 20.0, TextAnchor::Start, 12.0, InkColor::Soft, subtitle);
        (svg, y + 20.0)
    }

    /// An empty picture.
    pub fn new(width: f64) -> Self {
        Self { width, elements: String::new() }
    }

    /// A text whose base line is at `y`. `size` is that of its letters.
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
        self.element(format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\"{weight}>{}</text>",
            escaped(text)
        ));
    }

    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: LineStroke) {
        let ((x1, y1), (x2, y2), look) = (from, to, look(stroke));
        self.element(format_args!(
            "<line {look} x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        ));
    }

    /// A line through all `points`.
    pub fn path(&mut self, points: &[(f64, f64)], stroke: LineStroke) {
        let mut path = String::new();
        for (x, y) in points {
            let command = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{command}{x:.1} {y:.1}");
        }
        let look = look(stroke);
        self.element(format_args!("<path {look} stroke-linejoin=\"round\" d=\"{path}\"/>"));
    }

    /// A bar from `x` to `to`, either way round.
    pub fn bar(&mut self, x: f64, to: f64, y: f64, height: f64, ink: InkColor) {
        let (x, width, class) = (x.min(to), (to - x).abs(), ink.class());
        self.element(format_args!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
        ));
    }

    fn element(&mut self, element: impl Display) {
        let _ = writeln!(self.elements, "{element}");
    }

    /// The file. `title` is for those who cannot see it.
    pub fn finish(self, height: f64, title: &str) -> String {
        let Self { width, elements } = self;
        let (title, style) = (escaped(title), style());
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\">\n<title>{title}</title>\n\
             <style>{style}</style>\n\
             <rect class=\"paper\" width=\"{width:.0}\" height=\"{height:.0}\" rx=\"6\"/>\n\
             {elements}</svg>\n"
        )
    }
}

fn look(stroke: LineStroke) -> String {
    let LineStroke { ink, width, dashed } = stroke;
    let dashes = if dashed { " stroke-dasharray=\"5 4\"" } else { "" };
    format!("class=\"{}\" stroke-width=\"{width}\"{dashes}", ink.class())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_break_the_file() {
        let mut svg = SvgPicture::new(10.0);
        svg.text(1.0, 2.0, TextAnchor::End, 12.0, InkColor::Soft, "a < b & c");
        let file = svg.finish(20.0, "<title>");
        assert!(file.contains(">a &lt; b &amp; c</text>"), "{file}");
        assert!(file.contains("<title>&lt;title&gt;</title>"), "{file}");
    }

    #[test]
    fn a_bar_may_go_to_the_left() {
        let mut svg = SvgPicture::new(10.0);
        svg.bar(8.0, 2.0, 0.0, 1.0, InkColor::First);
        assert!(svg.elements.contains("x=\"2.0\" y=\"0.0\" width=\"6.0\""), "{}", svg.elements);
    }
}
