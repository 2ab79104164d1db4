//! A chart as the bytes of a file.

use super::canvas::{Canvas, Joints, SIZE, UNITS};
use super::chart::draw_chart;
use super::{Curve, PlotOptions};
use crate::{Error, Result};
use plotters::prelude::{BitMapBackend, SVGBackend};
use std::path::Path;

/// A PNG has so many backend units in a pixel, which smooths every edge; it is 2,000 pixels wide.
const UNITS_PER_PIXEL: u32 = 2;

/// How a picture is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureFormat {
    /// 2,000 by 1,200 pixels.
    Png,
    /// 1,000 by 600 points, of any size.
    Svg,
}

impl PictureFormat {
    /// The one that a file's extension names; the user's error for any other.
    pub fn of(path: &Path) -> Result<Self> {
        match path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).as_deref() {
            Some("png") => Ok(Self::Png),
            Some("svg") => Ok(Self::Svg),
            _ => Err(Error::input(format!("{} names no kind of picture", path.display())).hint("end it in .png or .svg")),
        }
    }
}

/// Draws `curves` into a picture.
pub fn draw_picture(curves: &[Curve], options: PlotOptions, format: PictureFormat) -> Result<Vec<u8>> {
    match format {
        PictureFormat::Png => png(curves, options),
        PictureFormat::Svg => svg(curves, options),
    }
}

fn size_in_units() -> (u32, u32) {
    (SIZE.0 as u32 * UNITS, SIZE.1 as u32 * UNITS)
}

fn svg(curves: &[Curve], options: PlotOptions) -> Result<Vec<u8>> {
    let (width, height) = size_in_units();
    let mut text = String::new();
    let mut canvas = Canvas::new(SVGBackend::with_string(&mut text, (width, height)), Joints::Viewer)?;
    draw_chart(&mut canvas, curves, options)?;
    canvas.finish()?;
    // Shown at its size in points; joints are round so that a steep line has no spikes.
    let written = format!("width=\"{width}\" height=\"{height}\"");
    let wanted = format!("width=\"{}\" height=\"{}\" stroke-linejoin=\"round\"", SIZE.0, SIZE.1);
    Ok(text.replacen(&written, &wanted, 1).into_bytes())
}

fn png(curves: &[Curve], options: PlotOptions) -> Result<Vec<u8>> {
    let (width, height) = size_in_units();
    let mut units = vec![0; (width * height * 3) as usize];
    let mut canvas = Canvas::new(BitMapBackend::with_buffer(&mut units, (width, height)), Joints::Dots)?;
    draw_chart(&mut canvas, curves, options)?;
    canvas.finish()?;
    let pixels = averaged(&units, width as usize);
    encode_png(&pixels, width / UNITS_PER_PIXEL, height / UNITS_PER_PIXEL)
}

/// Each pixel is the mean of its units: RGB in, RGB out.
fn averaged(units: &[u8], width: usize) -> Vec<u8> {
    const SIDE: usize = UNITS_PER_PIXEL as usize;
    let mut pixels = Vec::with_capacity(units.len() / (SIDE * SIDE));
    for rows in units.chunks_exact(3 * width * SIDE) {
        for column in 0..width / SIDE {
            for channel in 0..3 {
                let unit = |row: usize, offset: usize| u32::from(rows[3 * (row * width + column * SIDE + offset) + channel]);
                let sum: u32 = (0..SIDE * SIDE).map(|index| unit(index / SIDE, index % SIDE)).sum();
                pixels.push((sum / (UNITS_PER_PIXEL * UNITS_PER_PIXEL)) as u8);
            }
        }
    }
    pixels
}

fn encode_png(pixels: &[u8], width: u32, height: u32) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(file)
}
