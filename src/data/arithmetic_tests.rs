//! Claims about the rows that training sees.

use super::*;
use crate::config::OperatorShares;
use crate::data::IGNORED_TARGET;
use crate::tasks::arithmetic::{ALPHABET, is_held_out};
use crate::tokenizer::PAD_ID;
use std::collections::HashMap;

fn config() -> ArithmeticConfig {
    let operators = OperatorShares { add: 1.0, subtract: 1.0, multiply: 4.0, divide: 2.0 };
    ArithmeticConfig { largest_operand: 99, held_out_percent: 10, operators }
}

fn tokenizer() -> Tokenizer {
    Tokenizer::characters(ALPHABET, 32).unwrap()
}

fn source(seed: u64) -> ArithmeticSource {
    ArithmeticSource::new(&config(), &tokenizer(), seed).unwrap()
}

fn text(tokens: &[i64]) -> String {
    tokenizer().decode(&tokens.iter().map(|&token| token as u32).collect::<Vec<_>>())
}

/// The text of a row's targets, with `.` where the loss does not look.
fn shown_targets(targets: &[i64]) -> String {
    targets.iter().map(|&target| if target == IGNORED_TARGET { ".".into() } else { text(&[target]) }).collect()
}

/// Problems in their order, packed like those of training, a row each batch.
fn packed(prompts: &[&str], seq_len: usize) -> Vec<Batch> {
    let source = source(0);
    let (mut rows, mut row) = (Vec::new(), Row::default());
    for problem in prompts.iter().map(|prompt| prompt.parse().unwrap()) {
        if !source.push(&mut row, &problem, seq_len).unwrap() {
            rows.push(std::mem::take(&mut row));
            assert!(source.push(&mut row, &problem, seq_len).unwrap());
        }
    }
    rows.push(row);
    rows.into_iter().map(|row| Batch::from_rows(&[source.padded(row, seq_len)], seq_len).unwrap()).collect()
}

#[test]
fn the_loss_looks_at_what_a_model_adds_to_the_prompt() {
    let batches = packed(&["3 + 4 =", "9 - 12 ="], 26);
    assert_eq!(text(&batches[0].inputs), "3 + 4 = 7\n9 - 12 = -3\n");
    assert_eq!(shown_targets(&batches[0].targets), "...... 7\n........ -3\n.....");
}

#[test]
fn the_target_of_a_full_rows_last_position_is_the_token_after_it() {
    let batches = packed(&["3 + 4 =", "1 + 1 ="], 19);
    assert_eq!((batches.len(), batches[0].rows), (1, 1));
    assert_eq!(text(&batches[0].inputs), "3 + 4 = 7\n1 + 1 = 2");
    assert_eq!(shown_targets(&batches[0].targets), "...... 7\n....... 2\n");
}

#[test]
fn packing_keeps_every_problem_in_order() {
    let batches = packed(&["3 + 4 =", "1 + 1 =", "2 + 2 =", "5 + 0 =", "8 / 2 ="], 18);
    assert_eq!(batches.len(), 5);
    let all: String = batches.iter().map(|batch| text(&batch.inputs)).collect();
    assert_eq!(all, "3 + 4 = 7\n1 + 1 = 2\n2 + 2 = 4\n5 + 0 = 5\n8 / 2 = 4\n");
}

#[test]
fn a_problem_longer_than_a_row_is_refused() {
    let problem: Problem = "99 * 99 =".parse().unwrap();
    let error = source(0).push(&mut Row::default(), &problem, 10).unwrap_err();
    assert!(error.to_string().contains("99 * 99 = 9801"), "{error}");
}

#[test]
fn rows_too_short_for_some_problem_are_refused_before_one_is_drawn() {
    assert!(source(0).batch(0, 1, 14).is_ok());
    let error = source(0).batch(0, 1, 13).unwrap_err();
    assert_eq!(error.exit_status(), 2);
    assert!(error.to_string().contains("--seq-len 14 or more"), "{error}");
}

#[test]
fn a_batch_is_the_same_whatever_was_asked_before() {
    let asked_before = source(5);
    (0..20).for_each(|index| drop(asked_before.batch(index, 3, 50).unwrap()));
    assert_eq!(asked_before.batch(1_000_000_007, 8, 64).unwrap(), source(5).batch(1_000_000_007, 8, 64).unwrap());
}

