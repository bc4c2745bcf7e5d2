//! Cumulative distributions: what share of the values is at most so great.

use super::scale::{AxisScale, time};
use super::svg::{InkColor, LineStroke, MARGIN, SvgPicture, TextAnchor, WIDTH};

/// For the labels of the vertical axis, and for half of the last one of the horizontal axis.
const LABELS: f64 = 44.0;
const OVERHANG: f64 = 14.0;
const BETWEEN: f64 = 56.0;
const HEIGHT: f64 = 240.0;
/// The ends of the horizontal axis, microseconds.
const LOW: f64 = 1.0;
const HIGH: f64 = 1e5;
/// The length of a line in the legend.
const SAMPLE: f64 = 26.0;

/// A picture.
#[derive(Debug)]
pub struct DistributionChart {
    pub title: String,
    /// What was done.
    pub subtitle: String,
    /// What the lines are.
    pub legend: Vec<(LineStroke, String)>,
    /// Side by side.
    pub panels: Vec<DistributionPanel>,
    /// Below the axes.
    pub axis: &'static str,
    pub notes: Vec<String>,
}

/// One plot.
#[derive(Debug)]
pub struct DistributionPanel {
    pub title: String,
    pub lines: Vec<DistributionLine>,
}

/// One distribution.
#[derive(Debug)]
pub struct DistributionLine {
    pub stroke: LineStroke,
    /// Ascending, microseconds.
    pub values: Vec<f64>,
}

impl DistributionChart {
    /// The file.
    pub fn draw(&self) -> String {
        let (mut svg, mut y) = SvgPicture::titled(&self.title, &self.subtitle);
        y += 26.0;
        let mut x = MARGIN;
        for (stroke, name) in &self.legend {
            svg.line((x, y - 4.0), (x + SAMPLE, y - 4.0), *stroke);
            svg.text(x + SAMPLE + 8.0, y, TextAnchor::Start, 12.0, InkColor::Strong, name);
            x += SAMPLE + 8.0 + text_width(name) + 22.0;
        }
        let top = y + 46.0;
        let bottom = top + HEIGHT;
        let panels = self.panels.len() as f64;
        let each = (WIDTH - 2.0 * MARGIN - LABELS - OVERHANG - BETWEEN * (panels - 1.0)) / panels;
        let scale = AxisScale::linear([1.0].into_iter(), bottom, top);
        for (at, panel) in self.panels.iter().enumerate() {
            let left = MARGIN + LABELS + (each + BETWEEN) * at as f64;
            for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
                let y = scale.at(share);
                svg.line((left, y), (left + each, y), LineStroke::solid(InkColor::Grid, 1.0));
                if at == 0 {
                    let label = format!("{:.0} %", share * 100.0);
                    svg.text(left - 8.0, y + 4.0, TextAnchor::End, 12.0, InkColor::Soft, &label);
                }
            }
            panel.draw(&mut svg, AxisScale::logarithmic(LOW, HIGH, left, left + each), scale);
            let middle = left + each / 2.0;
            svg.text(middle, bottom + 38.0, TextAnchor::Middle, 12.0, InkColor::Soft, self.axis);
        }
        let mut y = bottom + 48.0;
        for note in &self.notes {
            y += 18.0;
            svg.text(MARGIN, y, TextAnchor::Start, 12.0, InkColor::Soft, note);
        }
        svg.finish(y + MARGIN, &self.title)
    }
}

impl DistributionPanel {
    fn draw(&self, svg: &mut SvgPicture, across: AxisScale, up: AxisScale) {
        let (top, bottom) = (up.at(1.0), up.at(0.0));
        svg.text(
            across.at(LOW),
            top - 12.0,
            TextAnchor::Start,
            13.0,
            InkColor::Strong,
            &self.title,
        );
        for tick in across.ticks() {
            let x = across.at(tick);
            svg.line((x, top), (x, bottom), LineStroke::solid(InkColor::Grid, 1.0));
            svg.text(x, bottom + 18.0, TextAnchor::Middle, 12.0, InkColor::Soft, &time(tick));
        }
        svg.line(
            (across.at(LOW), bottom),
            (across.at(HIGH), bottom),
            LineStroke::solid(InkColor::Axis, 1.0),
        );
        for line in &self.lines {
            let points: Vec<_> =
                across.pixels().map(|x| (x, up.at(share(&line.values, across.value(x))))).collect();
            svg.path(&points, line.stroke);
        }
    }
}

/// The share of `sorted` that is at most `value`.
fn share(sorted: &[f64], value: f64) -> f64 {
    sorted.partition_point(|one| *one <= value) as f64 / sorted.len().max(1) as f64
}

/// About how wide a text of 12 pixels is.
fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * 6.2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_count_what_is_at_most_so_great() {
        let shares = [0.5, 1.0, 2.5, 9.0].map(|value| share(&[1.0, 2.0, 2.0, 5.0], value));
        assert_eq!(shares, [0.0, 0.25, 0.75, 1.0]);
    }
}
