//! Scatter plot of estimated against true waits: one point for each request.

use super::cell::EvalWaits;
use std::fmt::Write as _;

const SIDE: f64 = 420.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 50.0;

const STYLE: &str = "text{font-family:system-ui,sans-serif;font-size:13px;fill:#59636e}\
.paper{fill:#fff}.axis{stroke:#818b96}.grid{stroke:#e3e7eb}.equal{stroke:#e69f00}circle{fill:#0072b2;fill-opacity:.45}\
@media(prefers-color-scheme:dark){text{fill:#a3adb8}.paper{fill:#14181d}.axis{stroke:#737e8a}\
.grid{stroke:#2b323a}circle{fill:#56b4e9}}";

/// Plots the estimated wait over the true wait, in seconds, with the line on which they are equal. Returns SVG.
pub fn scatter(title: &str, waits: &EvalWaits) -> String {
    let most = waits.truth.iter().chain(&waits.estimate).copied().fold(0.001, f64::max);
    let step = nice(most / 4.0);
    let end = (most / step).ceil() * step;
    let x = |value: f64| LEFT + value / end * SIDE;
    let y = |value: f64| TOP + SIDE - value / end * SIDE;
    let (width, height) = (LEFT + SIDE + 30.0, TOP + SIDE + 60.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         role=\"img\" aria-label=\"{title}\">\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>\n\
         <text x=\"{LEFT}\" y=\"28\">{title}</text>\n"
    );
    let mut tick = 0.0;
    while tick <= end * 1.001 {
        let (at_x, at_y) = (x(tick), y(tick));
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{at_x:.1}\" x2=\"{at_x:.1}\" y1=\"{TOP}\" y2=\"{0:.1}\"/>\
             <line class=\"grid\" x1=\"{LEFT}\" x2=\"{1:.1}\" y1=\"{at_y:.1}\" y2=\"{at_y:.1}\"/>\
             <text x=\"{at_x:.1}\" y=\"{2:.1}\" text-anchor=\"middle\">{tick:.3}</text>\
             <text x=\"{3:.1}\" y=\"{4:.1}\" text-anchor=\"end\">{tick:.3}</text>",
            TOP + SIDE,
            LEFT + SIDE,
            TOP + SIDE + 18.0,
            LEFT - 8.0,
            at_y + 4.0,
        );
        tick += step;
    }
    let _ = writeln!(
        svg,
        "<line class=\"equal\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
        x(0.0),
        y(0.0),
        x(end),
        y(end)
    );
    for (truth, estimate) in waits.truth.iter().zip(&waits.estimate) {
        let _ =
            writeln!(svg, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\"/>", x(*truth), y(*estimate));
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">true wait, s</text>\
         <text transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\">estimated wait, s</text>\n</svg>",
        LEFT + SIDE / 2.0,
        TOP + SIDE + 44.0,
        TOP + SIDE / 2.0,
    );
    svg
}

/// The next larger number that is 1, 2 or 5 times a power of ten.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let times = [1.0, 2.0, 5.0].into_iter().find(|times| times * power >= value);
    times.unwrap_or(10.0) * power
}
