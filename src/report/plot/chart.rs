//! The picture: title, legend, axes, grid, and the curves of every run.

use super::canvas::{Align, Canvas, Place, SIZE};
use super::curve::{thinned, without_gaps};
use super::legend::{Legend, Palette};
use super::scale::Scale;
use super::{Curve, LOSS, PlotOptions, Point, XAxis};
use crate::Result;
use crate::report::styled::shortened;
use plotters::prelude::{DrawingBackend, RGBColor};

const TITLE_SIZE: f64 = 18.0;
const LABEL_SIZE: f64 = 13.0;
const TEXT: RGBColor = RGBColor(60, 60, 60);
const GRID: RGBColor = RGBColor(232, 232, 232);
const AXIS: RGBColor = RGBColor(150, 150, 150);
const WHITE: RGBColor = RGBColor(255, 255, 255);
/// Left of the frame are the loss labels, right of it the learning rate's.
const LEFT: f64 = 76.0;
const RIGHT: f64 = SIZE.0 - 92.0;
const BOTTOM: f64 = SIZE.1 - 58.0;
/// Okabe and Ito's colours, which the colour-blind can tell apart.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(80, 80, 80),
];

/// Draws all `curves` onto an empty canvas.
pub(super) fn draw_chart<B: DrawingBackend>(canvas: &mut Canvas<B>, curves: &[Curve], options: PlotOptions) -> Result<()> {
    let palettes: Vec<Palette> = (0..curves.len()).map(|index| palette(index, curves.len())).collect();
    let legend = Legend::new(curves, &palettes, options, LEFT, RIGHT)?;
    let top = 56.0 + legend.height();
    canvas.text(&title(curves), (LEFT, 28.0), TITLE_SIZE, Align::Left, RGBColor(20, 20, 20))?;
    legend.draw(canvas, 46.0)?;
    let chart = Chart::new(curves, options, top);
    chart.draw_axes(canvas, options, &Curve::quantity_of(curves))?;
    for (curve, palette) in curves.iter().zip(&palettes) {
        chart.draw_back(canvas, curve, palette)?;
    }
    for (curve, palette) in curves.iter().zip(&palettes) {
        chart.draw_front(canvas, curve, palette)?;
    }
    Ok(())
}

fn title(curves: &[Curve]) -> String {
    match curves {
        [only] => shortened(&only.label, 80),
        _ => format!("{} of {} runs", Curve::quantity_of(curves), curves.len()),
    }
}

/// One run has a colour for each mark; several have a colour each.
fn palette(index: usize, num_curves: usize) -> Palette {
    let colour = COLOURS[index % COLOURS.len()];
    if num_curves == 1 {
        return Palette { loss: colour, raw: faint(colour, 0.35), held_out: COLOURS[1], learning_rate: RGBColor(150, 150, 150) };
    }
    Palette { loss: colour, raw: faint(colour, 0.25), held_out: colour, learning_rate: faint(colour, 0.6) }
}

/// Mixed with white rather than see-through: where a line crosses itself it stays as faint.
fn faint(RGBColor(red, green, blue): RGBColor, share: f64) -> RGBColor {
    let mix = |part: u8| (255.0 - share * (255.0 - f64::from(part))) as u8;
    RGBColor(mix(red), mix(green), mix(blue))
}

struct Chart {
    top: f64,
    x: Scale,
    loss: Scale,
    learning_rate: Option<Scale>,
}

impl Chart {
    fn new(curves: &[Curve], options: PlotOptions, top: f64) -> Self {
        let points = || curves.iter().flat_map(|curve| curve.raw.iter().chain(&curve.held_out));
        let rates = || curves.iter().flat_map(|curve| curve.learning_rate.iter().map(|point| point.y)).filter(|rate| rate.is_finite());
        Self {
            top,
            x: Scale::counting(points().map(|point| point.x)),
            loss: Scale::around(curves.iter().flat_map(Curve::losses).map(|point| point.y), options.is_log),
            learning_rate: rates().next().map(|_| Scale::from_zero(rates())),
        }
    }

    fn place(&self, point: Point, scale: &Scale) -> Place {
        let across = LEFT + self.x.place(point.x) * (RIGHT - LEFT);
        (across, BOTTOM - scale.place(point.y) * (BOTTOM - self.top))
    }

