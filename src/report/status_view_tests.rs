//! What the status view and the table of runs say, at several widths.

use super::*;
use crate::run::{CheckpointSummary, RunDirectory};
use crate::storage::DISK;

fn status() -> Status {
    let dir = tempfile::tempdir().unwrap();
    let mut status = Status::read(&DISK, &RunDirectory::new(dir.path().join("mine")), 0.0).unwrap();
    status.path = "runs/mine".to_owned();
    (status.state, status.reason) = (State::Running, None);
    (status.step, status.num_steps, status.percent, status.tokens) = (1200, Some(2400), Some(50.0), 4_915_200);
    (status.loss, status.loss_average, status.loss_trend_per_1000_steps) = (Some(0.5), Some(0.6), Some(-0.25));
    (status.step_seconds, status.tokens_per_second, status.eta_seconds) = (Some(0.5), Some(8192.0), Some(600.0));
    status.checkpoint = Some(CheckpointSummary { name: "step-001200".to_owned(), step: 1200, age_seconds: Some(65.0) });
    status
}

#[test]
fn the_page_says_where_the_run_stands_without_colour() {
    let page = status_view(&status(), 80).render(false);
    let wanted = [
        "mine  running\n",
        "[############............] 50.0 %, step 1,200 of 2,400\n",
        "0.600 (last step 0.500), falling by 0.250 in 1,000 steps",
        "8,192 tokens/s, 0.500 s a step",
        "10 min 00 s",
        "step-001200, 1 min 05 s ago",
    ];
    wanted.iter().for_each(|text| assert!(page.contains(text), "{text} is missing in\n{page}"));
    assert!(!page.contains('\x1b'));
}

#[test]
fn no_line_is_wider_than_the_window() {
    let mut status = status();
    status.reason = Some("word ".repeat(60));
    status.id = "x".repeat(100);
    status.samples = vec![SampleRow { step: 1, prompt: "y".repeat(200), mode: "greedy".to_owned(), completion: "\x1b[2J\nz".to_owned() }];
    for width in [40, 80, 200] {
        let page = status_view(&status, width).render(false);
        let table = run_table(&[status.clone(), status.clone()], width.max(80)).render(false);
        assert!(page.lines().all(|line| line.chars().count() <= width), "{page}");
        assert!(table.lines().all(|line| line.chars().count() <= width.max(80)), "{table}");
        assert!(!page.contains('\x1b'), "a sample must not move the cursor");
    }
}

#[test]
fn the_table_compares_runs() {
    let mut first = status();
    (first.held_out_loss, first.num_parameters, first.experiment) = (Some(0.7), Some(4_965_120), Some("arithmetic".to_owned()));
    first.started_unix_time = Some(1_700_000_000.0);
    let mut failed = status();
    (failed.id, failed.state, failed.loss_average, failed.eta_seconds) = ("other".to_owned(), State::Failed, None, None);
    let table = run_table(&[first.clone(), failed.clone()], 140).render(false);
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let date = super::super::units::date(1_700_000_000.0).unwrap();
    assert_eq!(lines[0].join(" "), "run state step done loss held out params experiment begun tokens/s eta");
    assert_eq!(lines[1].join(" "), format!("mine running 1,200 50 % 0.600 0.700 5M arithmetic {date} 8,192 10 min 00 s"));
    assert_eq!(lines[2].join(" "), "other failed 1,200 50 % - - - - - 8,192 -");
    let narrow = run_table(&[first, failed], 60).render(false);
    assert!(narrow.starts_with("run    state     step  done   loss  held out  params\n") && narrow.contains("0.700"), "{narrow}");
    assert!(narrow.lines().all(|line| line.chars().count() <= 60), "{narrow}");
}

#[test]
fn a_run_that_diverged_is_not_called_falling() {
    let mut status = status();
    status.divergence = Some("the loss is 7076.00, where it began at 4.96 and guessing has 4.16".to_owned());
    let page = status_view(&status, 100).render(false);
    assert!(page.contains("diverged       the loss is 7076.00") && !page.contains("falling"), "{page}");
    assert!(run_table(&[status], 100).render(false).contains("running, diverged"));
}

#[test]
fn a_reason_with_its_hint_has_a_line_for_each() {
    let mut status = status();
    (status.state, status.reason) = (State::Failed, Some("5 steps were not finite\nhint: lower the rate".to_owned()));
    let page = status_view(&status, 80).render(false);
    assert!(page.contains("why            5 steps were not finite\nhint           lower the rate\n"), "{page}");
}
