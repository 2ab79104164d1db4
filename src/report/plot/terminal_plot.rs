//! The chart in characters. One run is drawn in braille, which has eight dots a character; of several each has a letter, so that they
//! can be told apart without colour.

use super::curve::without_gaps;
use super::scale::{Scale, Tick};
use super::{Curve, PlotOptions, Point, XAxis};
use crate::report::styled::{Emphasis, Styled, printable, shortened};

/// Marks an evaluation.
const HELD_OUT: char = 'o';
const LABEL_WIDTH: usize = 9;
/// Dots across and down a braille character.
const DOTS: (usize, usize) = (2, 4);
/// Bits of Unicode's braille block by column and row.
const BITS: [[u32; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];

/// Draws `curves` into lines of `width` characters, `height` lines and a few for labels.
pub fn draw_in_terminal(curves: &[Curve], options: PlotOptions, width: usize, height: usize) -> Styled {
    let (columns, rows) = (width.saturating_sub(LABEL_WIDTH + 2).max(16), height.max(4));
    let x = Scale::counting(curves.iter().flat_map(|curve| curve.raw.iter().chain(&curve.held_out)).map(|point| point.x));
    let loss = Scale::around(curves.iter().flat_map(visible), options.is_log);
    let mut grid = Grid { x, loss, columns, rows, cells: vec![None; columns * rows] };
    for (index, curve) in curves.iter().enumerate() {
        let letter = (curves.len() > 1).then(|| letter(index));
        without_gaps(line_of(curve)).for_each(|part| grid.draw_line(part, index, letter));
        curve.held_out.iter().for_each(|point| grid.mark(*point, index, HELD_OUT));
    }
    let mut text = Styled::default();
    legend(curves, options, width, &mut text);
    grid.render(&mut text);
    x_axis(&x, options, columns, &mut text);
    text
}

/// The line that is drawn of a run: the smoothed one where there is one.
fn line_of(curve: &Curve) -> &[Point] {
    if curve.smoothed.is_empty() { &curve.raw } else { &curve.smoothed }
}

fn visible(curve: &Curve) -> impl Iterator<Item = f64> {
    line_of(curve).iter().chain(&curve.held_out).map(|point| point.y)
}

fn letter(index: usize) -> char {
    char::from(b'a' + (index % 14) as u8) // up to n: o is an evaluation
}

fn legend(curves: &[Curve], options: PlotOptions, width: usize, text: &mut Styled) {
    let quantity = Curve::quantity_of(curves);
    let is_smoothed = curves.iter().any(|curve| !curve.smoothed.is_empty());
    let what = if is_smoothed { format!("{quantity}, smoothed ({})", options.smooth) } else { format!("{quantity} of each step") };
    let held_out = if curves.iter().any(|curve| !curve.held_out.is_empty()) { ", o held-out loss" } else { "" };
    for (index, curve) in curves.iter().enumerate() {
        let label = shortened(&printable(&curve.label), width.saturating_sub(4));
        match curves.len() {
            1 => text.push(Emphasis::Bold, label).end_line(),
            _ => text.push(Emphasis::Curve(index), format!("{}  {label}", letter(index))).end_line(),
        };
    }
    text.push(Emphasis::Plain, shortened(&format!("{what}{held_out}"), width)).end_line();
}

fn x_axis(scale: &Scale, options: PlotOptions, columns: usize, text: &mut Styled) {
    let mut line = vec![' '; columns];
    let mut free_from = 0;
    for Tick { value, label } in scale.ticks((columns / 14).clamp(1, 8)) {
        let middle = (scale.place(value) * (columns - 1) as f64) as usize;
        let start = middle.saturating_sub(label.len() / 2).min(columns.saturating_sub(label.len()));
        if start >= free_from {
            line.iter_mut().skip(start).zip(label.chars()).for_each(|(cell, c)| *cell = c);
            free_from = start + label.len() + 1;
        }
    }
    let name = if options.x_axis == XAxis::Steps { "step" } else { "tokens" };
    let labels: String = line.into_iter().collect();
    text.push(Emphasis::Plain, format!("{name:>LABEL_WIDTH$}  {}", labels.trim_end())).end_line();
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    curve: usize,
    glyph: Glyph,
}

#[derive(Debug, Clone, Copy)]
enum Glyph {
    Dots(u32),
    Letter(char),
}

struct Grid {
    x: Scale,
    loss: Scale,
    columns: usize,
    rows: usize,
    cells: Vec<Option<Cell>>,
}

impl Grid {
    /// The place of a point in dots from the top left.
    fn dot(&self, point: Point) -> (f64, f64) {
        let across = self.x.place(point.x) * (self.columns * DOTS.0 - 1) as f64;
        (across, (1.0 - self.loss.place(point.y)) * (self.rows * DOTS.1 - 1) as f64)
    }

    fn draw_line(&mut self, points: &[Point], curve: usize, letter: Option<char>) {
        let dots: Vec<(f64, f64)> = points.iter().map(|point| self.dot(*point)).collect();
        if let [(x, y)] = dots[..] {
            self.set(x, y, curve, letter);
        }
        for pair in dots.windows(2) {
            let ((x, y), (to_x, to_y)) = (pair[0], pair[1]);
            let num_dots = (to_x - x).abs().max((to_y - y).abs()).ceil().max(1.0);
            for index in 0..=num_dots as usize {
                let share = index as f64 / num_dots;
                self.set(x + share * (to_x - x), y + share * (to_y - y), curve, letter);
            }
        }
    }

    fn mark(&mut self, point: Point, curve: usize, letter: char) {
        let (x, y) = self.dot(point);
        self.set(x, y, curve, Some(letter));
    }

    fn set(&mut self, x: f64, y: f64, curve: usize, letter: Option<char>) {
        let (x, y) = (x.round() as usize, y.round() as usize);
        let Some(cell) = self.cells.get_mut(y / DOTS.1 * self.columns + x / DOTS.0) else { return };
        let bit = BITS[x % DOTS.0][y % DOTS.1];
        let glyph = match (letter, &cell) {
            (Some(letter), _) => Glyph::Letter(letter),
            (None, Some(Cell { glyph: Glyph::Dots(bits), .. })) => Glyph::Dots(bits | bit),
            (None, _) => Glyph::Dots(bit),
        };
        *cell = Some(Cell { curve, glyph });
    }

    fn render(&self, text: &mut Styled) {
        let ticks = self.loss.ticks((self.rows / 3).clamp(2, 8));
        for (row, cells) in self.cells.chunks(self.columns).enumerate() {
            let row_of = |tick: &Tick| ((1.0 - self.loss.place(tick.value)) * (self.rows * DOTS.1 - 1) as f64).round() as usize / DOTS.1;
            let tick = ticks.iter().find(|tick| row_of(tick) == row);
            let (label, edge) = tick.map_or(("", '|'), |tick| (tick.label.as_str(), '+'));
            text.push(Emphasis::Plain, format!("{label:>LABEL_WIDTH$} {edge}"));
            let num_used = cells.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
            for cell in &cells[..num_used] {
                match cell {
                    None => text.push(Emphasis::Plain, " "),
                    Some(Cell { curve, glyph: Glyph::Letter(letter) }) => text.push(Emphasis::Curve(*curve), *letter),
                    Some(Cell { curve, glyph: Glyph::Dots(bits) }) => {
                        text.push(Emphasis::Curve(*curve), char::from_u32(0x2800 + bits).unwrap_or('.'))
                    }
                };
            }
            text.end_line();
        }
        text.push(Emphasis::Plain, format!("{:LABEL_WIDTH$} +{}", "", "-".repeat(self.columns))).end_line();
    }
}