    fn draw_axes<B: DrawingBackend>(&self, canvas: &mut Canvas<B>, options: PlotOptions, quantity: &str) -> Result<()> {
        for tick in self.loss.ticks(6) {
            let (_, y) = self.place(Point { x: 0.0, y: tick.value }, &self.loss);
            canvas.line(&[(LEFT, y), (RIGHT, y)], 1.0, GRID)?;
            canvas.text(&tick.label, (LEFT - 8.0, y), LABEL_SIZE, Align::Right, TEXT)?;
        }
        for tick in self.x.ticks(7) {
            let x = LEFT + self.x.place(tick.value) * (RIGHT - LEFT);
            canvas.line(&[(x, self.top), (x, BOTTOM)], 1.0, GRID)?;
            canvas.text(&tick.label, (x, BOTTOM + 16.0), LABEL_SIZE, Align::Centre, TEXT)?;
        }
        canvas.line(&[(LEFT, self.top), (LEFT, BOTTOM), (RIGHT, BOTTOM)], 1.0, AXIS)?;
        let middle = (self.top + BOTTOM) / 2.0;
        let unit = if quantity == LOSS { Some("nats per token") } else { None };
        let notes: Vec<&str> = unit.into_iter().chain(options.is_log.then_some("logarithmic")).collect();
        let label = if notes.is_empty() { quantity.to_owned() } else { format!("{quantity} ({})", notes.join(", ")) };
        canvas.upward_text(&label, (20.0, middle), LABEL_SIZE, TEXT)?;
        let x_label = if options.x_axis == XAxis::Steps { "step" } else { "tokens" };
        canvas.text(x_label, ((LEFT + RIGHT) / 2.0, BOTTOM + 40.0), LABEL_SIZE, Align::Centre, TEXT)?;
        self.draw_learning_rate_axis(canvas, middle)
    }

    fn draw_learning_rate_axis<B: DrawingBackend>(&self, canvas: &mut Canvas<B>, middle: f64) -> Result<()> {
        let Some(scale) = &self.learning_rate else { return Ok(()) };
        canvas.line(&[(RIGHT, self.top), (RIGHT, BOTTOM)], 1.0, AXIS)?;
        for tick in scale.ticks(5) {
            let (_, y) = self.place(Point { x: 0.0, y: tick.value }, scale);
            canvas.line(&[(RIGHT, y), (RIGHT + 4.0, y)], 1.0, AXIS)?;
            canvas.text(&tick.label, (RIGHT + 8.0, y), LABEL_SIZE, Align::Left, TEXT)?;
        }
        canvas.upward_text("learning rate", (SIZE.0 - 16.0, middle), LABEL_SIZE, TEXT)
    }

    /// Learning rate and raw loss, which everything else may cover.
    fn draw_back<B: DrawingBackend>(&self, canvas: &mut Canvas<B>, curve: &Curve, palette: &Palette) -> Result<()> {
        if !curve.smoothed.is_empty() {
            self.draw_line(canvas, &curve.raw, 1.0, palette.raw)?;
        }
        let Some(scale) = &self.learning_rate else { return Ok(()) };
        for part in without_gaps(&curve.learning_rate) {
            canvas.dashed_line(&self.places(part, scale), 1.25, palette.learning_rate)?;
        }
        Ok(())
    }

    /// Smoothed loss, or raw loss when nothing is smoothed, and the evaluations.
    fn draw_front<B: DrawingBackend>(&self, canvas: &mut Canvas<B>, curve: &Curve, palette: &Palette) -> Result<()> {
        let points = if curve.smoothed.is_empty() { &curve.raw } else { &curve.smoothed };
        self.draw_line(canvas, points, if curve.smoothed.is_empty() { 1.5 } else { 2.25 }, palette.loss)?;
        for point in &curve.held_out {
            let place = self.place(*point, &self.loss);
            canvas.dot(place, 5.5, WHITE)?;
            canvas.dot(place, 4.0, palette.held_out)?;
        }
        Ok(())
    }

    /// A point between two gaps, or the only one of a run, is a dot.
    fn draw_line<B: DrawingBackend>(&self, canvas: &mut Canvas<B>, points: &[Point], width: f64, colour: RGBColor) -> Result<()> {
        for part in without_gaps(points) {
            match part {
                [only] => canvas.dot(self.place(*only, &self.loss), 1.5 * width, colour)?,
                _ => canvas.line(&self.places(part, &self.loss), width, colour)?,
            }
        }
        Ok(())
    }

    fn places(&self, points: &[Point], scale: &Scale) -> Vec<Place> {
        let num_columns = (RIGHT - LEFT) as usize;
        thinned(points, self.x.low, self.x.high, num_columns).into_iter().map(|point| self.place(point, scale)).collect()
    }
}
