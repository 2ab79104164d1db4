//! Lines, dots and text in points of 1/1000 of the picture's width, on any backend of plotters. Coordinates may be fractions.

use crate::{Error, Result};
use plotters::prelude::{DrawingBackend, RGBColor};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, FontTransform, ShapeStyle, TextStyle, register_font};
use plotters_backend::BackendCoord;
use std::sync::Once;

/// Points across and down a picture.
pub(super) const SIZE: (f64, f64) = (1000.0, 600.0);
/// Backend units in a point: backends take whole numbers, and a line needs finer places than whole points.
pub(super) const UNITS: u32 = 4;

/// Licence beside it.
static FONT: &[u8] = include_bytes!("font/DejaVuSans-Latin.ttf");
/// What an SVG viewer is asked for, and what the embedded font is registered as.
const FAMILY: FontFamily<'static> = FontFamily::SansSerif;

/// Where a text stands relative to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Centre,
    Right,
}

/// A place in points from the top left.
pub(super) type Place = (f64, f64);

/// Who rounds the corners of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joints {
    /// The viewer of the picture.
    Viewer,
    /// We, by a dot at each: plotters' bitmaps draw a thick line as one polygon, with holes and spikes where it turns sharply.
    Dots,
}

/// Draws on a backend.
pub(super) struct Canvas<B: DrawingBackend> {
    backend: B,
    joints: Joints,
}

impl<B: DrawingBackend> Canvas<B> {
    /// A white sheet.
    pub(super) fn new(backend: B, joints: Joints) -> Result<Self> {
        register_embedded_font();
        let mut canvas = Self { backend, joints };
        canvas.rectangle((0.0, 0.0), SIZE, RGBColor(255, 255, 255))?;
        Ok(canvas)
    }

    pub(super) fn rectangle(&mut self, corner: Place, opposite: Place, colour: RGBColor) -> Result<()> {
        self.backend.draw_rect(units(corner), units(opposite), &colour.to_rgba(), true).map_err(failed)
    }

    /// A line through `places`; a single one is a dot as wide as the line.
    pub(super) fn line(&mut self, places: &[Place], width: f64, colour: RGBColor) -> Result<()> {
        if let [place] = places {
            return self.dot(*place, width, colour);
        }
        let style = ShapeStyle { color: colour.to_rgba(), filled: false, stroke_width: (width * f64::from(UNITS)).round() as u32 };
        if self.joints == Joints::Viewer {
            return self.backend.draw_path(places.iter().copied().map(units), &style).map_err(failed);
        }
        for pair in places.windows(2) {
            self.backend.draw_path(pair.iter().copied().map(units), &style).map_err(failed)?;
        }
        let joints = places.get(1..places.len().saturating_sub(1)).unwrap_or_default();
        joints.iter().try_for_each(|joint| self.dot(*joint, width / 2.0, colour))
    }

    /// A line of strokes of 6 points with gaps of 4, wherever the corners are.
    pub(super) fn dashed_line(&mut self, places: &[Place], width: f64, colour: RGBColor) -> Result<()> {
        dashes(places, 6.0, 4.0).iter().try_for_each(|dash| self.line(dash, width, colour))
    }

    pub(super) fn dot(&mut self, centre: Place, radius: f64, colour: RGBColor) -> Result<()> {
        let radius = (radius * f64::from(UNITS)).round() as u32;
        self.backend.draw_circle(units(centre), radius, &colour.to_rgba(), true).map_err(failed)
    }

    /// `place` is left, middle or right of the text, at half its height.
    pub(super) fn text(&mut self, text: &str, place: Place, size: f64, align: Align, colour: RGBColor) -> Result<()> {
        self.turned_text(text, place, size, align, colour, FontTransform::None)
    }

    /// A text that reads from bottom to top, centred on `place`.
    pub(super) fn upward_text(&mut self, text: &str, place: Place, size: f64, colour: RGBColor) -> Result<()> {
        self.turned_text(text, place, size, Align::Centre, colour, FontTransform::Rotate270)
    }

    fn turned_text(&mut self, text: &str, place: Place, size: f64, align: Align, colour: RGBColor, turn: FontTransform) -> Result<()> {
        let horizontal = match align {
            Align::Left => HPos::Left,
            Align::Centre => HPos::Center,
            Align::Right => HPos::Right,
        };
        let style = TextStyle::from(font(size * f64::from(UNITS)).transform(turn));
        let style = style.color(&colour).pos(Pos::new(horizontal, VPos::Center));
        self.backend.draw_text(text, &style, units(place)).map_err(failed)
    }

    /// Ends the drawing.
    pub(super) fn finish(mut self) -> Result<()> {
        self.backend.present().map_err(failed)
    }
}

/// The width of a text in points.
pub(super) fn text_width(text: &str, size: f64) -> Result<f64> {
    register_embedded_font();
    let (width, _) = font(size * f64::from(UNITS)).box_size(text).map_err(|error| Error::ours(format!("measuring text: {error}")))?;
    Ok(f64::from(width) / f64::from(UNITS))
}

fn font(size: f64) -> FontDesc<'static> {
    FontDesc::new(FAMILY, size, FontStyle::Normal)
}

fn register_embedded_font() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = register_font(FAMILY.as_str(), FontStyle::Normal, FONT); // fails for a font that is none: this one is
    });
}

fn units((x, y): Place) -> BackendCoord {
    let unit = |points: f64| (points * f64::from(UNITS)).round() as i32;
    (unit(x), unit(y))
}

fn failed<E: std::error::Error + Send + Sync>(error: plotters_backend::DrawingErrorKind<E>) -> Error {
    Error::ours(format!("drawing: {error}"))
}

/// Cuts the line through `places` into strokes of length `on`, `off` apart.
fn dashes(places: &[Place], on: f64, off: f64) -> Vec<Vec<Place>> {
    let mut dashes = vec![Vec::new()];
    let (mut is_on, mut left) = (true, on);
    let Some(first) = places.first() else { return Vec::new() };
    dashes[0].push(*first);
    for pair in places.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let mut done = 0.0;
        while length - done > left {
            done += left;
            let share = done / length;
            let turn = (from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1));
            if is_on {
                dashes.last_mut().into_iter().for_each(|dash| dash.push(turn));
            } else {
                dashes.push(vec![turn]);
            }
            is_on = !is_on;
            left = if is_on { on } else { off };
        }
        left -= length - done;
        if is_on {
            dashes.last_mut().into_iter().for_each(|dash| dash.push(to));
        }
    }
    dashes.retain(|dash| dash.len() > 1);
    dashes
}
