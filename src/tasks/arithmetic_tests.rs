//! Claims about arithmetic problems, the held-out pairs and the entropy floor, each against an enumeration of its own.

use super::*;
use std::collections::{HashMap, HashSet};

fn config(largest_operand: u32, held_out_percent: u32, shares: [f64; 4]) -> ArithmeticConfig {
    let [add, subtract, multiply, divide] = shares;
    ArithmeticConfig { largest_operand, held_out_percent, operators: OperatorShares { add, subtract, multiply, divide } }
}

fn task(largest_operand: u32, held_out_percent: u32, shares: [f64; 4]) -> Arithmetic {
    Arithmetic::new(&config(largest_operand, held_out_percent, shares)).unwrap()
}

fn problem(prompt: &str) -> Problem {
    prompt.parse().unwrap()
}

/// All problems of `operator` with operands up to 99, split by `is_held_out`: (held out, training).
fn split(operator: Operator, is_held_out: impl Fn(u32, u32) -> bool) -> (Vec<Problem>, Vec<Problem>) {
    let pairs = (0..100).flat_map(|left| (0..100).map(move |right| (left, right)));
    let problems = pairs.filter_map(|(left, right)| Problem::new(left, operator, right));
    problems.partition(|problem| is_held_out(problem.left(), problem.right()))
}

fn last_digits(problems: &[Problem]) -> [f64; 10] {
    let mut counts = [0.0; 10];
    problems.iter().for_each(|problem| counts[problem.value().rem_euclid(10) as usize] += 1.0);
    counts
}

/// Pearson's statistic that two samples come from one distribution; 9 degrees of freedom, so above 33.7 once in 10,000 times.
fn chi_square(first: [f64; 10], second: [f64; 10]) -> f64 {
    let (first_total, second_total): (f64, f64) = (first.iter().sum(), second.iter().sum());
    let share = first_total / (first_total + second_total);
    let both = first.into_iter().zip(second).filter(|(a, b)| a + b > 0.0);
    both.map(|(a, b)| (a - share * (a + b)).powi(2) / (share * (1.0 - share) * (a + b))).sum()
}

fn covers_the_last_digits(is_held_out: impl Fn(u32, u32) -> bool + Copy) -> bool {
    Operator::ALL.into_iter().all(|operator| {
        let (held_out, training) = split(operator, is_held_out);
        // A pair brings its mirror image along, which for + and * has the same answer: that doubles the statistic.
        chi_square(last_digits(&held_out), last_digits(&training)) < 2.0 * 33.7
    })
}

#[test]
fn last_digits_are_spread_alike_in_held_out_and_training_pairs() {
    assert!([1, 5, 10, 20, 50].into_iter().all(|percent| covers_the_last_digits(|left, right| is_held_out(left, right, percent))));
}

#[test]
fn a_rule_by_remainder_would_fail_that_claim() {
    assert!(!covers_the_last_digits(|left, right| (9 * left + 9 * right) % 10 == 0));
}

#[test]
fn training_meets_nearly_every_answer_that_is_held_out() {
    for operator in Operator::ALL {
        let (held_out, training) = split(operator, |left, right| is_held_out(left, right, 10));
        let known: HashSet<i128> = training.iter().map(Problem::value).collect();
        let covered = held_out.iter().filter(|problem| known.contains(&problem.value())).count() as f64 / held_out.len() as f64;
        // A third of all products arise from one pair and its mirror image alone, which are held out together.
        let least = if operator == Operator::Multiply { 0.6 } else { 0.99 };
        assert!(covered >= least, "{operator:?}: {covered}");
    }
}

#[test]
fn the_held_out_share_is_what_was_asked_for() {
    let count = |percent| split(Operator::Add, |left, right| is_held_out(left, right, percent)).0.len();
    // Five standard deviations of a binomial count are 150.
    assert!(count(10).abs_diff(1000) < 150, "{}", count(10));
    assert_eq!((count(0), count(100)), (0, 10_000));
}

#[test]
fn the_held_out_pairs_never_change() {
    let (held_out, _) = split(Operator::Add, |left, right| is_held_out(left, right, 10));
    let first: Vec<_> = held_out.iter().take(8).map(|problem| (problem.left(), problem.right())).collect();
    assert_eq!(first, FIRST_HELD_OUT);
}

