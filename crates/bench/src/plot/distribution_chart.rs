//! Cumulative distributions: the share of values that are at most a given value.

use super::axis_scale::{AxisScale, time};
use super::svg::{InkColor, LineStroke, MARGIN, SvgPicture, TextAnchor, WIDTH};

/// Width of the labels of the vertical axis, in pixels.
const LABELS: f64 = 44.0;
/// Half of the width of the last label of the horizontal axis.
const OVERHANG: f64 = 14.0;
/// Distance between two panels.
const GAP: f64 = 56.0;
/// Height of a panel.
const HEIGHT: f64 = 240.0;
/// Ends of the horizontal axis, in microseconds.
const LOW: f64 = 1.0;
const HIGH: f64 = 1e5;
/// Length of a line in the legend.
const LEGEND_LINE: f64 = 26.0;

/// A plot of one or several panels.
#[derive(Debug)]
pub struct DistributionChart {
    pub title: String,
    /// The load and the machine.
    pub subtitle: String,
    /// Explanation of the lines.
    pub legend: Vec<(LineStroke, &'static str)>,
    /// The panels, from left to right.
    pub panels: Vec<DistributionPanel>,
    /// Name of the horizontal axis.
    pub axis: &'static str,
    /// Lines of text below the panels.
    pub notes: Vec<String>,
}

/// One panel.
#[derive(Debug)]
pub struct DistributionPanel {
    pub title: &'static str,
    pub lines: Vec<DistributionLine>,
}

/// One distribution.
#[derive(Debug)]
pub struct DistributionLine {
    pub stroke: LineStroke,
    /// Microseconds in ascending order.
    pub values: Vec<f64>,
}

impl DistributionChart {
    /// Returns the plot as SVG.
    pub fn draw(&self) -> String {
        let (mut svg, mut y) = SvgPicture::with_title(&self.title, &self.subtitle);
        y += 26.0;
        let mut x = MARGIN;
        for (stroke, name) in &self.legend {
            svg.line((x, y - 4.0), (x + LEGEND_LINE, y - 4.0), *stroke);
            svg.text(x + LEGEND_LINE + 8.0, y, TextAnchor::Start, 12.0, InkColor::Strong, name);
            x += LEGEND_LINE + 8.0 + text_width(name) + 22.0;
        }
        let top = y + 46.0;
        let bottom = top + HEIGHT;
        let panels = self.panels.len() as f64;
        let width = (WIDTH - 2.0 * MARGIN - LABELS - OVERHANG - GAP * (panels - 1.0)) / panels;
        let scale = AxisScale::linear([1.0].into_iter(), bottom, top);
        for (at, panel) in self.panels.iter().enumerate() {
            let left = MARGIN + LABELS + (width + GAP) * at as f64;
            for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
                let y = scale.position(share);
                svg.line((left, y), (left + width, y), LineStroke::solid(InkColor::Grid, 1.0));
                if at == 0 {
                    let label = format!("{:.0} %", share * 100.0);
                    svg.text(left - 8.0, y + 4.0, TextAnchor::End, 12.0, InkColor::Soft, &label);
                }
            }
            panel.draw(&mut svg, AxisScale::logarithmic(LOW, HIGH, left, left + width), scale);
            let middle = left + width / 2.0;
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
    fn draw(&self, svg: &mut SvgPicture, horizontal: AxisScale, vertical: AxisScale) {
        let (top, bottom) = (vertical.position(1.0), vertical.position(0.0));
        svg.text(
            horizontal.position(LOW),
            top - 12.0,
            TextAnchor::Start,
            13.0,
            InkColor::Strong,
            self.title,
        );
        for tick in horizontal.ticks() {
            let x = horizontal.position(tick);
            svg.line((x, top), (x, bottom), LineStroke::solid(InkColor::Grid, 1.0));
            svg.text(x, bottom + 18.0, TextAnchor::Middle, 12.0, InkColor::Soft, &time(tick));
        }
        svg.line(
            (horizontal.position(LOW), bottom),
            (horizontal.position(HIGH), bottom),
            LineStroke::solid(InkColor::Axis, 1.0),
        );
        for line in &self.lines {
            let points: Vec<_> = horizontal
                .pixels()
                .map(|x| (x, vertical.position(share(&line.values, horizontal.value(x)))))
                .collect();
            svg.path(&points, line.stroke);
        }
    }
}

/// Returns the share of `sorted` that is at most `value`.
fn share(sorted: &[f64], value: f64) -> f64 {
    sorted.partition_point(|one| *one <= value) as f64 / sorted.len().max(1) as f64
}

/// Estimates the width of a text with a font size of 12.
fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * 6.2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_includes_equal_values() {
        let shares = [0.5, 1.0, 2.5, 9.0].map(|value| share(&[1.0, 2.0, 2.0, 5.0], value));
        assert_eq!(shares, [0.0, 0.25, 0.75, 1.0]);
    }
}
