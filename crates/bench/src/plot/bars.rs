//! BarChart: one row for each contestant, one panel for each quantity, whiskers for what is not known better.

use super::scale::{AxisScale, number};
use super::svg::{InkColor, LineStroke, MARGIN, SvgPicture, TextAnchor, WIDTH};

/// For the names of the rows.
const NAMES: f64 = 96.0;
/// For the numbers behind the bars of a panel.
const NUMBERS: f64 = 128.0;
/// Between two panels.
const BETWEEN: f64 = 28.0;
const ROW: f64 = 30.0;
const BAR: f64 = 14.0;

/// A picture.
#[derive(Debug)]
pub struct BarChart {
    pub title: String,
    /// What was done.
    pub subtitle: String,
    /// The names of the rows; the one that the picture is about.
    pub rows: Vec<&'static str>,
    pub about: &'static str,
    /// Side by side.
    pub panels: Vec<BarPanel>,
    /// What the whiskers are.
    pub note: String,
}

/// One quantity of all rows.
#[derive(Debug)]
pub struct BarPanel {
    /// The quantity with its unit.
    pub title: String,
    /// How many digits its numbers have behind the point.
    pub digits: usize,
    /// `None` where it was not measured.
    pub values: Vec<Option<BarValue>>,
    /// What the others are compared with.
    pub reference: Option<f64>,
}

/// The end of a bar and of its whiskers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BarValue {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

impl BarChart {
    /// The file.
    pub fn draw(&self) -> String {
        let (mut svg, y) = SvgPicture::titled(&self.title, &self.subtitle);
        let top = y + 42.0;
        let bottom = top + ROW * self.rows.len() as f64;
        for (at, name) in self.rows.iter().enumerate() {
            let ink = if *name == self.about { InkColor::Strong } else { InkColor::Soft };
            let x = MARGIN + NAMES - 10.0;
            svg.text(x, middle(top, at) + 4.0, TextAnchor::End, 13.0, ink, name);
        }
        let panels = self.panels.len() as f64;
        let room = WIDTH - 2.0 * MARGIN - NAMES - BETWEEN * (panels - 1.0);
        let each = room / panels;
        for (at, panel) in self.panels.iter().enumerate() {
            let left = MARGIN + NAMES + (each + BETWEEN) * at as f64;
            self.panel(&mut svg, panel, (left, left + each), (top, bottom));
        }
        svg.text(MARGIN, bottom + 46.0, TextAnchor::Start, 12.0, InkColor::Soft, &self.note);
        svg.finish(bottom + 46.0 + MARGIN, &self.title)
    }

    fn panel(
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
            let x = scale.at(tick);
            svg.line((x, top), (x, bottom), LineStroke::solid(InkColor::Grid, 1.0));
            svg.text(x, bottom + 18.0, TextAnchor::Middle, 12.0, InkColor::Soft, &number(tick));
        }
        for (at, (name, value)) in self.rows.iter().zip(&panel.values).enumerate() {
            let y = middle(top, at);
            let is_about = *name == self.about;
            let ink = if is_about { InkColor::Strong } else { InkColor::Soft };
            let Some(BarValue { value, low, high }) = *value else {
                svg.text(right, y + 4.0, TextAnchor::End, 12.0, ink, "not measured");
                continue;
            };
            let bar = if is_about { InkColor::First } else { InkColor::Others };
            svg.bar(scale.at(0.0), scale.at(value), y - BAR / 2.0, BAR, bar);
            let digits = panel.digits;
            let mut label = format!("{value:.digits$}");
            if low < high {
                let (from, to) = (scale.at(low), scale.at(high));
                let whisker = LineStroke::solid(InkColor::Strong, 1.5);
                svg.line((from, y), (to, y), whisker);
                svg.line((from, y - 4.0), (from, y + 4.0), whisker);
                svg.line((to, y - 4.0), (to, y + 4.0), whisker);
                label = format!("{label} ({low:.digits$} to {high:.digits$})");
            }
            svg.text(right, y + 4.0, TextAnchor::End, 12.0, ink, &label);
        }
        svg.line(
            (scale.at(0.0), top),
            (scale.at(0.0), bottom),
            LineStroke::solid(InkColor::Axis, 1.0),
        );
        if let Some(reference) = panel.reference {
            let x = scale.at(reference);
            svg.line((x, top - 4.0), (x, bottom), LineStroke::dashed(InkColor::Strong, 1.0));
        }
    }
}

fn middle(top: f64, row: usize) -> f64 {
    top + ROW * (row as f64 + 0.5)
}