#[test]
fn every_pair_is_on_one_side() {
    let task = task(30, 25, [1.0; 4]);
    for (operator, _) in task.asked() {
        let both: Vec<_> = task.training_pairs(operator).iter().chain(task.held_out_pairs(operator)).collect();
        let expected = if operator == Operator::Divide { 31 * 30 } else { 31 * 31 };
        assert_eq!((both.len(), both.iter().collect::<HashSet<_>>().len()), (expected, expected));
    }
}

#[test]
fn held_out_problems_are_a_seeded_sample_without_repeats() {
    let task = task(99, 10, [1.0, 1.0, 0.0, 1.0]);
    let sample = task.held_out_problems(3, 50);
    assert_eq!(sample, task.held_out_problems(3, 50));
    assert_ne!(sample, task.held_out_problems(4, 50));
    assert_eq!(sample.iter().collect::<HashSet<_>>().len(), 150);
    assert!(sample.iter().all(|problem| is_held_out(problem.left(), problem.right(), 10)));
    assert!(sample.iter().all(|problem| problem.operator() != Operator::Multiply));
}

#[test]
fn a_larger_sample_begins_with_the_smaller_one_and_all_is_the_most_there_are() {
    let task = task(20, 30, [1.0, 0.0, 0.0, 0.0]);
    let all = task.held_out_problems(1, usize::MAX);
    assert_eq!(all.len(), task.held_out_pairs(Operator::Add).len());
    assert_eq!(task.held_out_problems(1, 10), all[..10]);
}

#[test]
fn lines_prompts_and_answers_are_written_as_the_readme_shows_them() {
    let problem = problem("25 + 17 =");
    assert_eq!((problem.prompt(), problem.answer(), problem.line()), ("25 + 17 =".into(), "42".into(), "25 + 17 = 42\n".into()));
}

#[test]
fn answers_are_right() {
    let answers = ["3 - 17 =", "12 * 12 =", "7 / 2 =", "6 / 7 =", "0 / 5 =", "99 + 99 ="].map(|prompt| problem(prompt).answer());
    assert_eq!(answers, ["-14", "144", "3", "0", "0", "198"]);
    assert_eq!(problem("4294967295 * 4294967295").answer(), "18446744065119617025");
}

#[test]
fn a_prompt_is_read_with_or_without_spaces_and_equals_sign() {
    for prompt in ["25 + 17 =", "25+17=", " 25 + 17", "25 + 17 = \n"] {
        assert_eq!(problem(prompt), Problem::new(25, Operator::Add, 17).unwrap(), "{prompt:?}");
    }
}

#[test]
fn what_is_no_problem_is_refused_with_its_text() {
    for prompt in ["", "25", "25 +", "+ 17 =", "a + b =", "25 + 17 = 42", "1 + 2 + 3 =", "5 / 0 =", "4294967296 + 1 =", "é + 1 ="] {
        let error = prompt.parse::<Problem>().unwrap_err();
        assert_eq!(error.exit_status(), 2);
        assert!(error.to_string().contains(&format!("{prompt:?}")), "{error}");
    }
}

#[test]
fn every_problem_is_read_back_from_its_prompt() {
    let task = task(12, 0, [1.0; 4]);
    for (operator, _) in task.asked() {
        for &(left, right) in task.training_pairs(operator) {
            let written = Problem::new(left, operator, right).unwrap();
            assert_eq!(problem(&written.prompt()), written);
        }
    }
}

#[test]
fn the_check_takes_the_answer_up_to_its_newline_and_nothing_else() {
    let problem = problem("25 + 17 =");
    assert!([" 42\n", "42", " 42 ", " 42\n1 + 1 = 2\n", " 42<eos>7", "42\n\n"].iter().all(|text| check(&problem, text)));
    assert!(
        !["", " ", "\n42", " 420\n", " 4\n", " 4 2\n", " 042\n", " +42\n", " 42.\n", " = 42\n", "-42"]
            .iter()
            .any(|text| check(&problem, text))
    );
}

