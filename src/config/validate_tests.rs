//! Claims about values that cannot be meant: each is refused under its own key, with a cure.

use super::*;
use crate::config::example::experiment;
use crate::config::{DataConfig, SecondStage};

/// The message after a change, which has to make the experiment invalid.
fn refused(change: impl FnOnce(&mut Experiment)) -> String {
    let mut experiment = experiment();
    change(&mut experiment);
    let error = experiment.validate().expect_err("the change should be refused");
    assert!(error.hint_text().is_some() && error.exit_status() == 2, "{error}");
    error.to_string()
}

fn arithmetic(experiment: &mut Experiment) -> &mut crate::config::ArithmeticConfig {
    let DataConfig::Arithmetic(arithmetic) = &mut experiment.data else { panic!("no problems") };
    arithmetic
}

fn stage(experiment: &mut Experiment) -> &mut SecondStage {
    experiment.train.schedule.second_stage.as_mut().unwrap()
}

#[test]
fn a_message_names_key_value_rule_and_cure() {
    assert_eq!(
        refused(|it| it.model.hidden_size = 258),
        "`model.hidden_size` is 258: it is not divisible by model.num_attention_heads = 4\nhint: take a multiple of 4, such as 256"
    );
    assert_eq!(
        refused(|it| it.model.hidden_size = 260),
        "`model.num_attention_heads` is 4: heads of 65 are odd, and rotary positions turn pairs\nhint: take a number that leaves an even head size"
    );
    assert_eq!(
        refused(|it| it.train.seq_len = 128),
        "`train.seq_len` is 128: the model has only model.max_position_embeddings = 64\n\
         hint: --seq-len 64, or --set model.max_position_embeddings=128"
    );
    assert_eq!(
        refused(|it| it.train.seq_len = 14),
        "`train.seq_len` is 14: one problem such as \"99 * 99 = 9801\\n\" has 15 tokens\nhint: take longer sequences or smaller operands"
    );
    assert_eq!(refused(|it| it.model.vocab_size = 16), "`model.vocab_size` is 16: the tokenizer has 21 tokens\nhint: take 32 or more");
    assert_eq!(
        refused(|it| it.sampling.prompts = vec!["2 ^ 3".into()]),
        "`sampling.prompts` is \"2 ^ 3\": the tokenizer does not know '^'\nhint: write it as problems are: \"25 + 17 =\""
    );
}

type Change = fn(&mut Experiment);

fn assert_refused_under(cases: &[(&str, Change)]) {
    for (key, change) in cases {
        let message = refused(change);
        assert!(message.starts_with(&format!("`{key}` is ")), "expected {key}, got {message}");
    }
}

#[test]
fn each_value_of_the_model_is_refused_under_its_own_key() {
    assert_refused_under(&[
        ("experiment", |it| it.experiment = "../up".into()),
        ("experiment", |it| it.experiment = String::new()),
        ("experiment", |it| it.experiment = "x".repeat(37)),
        ("model.vocab_size", |it| it.model.vocab_size = 0),
        ("model.hidden_size", |it| it.model.hidden_size = 0),
        ("model.intermediate_size", |it| it.model.intermediate_size = usize::MAX),
        ("model.num_hidden_layers", |it| it.model.num_hidden_layers = 0),
        ("model.num_attention_heads", |it| it.model.num_attention_heads = 0),
        ("model.num_key_value_heads", |it| it.model.num_key_value_heads = 0),
        ("model.num_key_value_heads", |it| it.model.num_key_value_heads = 8),
        ("model.max_position_embeddings", |it| it.model.max_position_embeddings = 0),
        ("model.rope_theta", |it| it.model.rope_theta = 0.0),
        ("model.rms_norm_eps", |it| it.model.rms_norm_eps = f64::NAN),
        ("model.initializer_range", |it| it.model.initializer_range = -0.02),
    ]);
}

