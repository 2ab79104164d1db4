//! What the marks of a chart mean, in rows above it, so that it hides nothing.

use super::canvas::{Align, Canvas, Place, text_width};
use super::{Curve, PlotOptions};
use crate::Result;
use crate::report::styled::shortened;
use plotters::prelude::{DrawingBackend, RGBColor};

const TEXT_SIZE: f64 = 13.0;
const ROW_HEIGHT: f64 = 20.0;
const MARK_WIDTH: f64 = 24.0;
const GAP: f64 = 22.0;
const LONGEST_LABEL: usize = 72;
const TEXT: RGBColor = RGBColor(60, 60, 60);

/// How a curve is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Thin,
    Thick,
    Dashed,
    Dot,
}

/// A mark and its meaning, where it will stand.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    mark: Mark,
    colour: RGBColor,
    label: String,
    place: Place,
}

/// The entries, from `left` to `right`, in as many rows as they need.
pub(super) struct Legend {
    entries: Vec<Entry>,
    num_rows: usize,
}

/// Colours of one run's marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Palette {
    pub(super) loss: RGBColor,
    pub(super) raw: RGBColor,
    pub(super) held_out: RGBColor,
    pub(super) learning_rate: RGBColor,
}

impl Legend {
    /// Arranges the legend of `curves`: for one run its marks, for several their ids, then the marks in grey.
    pub(super) fn new(curves: &[Curve], palettes: &[Palette], options: PlotOptions, left: f64, right: f64) -> Result<Self> {
        const GREY: RGBColor = RGBColor(110, 110, 110);
        let grey = Palette { loss: GREY, raw: GREY, held_out: GREY, learning_rate: GREY };
        let mut marks: Vec<(Mark, RGBColor, String)> = Vec::new();
        if curves.len() > 1 {
            let labels = curves.iter().zip(palettes).map(|(curve, palette)| (Mark::Thick, palette.loss, curve.label.clone()));
            marks.extend(labels);
        }
        let palette = if let [only] = palettes { *only } else { grey };
        marks.extend(meanings(curves, palette, options));
        Self::arrange(marks, left, right)
    }

    fn arrange(marks: Vec<(Mark, RGBColor, String)>, left: f64, right: f64) -> Result<Self> {
        let (mut x, mut row) = (left, 0);
        let mut entries = Vec::new();
        for (mark, colour, label) in marks {
            let label = shortened(&label, LONGEST_LABEL);
            let width = MARK_WIDTH + 6.0 + text_width(&label, TEXT_SIZE)?;
            if x > left && x + width > right {
                (x, row) = (left, row + 1);
            }
            entries.push(Entry { mark, colour, label, place: (x, (row as f64 + 0.5) * ROW_HEIGHT) });
            x += width + GAP;
        }
        Ok(Self { num_rows: if entries.is_empty() { 0 } else { row + 1 }, entries })
    }

    pub(super) fn height(&self) -> f64 {
        self.num_rows as f64 * ROW_HEIGHT
    }

    /// Draws it with its upper edge at `top`.
    pub(super) fn draw<B: DrawingBackend>(&self, canvas: &mut Canvas<B>, top: f64) -> Result<()> {
        for Entry { mark, colour, label, place: (x, y) } in &self.entries {
            let (from, to) = ((*x, top + y), (x + MARK_WIDTH, top + y));
            match mark {
                Mark::Thin => canvas.line(&[from, to], 1.0, *colour)?,
                Mark::Thick => canvas.line(&[from, to], 2.5, *colour)?,
                Mark::Dashed => canvas.dashed_line(&[from, to], 1.25, *colour)?,
                Mark::Dot => canvas.dot((x + MARK_WIDTH / 2.0, top + y), 4.0, *colour)?,
            }
            canvas.text(label, (x + MARK_WIDTH + 6.0, top + y), TEXT_SIZE, Align::Left, TEXT)?;
        }
        Ok(())
    }
}

/// The marks that occur in `curves`.
fn meanings(curves: &[Curve], palette: Palette, options: PlotOptions) -> Vec<(Mark, RGBColor, String)> {
    let is_smoothed = curves.iter().any(|curve| !curve.smoothed.is_empty());
    let quantity = Curve::quantity_of(curves);
    let mut marks = Vec::new();
    if is_smoothed {
        marks.push((Mark::Thin, palette.raw, format!("{quantity} of each step")));
        marks.push((Mark::Thick, palette.loss, format!("{quantity}, smoothed ({})", options.smooth)));
    } else {
        marks.push((Mark::Thick, palette.loss, format!("{quantity} of each step")));
    }
    if curves.iter().any(|curve| !curve.held_out.is_empty()) {
        marks.push((Mark::Dot, palette.held_out, "held-out loss".to_owned()));
    }
    if curves.iter().any(|curve| curve.learning_rate.iter().any(|point| point.y.is_finite())) {
        marks.push((Mark::Dashed, palette.learning_rate, "learning rate (right axis)".to_owned()));
    }
    marks
}
