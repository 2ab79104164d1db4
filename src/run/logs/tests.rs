//! Logs that are torn, absent, damaged, resumed, or hold what CSV and JSON do not like.

use super::{Log, LogFormat, LogRow, RunLogs, read_log};
use crate::run::{CodesRow, EvaluationRow, Event, EventRow, MetricsRow, RunDirectory, SampleRow};
use crate::storage::testing::{Answer, ForgetfulFileSystem, InterceptedFileSystem, Operation};
use crate::storage::{FileSystem, read_capped};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

const PATH: &str = "log";

fn metrics(step: u64) -> MetricsRow {
    MetricsRow {
        step,
        tokens: step.wrapping_mul(10),
        loss: 1.0 / 3.0,
        learning_rate: 1e-300,
        weight_decay: 0.1,
        grad_norm: f64::MAX,
        skipped_steps: 0,
        step_seconds: 5e-324,
        tokens_per_second: 123_456.789,
        unix_time: 1.7e9,
        mfu: None,
    }
}

fn evaluation(step: u64, value: f64) -> EvaluationRow {
    EvaluationRow { step, metric: "exact_match/add, \"all\"".to_owned(), value }
}

fn event(step: u64) -> EventRow {
    EventRow { unix_time: 1.5, step, event: Event::Saved { checkpoint: format!("step-{step:06}") } }
}

fn text(fs: &dyn FileSystem, path: &str) -> String {
    String::from_utf8(read_capped(fs, Path::new(path), 1 << 20).unwrap()).unwrap()
}

fn append_raw(fs: &dyn FileSystem, text: &[u8]) {
    fs.append(Path::new(PATH)).unwrap().write_all(text).unwrap();
}

fn write_rows<R: LogRow>(fs: &dyn FileSystem, rows: &[R]) {
    let mut log = Log::open(fs, Path::new(PATH)).unwrap();
    rows.iter().for_each(|row| log.append(row).unwrap());
}

fn rows_of<R: LogRow>(fs: &dyn FileSystem) -> Vec<R> {
    let read = read_log(fs, Path::new(PATH)).unwrap();
    assert_eq!(read.damaged_lines, Vec::<u64>::new());
    read.rows
}

fn assert_round_trip<R: LogRow + PartialEq + std::fmt::Debug>(rows: &[R]) {
    let fs = ForgetfulFileSystem::new();
    write_rows(&fs, rows);
    assert_eq!(rows_of::<R>(&fs), rows);
}

#[test]
fn every_kind_of_row_is_read_back_as_it_was_written() {
    assert_round_trip(&[metrics(1), metrics(u64::MAX)]);
    assert_round_trip(&[evaluation(0, 1e-17)]);
    let codes = CodesRow { step: 2, layer: 3, matrix: "q_proj".into(), minus: 0.3, zero: 0.4, plus: 0.3, flipped: 0.0 };
    assert_round_trip(&[codes]);
    assert_round_trip(&[SampleRow {
        step: 4,
        prompt: "1 + 1 =\n\u{1b}[2J".into(),
        mode: "greedy".into(),
        completion: "\0\u{1F980}\r\n".into(),
    }]);
    assert_round_trip(&[event(5), EventRow { event: Event::Finished, ..event(6) }]);
}

#[test]
fn samples_from_before_there_were_modes_are_greedy() {
    let fs = ForgetfulFileSystem::new();
    append_raw(&fs, b"{\"step\":4,\"prompt\":\"a\",\"completion\":\"b\"}\n");
    assert_eq!(rows_of::<SampleRow>(&fs), [SampleRow { step: 4, prompt: "a".into(), mode: "greedy".into(), completion: "b".into() }]);
}