#[test]
fn seeds_and_indices_give_different_batches() {
    let batch = |seed, index| source(seed).batch(index, 4, 64).unwrap();
    assert_ne!(batch(5, 7), batch(6, 7));
    assert_ne!(batch(5, 7), batch(5, 8));
}

#[test]
fn smaller_batches_are_the_same_rows() {
    let whole = source(5).batch(3, 8, 64).unwrap();
    let halves = [6, 7].map(|index| source(5).batch(index, 4, 64).unwrap());
    assert_eq!(whole.inputs, [halves[0].inputs.clone(), halves[1].inputs.clone()].concat());
    assert_eq!(whole.targets, [halves[0].targets.clone(), halves[1].targets.clone()].concat());
}

/// The problems of 2,000 rows, read from their text.
fn drawn() -> Vec<Problem> {
    let source = source(11);
    let batches = (0..100).map(|index| source.batch(index, 20, 64).unwrap());
    let rows: Vec<String> = batches.flat_map(|batch| batch.inputs.chunks(64).map(text).collect::<Vec<_>>()).collect();
    let lines = rows.iter().flat_map(|row| row.lines());
    lines.map(|line| line.split_inclusive('=').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn training_never_sees_a_held_out_pair() {
    let drawn = drawn();
    assert!(drawn.len() > 8_000, "{}", drawn.len());
    assert!(!drawn.iter().any(|problem| is_held_out(problem.left(), problem.right(), 10)));
}

#[test]
fn operators_are_asked_by_their_shares_and_operands_are_spread_evenly() {
    let drawn = drawn();
    let mut counts: HashMap<Operator, f64> = HashMap::new();
    drawn.iter().for_each(|problem| *counts.entry(problem.operator()).or_default() += 1.0 / drawn.len() as f64);
    for (operator, share) in [(Operator::Add, 0.125), (Operator::Subtract, 0.125), (Operator::Multiply, 0.5), (Operator::Divide, 0.25)] {
        // Longer lines are left out at a row's end a little more often.
        assert!((counts[&operator] - share).abs() < 0.025, "{counts:?}");
    }
    let mean = drawn.iter().map(|problem| f64::from(problem.left())).sum::<f64>() / drawn.len() as f64;
    assert!((mean - 49.5).abs() < 2.0, "{mean}");
}

#[test]
fn each_row_is_whole_lines_then_padding() {
    let batch = source(2).batch(0, 50, 64).unwrap();
    for (inputs, targets) in batch.inputs.chunks(64).zip(batch.targets.chunks(64)) {
        let last = targets.iter().rposition(|&target| target != IGNORED_TARGET).unwrap();
        assert!(last + 1 > 64 - 15 && text(&targets[last..=last]) == "\n");
        assert!(inputs.iter().skip(last + 2).all(|&input| input == i64::from(PAD_ID)));
    }
}

#[test]
fn the_first_rows_never_change() {
    assert_eq!(text(&source(1).batch(0, 1, 48).unwrap().inputs), FIRST_ROW);
}

#[test]
fn the_fingerprint_follows_the_distribution_and_not_the_seed() {
    let of = |config: &ArithmeticConfig, seed| ArithmeticSource::new(config, &tokenizer(), seed).unwrap().fingerprint();
    let fingerprint = of(&config(), 1);
    assert_eq!(fingerprint, of(&config(), 2));
    let same_ratios = OperatorShares { add: 0.5, subtract: 0.5, multiply: 2.0, divide: 1.0 };
    assert_eq!(fingerprint, of(&ArithmeticConfig { operators: same_ratios, ..config() }, 1));
    let other_ratios = OperatorShares { add: 2.0, ..config().operators };
    let others = [
        ArithmeticConfig { largest_operand: 98, ..config() },
        ArithmeticConfig { held_out_percent: 11, ..config() },
        ArithmeticConfig { operators: other_ratios, ..config() },
    ];
    assert!(others.iter().all(|other| of(other, 1) != fingerprint));
}

#[test]
fn a_tokenizer_that_lacks_a_character_is_refused() {
    let error = ArithmeticSource::new(&config(), &Tokenizer::characters("\n 0123456789+-*/", 32).unwrap(), 1).unwrap_err();
    assert!(error.to_string().contains("'='"), "{error}");
}

/// Recorded when the draw was made; a change would give resumed runs other data.
const FIRST_ROW: &str = "25 * 86 = 2150\n86 + 36 = 122\n37 * 71 = 2627\n";
