//! Bar chart: one row per contestant, one panel per quantity, whiskers for the interval of the median.

use super::axis_scale::{AxisScale, number};
use super::svg::{InkColor, LineStroke, MARGIN, SvgPicture, TextAnchor, WIDTH};

/// Width of the contestants' names, in pixels.
const NAMES: f64 = 96.0;
/// Width of the numbers to the right of a panel's bars.
const NUMBERS: f64 = 138.0;
/// Distance between two panels.
const GAP: f64 = 28.0;
/// Height of a row.
const ROW: f64 = 30.0;
/// Height of a bar.
const BAR: f64 = 14.0;

/// A plot of one or several panels.
#[derive(Debug)]
pub struct BarChart {
    pub title: String,
    /// The load and the machine.
    pub subtitle: String,
    /// Names of the contestants.
    pub rows: Vec<&'static str>,
    /// The name that is highlighted.
    pub highlighted: &'static str,
    /// The panels, from left to right.
    pub panels: Vec<BarPanel>,
    /// Explanation of the whiskers.
    pub note: String,
}

/// One quantity of all contestants.
#[derive(Debug)]
pub struct BarPanel {
    /// The quantity with its unit.
    pub title: String,
    /// Number of decimals.
    pub digits: usize,
    /// One value per row; `None` if it was not measured.
    pub values: Vec<Option<BarValue>>,
    /// Position of a vertical line to compare with.
    pub reference: Option<f64>,
}

/// End of a bar, and the ends of its whiskers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BarValue {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

impl BarChart {
    /// Returns the plot as SVG.
    pub fn draw(&self) -> String {
        let (mut svg, y) = SvgPicture::with_title(&self.title, &self.subtitle);
        let top = y + 42.0;
        let bottom = top + ROW * self.rows.len() as f64;
        for (at, name) in self.rows.iter().enumerate() {
            let ink = if *name == self.highlighted { InkColor::Strong } else { InkColor::Soft };
            let x = MARGIN + NAMES - 10.0;
            svg.text(x, middle(top, at) + 4.0, TextAnchor::End, 13.0, ink, name);
        }
        let panels = self.panels.len() as f64;
        let width = WIDTH - 2.0 * MARGIN - NAMES - GAP * (panels - 1.0);
        let width = width / panels;
        for (at, panel) in self.panels.iter().enumerate() {
            let left = MARGIN + NAMES + (width + GAP) * at as f64;
            self.draw_panel(&mut svg, panel, (left, left + width), (top, bottom));
        }
        svg.text(MARGIN, bottom + 46.0, TextAnchor::Start, 12.0, InkColor::Soft, &self.note);
        svg.finish(bottom + 46.0 + MARGIN, &self.title)
    }

    fn draw_panel(
        &self,
        svg: &mut SvgPicture,
        panel: &BarPanel,
        (left, right): (f64, f64),
        (top, bottom): (f64, f64),
    ) {
        let values = panel.values.iter().flatten();
        let ends = values.flat_map(|value| [value.value, value.low, value.high]);
        let scale = AxisScale::linear(ends, left, right - NUMBERS);
        svg.text(left, top - 12.0, TextAnchor::Start, 12.0, InkColor::Strong, &panel.title);
        for tick in scale.ticks() {
            let x = scale.position(tick);
            svg.line((x, top), (x, bottom), LineStroke::solid(InkColor::Grid, 1.0));
            svg.text(x, bottom + 18.0, TextAnchor::Middle, 12.0, InkColor::Soft, &number(tick));
        }
        for (at, (name, value)) in self.rows.iter().zip(&panel.values).enumerate() {
            let y = middle(top, at);
            let is_highlighted = *name == self.highlighted;
            let ink = if is_highlighted { InkColor::Strong } else { InkColor::Soft };
            let Some(BarValue { value, low, high }) = *value else {
                svg.text(right, y + 4.0, TextAnchor::End, 12.0, ink, "not measured");
                continue;
            };
            let bar = if is_highlighted { InkColor::First } else { InkColor::Others };
            svg.bar(scale.position(0.0), scale.position(value), y - BAR / 2.0, BAR, bar);
            let digits = panel.digits;
            let mut label = format!("{value:.digits$}");
            if low < high {
                let (from, to) = (scale.position(low), scale.position(high));
                let whisker = LineStroke::solid(InkColor::Strong, 1.5);
                svg.line((from, y), (to, y), whisker);
                svg.line((from, y - 4.0), (from, y + 4.0), whisker);
                svg.line((to, y - 4.0), (to, y + 4.0), whisker);
                label = format!("{label} ({low:.digits$} to {high:.digits$})");
            }
            svg.text(right, y + 4.0, TextAnchor::End, 12.0, ink, &label);
        }
        svg.line(
            (scale.position(0.0), top),
            (scale.position(0.0), bottom),
            LineStroke::solid(InkColor::Axis, 1.0),
        );
        if let Some(reference) = panel.reference {
            let x = scale.position(reference);
            svg.line((x, top - 4.0), (x, bottom), LineStroke::dashed(InkColor::Strong, 1.0));
        }
    }
}

/// Returns the vertical position of the middle of a row.
fn middle(top: f64, row: usize) -> f64 {
    top + ROW * (row as f64 + 0.5)
}
