//! What plots show: curves, gaps, single points, labels, formats.

use super::curve::{thinned, without_gaps};
use super::*;
use crate::run::{EvaluationRow, MetricsRow};

const OPTIONS: PlotOptions = PlotOptions { x_axis: XAxis::Steps, smooth: 0.9, is_log: false };

fn rows(losses: &[f64]) -> Vec<MetricsRow> {
    let row = |(index, loss): (usize, &f64)| MetricsRow {
        step: index as u64 + 1,
        tokens: 64 * (index as u64 + 1),
        loss: *loss,
        learning_rate: 1e-3,
        weight_decay: 0.1,
        grad_norm: 0.5,
        skipped_steps: 0,
        step_seconds: 0.5,
        tokens_per_second: 200.0,
        unix_time: 0.0,
        mfu: None,
    };
    losses.iter().enumerate().map(row).collect()
}

fn curve(label: &str, losses: &[f64], smooth: f64) -> Curve {
    let held_out = EvaluationRow { step: 2, metric: "loss".to_owned(), value: 2.0 };
    let other = EvaluationRow { step: 2, metric: "exact_match".to_owned(), value: 0.5 };
    Curve::of_rows(label.to_owned(), &rows(losses), &[held_out, other], XAxis::Steps, smooth)
}

fn svg(curves: &[Curve], options: PlotOptions) -> String {
    String::from_utf8(draw_picture(curves, options, PictureFormat::Svg).unwrap()).unwrap()
}

/// Smoothed curves are 9 units wide, and nothing else is.
fn num_thick_lines(svg: &str) -> usize {
    svg.lines().filter(|line| line.contains("<polyline") && line.contains("stroke-width=\"9\"")).count()
}

#[test]
fn an_svg_names_run_axes_and_marks() {
    let text = svg(&[curve("mine", &[3.0, 2.0, 1.0], 0.9)], OPTIONS);
    for label in ["mine", "step", "loss (nats per token)", "learning rate", "loss, smoothed (0.9)", "held-out loss"] {
        assert!(text.contains(&format!("\n{label}\n")), "{label} is missing");
    }
    assert!(text.contains("width=\"1000\" height=\"600\"") && text.contains("viewBox=\"0 0 4000 2400\""));
    assert_eq!(num_thick_lines(&text), 1);
}

#[test]
fn several_runs_have_a_line_and_a_label_each() {
    let curves = ["mine", "other", "third"].map(|label| curve(label, &[3.0, 2.0, 1.0], 0.9));
    let text = svg(&curves, OPTIONS);
    assert!(["mine", "other", "third"].iter().all(|label| text.contains(&format!("\n{label}\n"))));
    assert_eq!(num_thick_lines(&text), 3);
}

#[test]
fn a_gap_cuts_the_line_in_two() {
    let text = svg(&[curve("mine", &[3.0, 2.5, f64::NAN, 2.0, 1.5], 0.9)], OPTIONS);
    assert_eq!(num_thick_lines(&text), 2);
    assert!(!text.contains("NaN"));
}

#[test]
fn a_png_has_its_size_and_something_on_it() {
    let num_blue = |losses: &[f64]| {
        let bytes = draw_picture(&[curve("mine", losses, 0.9)], OPTIONS, PictureFormat::Png).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (2000, 1200));
        pixels.chunks(3).filter(|pixel| pixel[2] > 150 && pixel[0] < 50).count()
    };
    let nothing = num_blue(&[]); // but the mark in the legend
    let (point, line) = (num_blue(&[2.0]), num_blue(&[3.0, 2.0, 1.0]));
    assert!(nothing < point && point + 1000 < line, "{nothing} {point} {line}");
}

#[test]
fn no_step_and_a_logarithmic_axis_are_drawn_too() {
    for losses in [vec![], vec![1.0], vec![0.0, 1.0], vec![f64::NAN]] {
        let options = PlotOptions { is_log: true, ..OPTIONS };
        let text = svg(&[curve("mine", &losses, 0.9)], options);
        assert!(text.contains("logarithmic") && !text.contains("NaN") && !text.contains("inf"), "{losses:?}");
    }
}

#[test]
fn smoothing_of_zero_draws_the_raw_loss_alone() {
    let curve = curve("mine", &[3.0, 1.0], 0.0);
    assert!(curve.smoothed.is_empty());
    assert!(!svg(&[curve], PlotOptions { smooth: 0.0, ..OPTIONS }).contains("smoothed"));
}

#[test]
fn an_evaluation_lies_at_the_tokens_of_its_step() {
    let held_out = |step| EvaluationRow { step, metric: "loss".to_owned(), value: 2.0 };
    let curve = Curve::of_rows("mine".to_owned(), &rows(&[3.0, 2.0]), &[held_out(0), held_out(2), held_out(9)], XAxis::Tokens, 0.9);
    let xs: Vec<f64> = curve.held_out.iter().map(|point| point.x).collect();
    assert_eq!(xs, [0.0, 128.0]); // step 9 has no row, so nobody knows its tokens
}

#[test]
fn thinning_keeps_the_extremes_of_every_column() {
    let points: Vec<Point> = (0..10_000).map(|x| Point { x: f64::from(x), y: f64::from((x * 7919) % 1000) }).collect();
    let thin = thinned(&points, 0.0, 10_000.0, 10);
    assert!(thin.len() <= 40 && thin.windows(2).all(|pair| pair[0].x < pair[1].x));
    for column in points.chunks(1000) {
        let inside: Vec<f64> = thin.iter().filter(|point| (column[0].x..=column[999].x).contains(&point.x)).map(|point| point.y).collect();
        let extremes = |ys: &mut dyn Iterator<Item = f64>| ys.fold((f64::MAX, f64::MIN), |(low, high), y| (low.min(y), high.max(y)));
        assert_eq!(extremes(&mut inside.into_iter()), extremes(&mut column.iter().map(|point| point.y)));
    }
}

#[test]
fn gaps_at_the_ends_leave_no_empty_parts() {
    let points = [f64::NAN, 1.0, 2.0, f64::NAN, f64::NAN, 3.0, f64::INFINITY].map(|y| Point { x: 0.0, y });
    assert_eq!(without_gaps(&points).map(<[Point]>::len).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn one_run_in_the_terminal_is_braille_within_the_width() {
    let text = draw_in_terminal(&[curve("mine", &[3.0, 2.0, 1.0], 0.9)], OPTIONS, 60, 10).render(false);
    assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
    assert!(text.starts_with("mine\n") && text.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)) && text.contains('o'));
}

#[test]
fn several_runs_in_the_terminal_are_told_apart_without_colour() {
    let curves = [curve("mine", &[3.0, 2.0, 1.0], 0.9), curve("other", &[3.5, 3.2, 3.1], 0.9)];
    let text = draw_in_terminal(&curves, OPTIONS, 60, 10).render(false);
    assert!(text.contains("a  mine\nb  other\n") && text.contains("aaa") && text.contains("bbb"), "{text}");
}

#[test]
fn an_extension_that_is_no_picture_is_refused() {
    let error = PictureFormat::of(std::path::Path::new("loss.gif")).unwrap_err();
    assert_eq!(error.exit_status(), 2);
    assert!(error.to_string().contains("loss.gif") && error.hint_text() == Some("end it in .png or .svg"));
    assert_eq!(PictureFormat::of(std::path::Path::new("a/LOSS.SVG")).unwrap(), PictureFormat::Svg);
}