#[test]
fn each_value_of_the_run_is_refused_under_its_own_key() {
    assert_refused_under(&[
        ("train.num_steps", |it| it.train.num_steps = 0),
        ("train.batch_size", |it| it.train.batch_size = 0),
        ("train.accumulation_steps", |it| it.train.accumulation_steps = 0),
        ("train.seq_len", |it| it.train.seq_len = 0),
        ("train.max_grad_norm", |it| it.train.max_grad_norm = 0.0),
        ("train.max_skipped_steps", |it| it.train.max_skipped_steps = 0),
        ("train.optimizer.learning_rate", |it| it.train.optimizer.learning_rate = 0.0),
        ("train.optimizer.learning_rate", |it| it.train.optimizer.learning_rate = f64::INFINITY),
        ("train.optimizer.beta1", |it| it.train.optimizer.beta1 = 1.0),
        ("train.optimizer.beta2", |it| it.train.optimizer.beta2 = -0.1),
        ("train.optimizer.epsilon", |it| it.train.optimizer.epsilon = 0.0),
        ("train.optimizer.weight_decay", |it| it.train.optimizer.weight_decay = -0.1),
        ("train.optimizer.weight_decay", |it| it.train.optimizer.weight_decay = 500.0),
        ("train.schedule.warmup_steps", |it| it.train.schedule.warmup_steps = 2400),
        ("train.schedule.quantization_blend_steps", |it| it.train.schedule.quantization_blend_steps = 2400),
        ("train.schedule.second_stage.start", |it| stage(it).start = 0.0),
        ("train.schedule.second_stage.start", |it| stage(it).start = 1.0),
        ("train.schedule.second_stage.learning_rate", |it| stage(it).learning_rate = f64::NAN),
        ("train.schedule.second_stage.weight_decay", |it| stage(it).weight_decay = f64::NAN),
        ("data.arithmetic.largest_operand", |it| arithmetic(it).largest_operand = 0),
        ("data.arithmetic.largest_operand", |it| arithmetic(it).largest_operand = u32::MAX),
        ("data.arithmetic.held_out_percent", |it| arithmetic(it).held_out_percent = 0),
        ("data.arithmetic.held_out_percent", |it| arithmetic(it).held_out_percent = 91),
        ("data.arithmetic.held_out_percent", |it| arithmetic(it).largest_operand = 1),
        ("data.arithmetic.operators.add", |it| arithmetic(it).operators.add = -1.0),
        ("data.arithmetic.operators.divide", |it| arithmetic(it).operators.divide = f64::NAN),
        ("data.arithmetic.operators", |it| {
            arithmetic(it).operators = crate::config::OperatorShares { add: 0.0, subtract: 0.0, multiply: 0.0, divide: 0.0 }
        }),
        ("evaluation.num_examples", |it| it.evaluation.num_examples = 0),
        ("sampling.prompts", |it| it.sampling.prompts.push(String::new())),
        ("sampling.prompts", |it| it.sampling.max_new_tokens = 60),
        ("sampling.max_new_tokens", |it| it.sampling.max_new_tokens = 0),
        ("sampling.modes", |it| it.sampling.modes.clear()),
        ("sampling.modes[0].name", |it| it.sampling.modes[0].name.clear()),
        ("sampling.modes[0].name", |it| it.sampling.modes[0].name = "a/b".into()),
        ("sampling.modes[1].name", |it| it.sampling.modes.push(it.sampling.modes[0].clone())),
        ("sampling.modes[0].temperature", |it| it.sampling.modes[0].temperature = -0.1),
        ("sampling.modes[0].temperature", |it| it.sampling.modes[0].temperature = f64::NAN),
        ("sampling.modes[0].top_p", |it| it.sampling.modes[0].top_p = 0.0),
        ("sampling.modes[0].top_p", |it| it.sampling.modes[0].top_p = 1.1),
        ("checkpoints.every", |it| it.checkpoints.every = 0),
        ("checkpoints.keep_last", |it| it.checkpoints.keep_last = 0),
    ]);
}

/// An independent count: every problem written out.
#[test]
fn the_longest_problem_is_the_longest_of_all() {
    for largest in [1_i64, 7, 9, 10, 11, 42, 99, 100, 120] {
        for operator in 0..4 {
            let share = |index| if index == operator { 1.0 } else { 0.0 };
            let operators = crate::config::OperatorShares { add: share(0), subtract: share(1), multiply: share(2), divide: share(3) };
            let config = crate::config::ArithmeticConfig { largest_operand: largest as u32, held_out_percent: 10, operators };
            let pairs = (0..=largest).flat_map(|a| (i64::from(operator == 3)..=largest).map(move |b| (a, b)));
            let answers = pairs.map(|(a, b)| match operator {
                0 => format!("{a} + {b} = {}\n", a + b),
                1 => format!("{a} - {b} = {}\n", a - b),
                2 => format!("{a} * {b} = {}\n", a * b),
                _ => format!("{a} / {b} = {}\n", a / b),
            });
            let longest = answers.map(|text| text.len()).max().unwrap();
            assert_eq!(config.longest_problem().len(), longest, "operator {operator} up to {largest}");
        }
    }
}

#[test]
fn what_is_unlikely_but_possible_is_a_warning() {
    let mut unlikely = experiment();
    unlikely.train.optimizer.learning_rate = 1e-4;
    arithmetic(&mut unlikely).largest_operand = 9;
    assert!(unlikely.validate().is_ok());
    assert_eq!(
        unlikely.warnings(),
        [
            "train.schedule.second_stage.learning_rate is 0.0013, above the first stage's 0.0001",
            "evaluation.num_examples is 500, but only about 10 operand pairs are held out"
        ]
    );
}