#[test]
fn the_task_asks_and_checks_like_the_problem() {
    let task = crate::tasks::Task::arithmetic(&config(99, 10, [1.0; 4])).unwrap();
    let question = task.question("3 - 17 =").unwrap();
    assert_eq!((question.group, question.answer.as_str()), ("subtract", "-14"));
    assert!(task.is_correct(&question, " -14\n") && !task.is_correct(&question, " 14\n"));
    assert_eq!(task.question("hello"), None);
    let questions = task.held_out_questions(1, 5);
    assert_eq!(questions.iter().map(|question| question.group).collect::<HashSet<_>>().len(), 4);
    assert!(questions.iter().all(|question| question.prompt.chars().all(|character| task.alphabet().contains(character))));
}

#[test]
fn the_entropy_floor_of_four_equal_lines_is_ln_4_over_their_length() {
    // 0 + 0 = 0, 0 + 1 = 1, 1 + 0 = 1, 1 + 1 = 2: ten characters each, the newline included.
    let floor = task(1, 0, [1.0, 0.0, 0.0, 0.0]).entropy_floor();
    assert!((floor - 4f64.ln() / 10.0).abs() < 1e-12, "{floor}");
}

/// The mean loss of a predictor that knows, for every prefix of a line, exactly how likely each next character is.
fn loss_of_the_perfect_predictor(lines: &[(String, f64)]) -> f64 {
    let mut mass: HashMap<&str, f64> = HashMap::new();
    for (line, probability) in lines {
        (0..=line.len()).for_each(|end| *mass.entry(&line[..end]).or_default() += probability);
    }
    let loss_of = |line: &str| (0..line.len()).map(|end| (mass[&line[..end]] / mass[&line[..end + 1]]).ln()).sum::<f64>();
    let nats: f64 = lines.iter().map(|(line, probability)| probability * loss_of(line)).sum();
    nats / lines.iter().map(|(line, probability)| probability * line.len() as f64).sum::<f64>()
}

#[test]
fn the_entropy_floor_is_the_loss_of_the_perfect_predictor() {
    let mut lines = vec![];
    for (operator, share) in Operator::ALL.into_iter().zip([0.5, 0.25, 0.0, 0.25]) {
        let pairs = (0..13).flat_map(|left| (0..13).map(move |right| (left, right)));
        let training = pairs.filter(|&(left, right)| !is_held_out(left, right, 20));
        let problems: Vec<_> = training.filter_map(|(left, right)| Problem::new(left, operator, right)).collect();
        lines.extend(problems.iter().map(|problem| (problem.line(), share / problems.len() as f64)));
    }
    lines.retain(|(_, probability)| *probability > 0.0);
    let floor = task(12, 20, [2.0, 1.0, 0.0, 1.0]).entropy_floor();
    assert!((floor - loss_of_the_perfect_predictor(&lines)).abs() < 1e-10, "{floor}");
}

#[test]
fn no_line_exceeds_the_longest() {
    for largest in [0, 1, 4, 9, 10, 31, 40, 99] {
        for shares in [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [1.0; 4]] {
            let task = task(largest.max(1), 0, shares);
            let pairs =
                |operator| task.training_pairs(operator).iter().filter_map(move |&(left, right)| Problem::new(left, operator, right));
            let longest = task.asked().flat_map(|(operator, _)| pairs(operator)).map(|problem| problem.line().len()).max().unwrap();
            assert!(longest <= task.longest_line() && task.longest_line() <= longest + 1, "{largest} {shares:?}: {longest}");
        }
    }
}

#[test]
fn a_config_that_cannot_be_trained_on_is_refused_by_its_key() {
    let cases = [
        (config(1000, 10, [1.0; 4]), "largest_operand is 1000"),
        (config(99, 100, [1.0; 4]), "held_out_percent is 100"),
        (config(0, 0, [1.0; 4]), "divide"),
        (config(99, 10, [0.0; 4]), "operators add up to 0"),
        (config(99, 10, [1.0, -1.0, 1.0, 1.0]), "operators.subtract is -1"),
        (config(99, 10, [1.0, 1.0, f64::NAN, 1.0]), "operators.multiply is NaN"),
    ];
    for (config, expected) in cases {
        let error = Arithmetic::new(&config).unwrap_err();
        assert!(error.exit_status() == 2 && error.to_string().contains(expected), "{error}");
    }
}

/// Recorded when the rule was made; a change would let resumed runs train on what they are judged by.
const FIRST_HELD_OUT: [(u32, u32); 8] = [(0, 25), (0, 35), (0, 50), (0, 54), (0, 56), (0, 73), (0, 82), (0, 97)];
