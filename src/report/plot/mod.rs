//! Plots of the loss of one run or several: as PNG, as SVG, or in characters. Owns curves, scales and layout; which files the rows
//! come from is the business of `run`.

mod canvas;
mod chart;
mod curve;
mod legend;
mod picture;
mod scale;
mod terminal_plot;

pub use curve::{Curve, LOSS, Point, XAxis};
pub use picture::{PictureFormat, draw_picture};
pub use terminal_plot::draw_in_terminal;

/// How curves are shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlotOptions {
    /// What the horizontal axis counts.
    pub x_axis: XAxis,
    /// Decay of the smoothing mean, 0 for none.
    pub smooth: f64,
    /// Whether the loss axis is logarithmic.
    pub is_log: bool,
}

#[cfg(test)]
mod plot_tests;