#[test]
fn numbers_that_are_not_finite_survive_csv_and_are_refused_as_an_events_time() {
    let fs = ForgetfulFileSystem::new();
    write_rows(&fs, &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(|value| evaluation(1, value)));
    let values: Vec<f64> = rows_of::<EvaluationRow>(&fs).iter().map(|row| row.value).collect();
    assert!(values[0].is_nan() && values[1..] == [f64::INFINITY, f64::NEG_INFINITY]);
    let mut events = Log::open(&fs, Path::new("events")).unwrap();
    assert!(events.append(&EventRow { unix_time: f64::NAN, ..event(1) }).is_err());
}

#[test]
fn a_line_break_in_a_csv_field_is_refused() {
    let disk = ForgetfulFileSystem::new();
    let mut log = Log::open(&disk, Path::new(PATH)).unwrap();
    assert!(log.append(&EvaluationRow { metric: "a\nb".into(), ..evaluation(1, 0.0) }).is_err());
}

#[test]
fn the_columns_are_the_fields_of_the_row_in_order() {
    fn assert_columns<R: LogRow>(row: &R) {
        let LogFormat::Csv(columns) = R::FORMAT else { panic!("not CSV") };
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.serialize(row).unwrap();
        let written = String::from_utf8(writer.into_inner().unwrap()).unwrap();
        assert_eq!(written.lines().next(), Some(columns.join(",").as_str()));
    }
    assert_columns(&metrics(1));
    assert_columns(&evaluation(1, 0.0));
    assert_columns(&CodesRow { step: 0, layer: 0, matrix: String::new(), minus: 0.0, zero: 0.0, plus: 0.0, flipped: 0.0 });
}

#[test]
fn an_absent_an_empty_and_a_torn_log_have_the_rows_that_are_whole() {
    let fs = ForgetfulFileSystem::new();
    assert_eq!(rows_of::<MetricsRow>(&fs), []);
    append_raw(&fs, b"");
    assert_eq!(rows_of::<MetricsRow>(&fs), []);
    append_raw(&fs, b"step,tok");
    assert_eq!(rows_of::<MetricsRow>(&fs), []);
    write_rows(&fs, &[metrics(1)]);
    let whole = text(&fs, PATH);
    let line = whole.lines().nth(1).unwrap().to_owned();
    for length in 0..line.len() {
        fs.create(Path::new(PATH)).unwrap().write_all(format!("{whole}{}", &line[..length]).as_bytes()).unwrap();
        assert_eq!(rows_of::<MetricsRow>(&fs), [metrics(1)], "torn after {length} bytes");
    }
}

#[test]
fn damaged_lines_are_passed_over_and_named() {
    let fs = ForgetfulFileSystem::new();
    write_rows(&fs, &[metrics(1)]);
    append_raw(&fs, b"\0\0\0\n1,2\nnot,a,row,at,all,x,x,x,x,x\n");
    write_rows_raw(&fs, &metrics(2));
    let read = read_log::<MetricsRow>(&fs, Path::new(PATH)).unwrap();
    assert_eq!((read.rows, read.damaged_lines), (vec![metrics(1), metrics(2)], vec![3, 4, 5]));
}

fn write_rows_raw(fs: &dyn FileSystem, row: &MetricsRow) {
    append_raw(fs, &super::row::encode(row).unwrap());
}

#[test]
fn a_resume_cuts_what_lies_beyond_its_step_and_keeps_the_log_as_it_was() {
    let fs = ForgetfulFileSystem::new();
    write_rows(&fs, &[metrics(1), metrics(2), metrics(3)]);
    append_raw(&fs, b"4,4");
    let before = text(&fs, PATH);
    Log::open_for_resume(&fs, Path::new(PATH), 2).unwrap().append(&metrics(3)).unwrap();
    assert_eq!(rows_of::<MetricsRow>(&fs), [metrics(1), metrics(2), metrics(3)]);
    assert_eq!(text(&fs, "log.bak"), before);
}

#[test]
fn a_resume_that_cuts_no_row_keeps_no_copy() {
    let fs = ForgetfulFileSystem::new();
    write_rows(&fs, &[metrics(1)]);
    append_raw(&fs, b"2,2");
    Log::<MetricsRow>::open_for_resume(&fs, Path::new(PATH), 1).unwrap();
    assert_eq!(rows_of::<MetricsRow>(&fs), [metrics(1)]);
    assert!(!text(&fs, PATH).contains("2,2") && !fs.exists(Path::new("log.bak")).unwrap());
}

#[test]
fn events_are_never_cut() {
    let fs = ForgetfulFileSystem::new();
    write_rows(&fs, &[event(1), event(9)]);
    append_raw(&fs, b"{\"unix_ti");
    Log::open_for_resume(&fs, Path::new(PATH), 1).unwrap().append(&event(2)).unwrap();
    assert_eq!(rows_of::<EventRow>(&fs), [event(1), event(9), event(2)]);
}

#[test]
fn rows_under_a_header_of_another_order_are_kept_in_todays_order() {
    let fs = ForgetfulFileSystem::new();
    append_raw(&fs, b"metric,value,step,new\nloss,0.5,1,x\n");
    Log::<EvaluationRow>::open(&fs, Path::new(PATH)).unwrap();
    assert_eq!(text(&fs, PATH), "step,metric,value\n1,loss,0.5\n");
}

#[test]
fn a_row_is_one_write_call() {
    let num_writes = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&num_writes);
    let fs = InterceptedFileSystem::new(ForgetfulFileSystem::new(), move |call| {
        counted.fetch_add(u64::from(call.operation == Operation::Write), Ordering::Relaxed);
        Answer::Pass
    });
    let mut log = Log::open(&fs, Path::new(PATH)).unwrap();
    let before = num_writes.load(Ordering::Relaxed);
    (1..=5).for_each(|step| log.append(&metrics(step)).unwrap());
    assert_eq!(num_writes.load(Ordering::Relaxed) - before, 5);
}

#[test]
fn all_logs_are_synced_together() {
    let synced = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&synced);
    let fs = InterceptedFileSystem::new(ForgetfulFileSystem::new(), move |call| {
        if call.operation == Operation::Sync {
            seen.lock().unwrap().push(call.path.file_name().unwrap().to_string_lossy().into_owned());
        }
        Answer::Pass
    });
    let mut logs = RunLogs::open(&fs, &RunDirectory::new("r"), 0).unwrap();
    synced.lock().unwrap().clear();
    logs.sync().unwrap();
    let mut synced = synced.lock().unwrap().clone();
    assert!(synced.remove(0).starts_with("events.out.tfevents."));
    assert_eq!(synced, ["metrics.csv", "eval.csv", "codes.csv", "samples.jsonl", "events.jsonl"]);
}

#[test]
fn a_log_from_before_there_was_mfu_is_read_and_goes_on_with_it() {
    let fs = ForgetfulFileSystem::new();
    let old = "step,tokens,loss,learning_rate,weight_decay,grad_norm,skipped_steps,step_seconds,tokens_per_second,unix_time\n\
               1,10,0.5,0.001,0.1,2.0,0,0.25,40.0,1700000000.0\n";
    append_raw(&fs, old.as_bytes());
    let row = MetricsRow {
        tokens: 10,
        loss: 0.5,
        learning_rate: 0.001,
        grad_norm: 2.0,
        step_seconds: 0.25,
        tokens_per_second: 40.0,
        ..metrics(1)
    };
    assert_eq!(rows_of::<MetricsRow>(&fs), std::slice::from_ref(&row));
    let next = MetricsRow { mfu: Some(0.375), ..metrics(2) };
    write_rows(&fs, std::slice::from_ref(&next));
    assert_eq!(rows_of::<MetricsRow>(&fs), [row, next]);
    let text = text(&fs, PATH);
    assert!(text.starts_with("step,") && text.lines().next().unwrap().ends_with(",unix_time,mfu"), "{text}");
    assert!(text.lines().nth(1).unwrap().ends_with("1700000000.0,") && text.ends_with(",0.375\n"), "{text}");
}
