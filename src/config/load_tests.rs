//! Claims about `load` and `check`: what a user reads for each mistake in a file, and that what is written loads back.

use super::*;
use crate::config::SamplingMode;
use crate::config::example::{TEXT, experiment};

/// The error for the example with `from` replaced by `to`.
fn error_after(from: &str, to: &str) -> String {
    assert!(TEXT.contains(from), "the example has no {from:?}");
    Experiment::from_yaml(&TEXT.replacen(from, to, 1), "config.yaml").unwrap_err().to_string()
}

/// Line and column of the first `text` in the example, as editors count.
fn place(text: &str) -> String {
    let before = &TEXT[..TEXT.find(text).unwrap()];
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    format!("config.yaml:{}:{}", before.matches('\n').count() + 1, before.len() - start + 1)
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_key() {
    let expected = format!(
        "{}: unknown key `train.optimizer.lerning_rate`\nhint: the nearest key is `train.optimizer.learning_rate`",
        place("learning_rate: 2.0e-3")
    );
    assert_eq!(error_after("learning_rate: 2.0e-3", "lerning_rate: 2.0e-3"), expected);
}

#[test]
fn a_key_in_the_wrong_section_is_told_where_it_belongs() {
    let expected = format!("{}: unknown key `model.seq_len`\nhint: there is `train.seq_len`", place("rope_theta"));
    assert_eq!(error_after("rope_theta: 10000.0", "seq_len: 64"), expected);
}

#[test]
fn a_key_like_no_other_gets_the_list() {
    let expected = format!(
        "{}: unknown key `checkpoints.zzz`\nhint: `checkpoints` has the keys `every`, `keep_last`, `at_stage_switch`",
        place("keep_last")
    );
    assert_eq!(error_after("keep_last", "zzz"), expected);
}

#[test]
fn a_missing_key_is_named_with_its_section() {
    let message = error_after("num_steps: 2400", "# num_steps");
    let expected = "the key `train.num_steps` is missing\nhint: add `num_steps` to the section `train`: a whole number";
    // The section begins where its first key stands.
    assert_eq!(message, format!("{}: {expected}", place("batch_size")));
}

#[test]
fn a_missing_top_level_key_is_named() {
    let message = error_after("seed: 1  ", "# ");
    assert!(message.contains(": the key `seed` is missing\nhint: add `seed` at the top level: a whole number"), "{message}");
}

#[test]
fn a_key_written_twice_is_refused_at_its_second_place() {
    let expected = format!("{}: the key `train.batch_size` is there twice\nhint: keep one of the two", place("accumulation_steps"));
    assert_eq!(error_after("accumulation_steps: 1 ", "batch_size: 32 "), expected);
}

#[test]
fn a_wrong_type_shows_value_and_expectation() {
    let at = |text: &str, ahead: usize| {
        let place = place(text);
        let (start, column) = place.rsplit_once(':').unwrap();
        format!("{start}:{}", column.parse::<usize>().unwrap() + ahead)
    };
    let steps = at("num_steps: 2400", "num_steps: ".len());
    let cases = [
        ("num_steps: 2400", "num_steps: many", format!("{steps}: `train.num_steps` is \"many\", expected a whole number")),
        (
            "num_steps: 2400",
            "num_steps: -5",
            format!("{steps}: `train.num_steps` is -5, expected a whole number\nhint: it cannot be negative"),
        ),
        ("num_steps: 2400", "num_steps: 1e3", format!("{steps}: `train.num_steps` is 1000, expected a whole number\nhint: write 1000")),
        ("num_steps: 2400", "num_steps: [1]", format!("{steps}: `train.num_steps` is a list, expected a whole number")),
        ("num_steps: 2400", "num_steps: {a: 1}", format!("{steps}: `train.num_steps` is a section, expected a whole number")),
        ("num_steps: 2400", "num_steps: ~", format!("{steps}: `train.num_steps` is empty, expected a whole number")),
        (
            "num_steps: 2400",
            "num_steps: \"5\"",
            format!(
                "{steps}: `train.num_steps` is \"5\", expected a whole number\nhint: write the number without quotes and leading zeros"
            ),
        ),
        (
            "experiment: arithmetic",
            "experiment: 2026",
            "config.yaml:4:13: `experiment` is 2026, expected text\nhint: put it in quotes".to_string(),
        ),
        (
            "sub_norms: true",
            "sub_norms: yes",
            format!("{}: `model.sub_norms` is \"yes\", expected true or false", at("sub_norms: true", "sub_norms: ".len())),
        ),
        ("[\"25 + 17 =\",", "[25,", format!("{}: `sampling.prompts[0]` is 25, expected text\nhint: put it in quotes", at("[\"25", 1))),
        (
            "top_p: 1.0",
            "top_q: 1.0",
            format!("{}: unknown key `sampling.modes[0].top_q`\nhint: the nearest key is `sampling.modes[0].top_p`", at("top_p: 1.0", 0)),
        ),
        (
            "top_k: 0, top_p",
            "top_p",
            "config.yaml:78:7: the key `sampling.modes[0].top_k` is missing\nhint: add `top_k` to the section `sampling.modes[0]`: a whole number".to_string(),
        ),
        (
            "top_p: 1.0",
            "top_p: 1.5",
            format!("{}: `sampling.modes[0].top_p` is 1.5: it must be above 0 and at most 1\nhint: 1 lets all tokens be candidates", at("top_p: 1.0", 0)),
        ),
    ];
    for (from, to, expected) in cases {
        assert_eq!(error_after(from, to), expected, "{to}");
    }
}

#[test]
fn numbers_that_are_not_finite_or_too_large_are_refused() {
    for written in [".nan", ".inf", "-.inf"] {
        let message = error_after("rope_theta: 10000.0", &format!("rope_theta: {written}"));
        assert!(message.contains("expected a number\nhint: infinity and NaN are not allowed"), "{message}");
    }
    let message = error_after("largest_operand: 99", "largest_operand: 5000000000");
    assert!(message.ends_with("expected a whole number\nhint: it can be at most 4294967295"), "{message}");
    let message = error_after("seed: 1", "seed: 99999999999999999999");
    assert!(message.ends_with("expected a whole number\nhint: it can be at most 18446744073709551615"), "{message}");
}

#[test]
fn a_wrong_word_gets_the_words_and_the_nearest_one() {
    let message = error_after("precision: bfloat16", "precision: bfloat");
    let expected = "config.yaml:7:12: `precision` is \"bfloat\", expected one of `float32`, `bfloat16`\nhint: did you mean `bfloat16`?";
    assert_eq!(message, expected);
    let message = error_after("weights: ternary_absmean", "weights: ternary");
    assert!(
        message.ends_with(
            "`model.bit_linear.weights` is \"ternary\", expected one of `ternary_absmean`, `sign`, `none`\nhint: did you mean `ternary_absmean`?"
        ),
        "{message}"
    );
}

#[test]
fn errors_inside_tagged_data_have_their_own_place() {
    let expected = format!(
        "{}: unknown key `data.arithmetic.operators.multipli`\nhint: the nearest key is `data.arithmetic.operators.multiply`",
        place("multiply: 0.15")
    );
    assert_eq!(error_after("multiply: 0.15", "multipli: 0.15"), expected);
    let message = error_after("  arithmetic:\n", "  arithmetik:\n");
    assert_eq!(message, format!("{}: unknown key `data.arithmetik`\nhint: the nearest key is `data.arithmetic`", place("arithmetic:\n")));
    let data = &TEXT[TEXT.find("data:\n").unwrap()..TEXT.find("train:\n").unwrap()];
    let message = error_after(data, "data: arithmetic\n");
    assert!(
        message.contains("`data` is \"arithmetic\", expected one of `arithmetic`, `text`\nhint: `arithmetic` is a key over a section"),
        "{message}"
    );
    let message = error_after(data, "data: {}\n");
    assert!(message.ends_with("`data` has 0 keys, expected exactly one of `arithmetic`, `text`"), "{message}");
}

#[test]
fn what_is_no_yaml_is_refused_with_its_line() {
    let message = error_after("model:\n", "model: [\n");
    assert!(message.starts_with("config.yaml:") && message.contains(": this is no valid YAML: "), "{message}");
    let message = error_after("model:\n", "model: 5\nother:\n");
    assert!(
        message.starts_with("config.yaml:10:8: `model` is 5, expected a section\nhint: its keys are `vocab_size`, `hidden"),
        "{message}"
    );
    for text in ["", "just text", "[1, 2]", "42", "a: 1\n---\nb: 2\n", "!tag {a: 1}", "\u{0}", "? [a]\n: 1\n"] {
        let error = Experiment::from_yaml(text, "config.yaml").unwrap_err();
        assert_eq!(error.exit_status(), 2, "{text:?}: {error}");
    }
}

#[test]
fn alias_bombs_and_huge_files_are_refused_before_parsing() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_string();
    for (letter, before) in ('b'..='j').zip('a'..) {
        let aliases = vec![format!("*{before}"); 9].join(", ");
        bomb.push_str(&format!("{letter}: &{letter} [{aliases}]\n"));
    }
    let message = Experiment::from_yaml(&bomb, "bomb.yaml").unwrap_err().to_string();
    assert_eq!(message, "bomb.yaml: 81 aliases, more than 16\nhint: write the values out");
    let huge = format!("{TEXT}\n#{}", " ".repeat(256 * 1024));
    let message = Experiment::from_yaml(&huge, "huge.yaml").unwrap_err().to_string();
    assert_eq!(message, "huge.yaml: larger than 262144 bytes, which no config is");
    let deep = "[".repeat(200_000);
    assert!(Experiment::from_yaml(&deep, "deep.yaml").is_err());
}

#[test]
fn a_value_that_cannot_be_meant_is_reported_at_its_key() {
    let message = error_after("num_key_value_heads: 4", "num_key_value_heads: 3");
    let expected = format!(
        "{}: `model.num_key_value_heads` is 3: it does not divide model.num_attention_heads = 4\nhint: take a divisor of 4",
        place("num_key_value_heads")
    );
    assert_eq!(message, expected);
}

#[test]
fn a_written_experiment_loads_back_the_same() {
    let mut variants = vec![experiment()];
    for index in 0..40_u32 {
        let mut other = experiment();
        other.seed = u64::MAX - u64::from(index);
        other.train.optimizer.learning_rate = 0.1 / (1.0 + f64::from(index) / 3.0);
        other.model.rope_theta = 1.0 + 1e5 * f64::from(index).sqrt();
        other.model.rms_norm_eps = 1e-3 / 7_f64.powi(index as i32 % 12);
        other.train.schedule.second_stage = other.train.schedule.second_stage.filter(|_| index % 2 == 0);
        other.sampling.prompts = [vec![], vec!["\n".into(), "7 * 8 =".into(), "12".into()]][index as usize % 2].clone();
        let hot = SamplingMode { name: "hot".into(), temperature: 1.5, top_k: 10, top_p: 1.0 - f64::from(index) / 100.0 };
        other.sampling.modes.extend((index % 3 == 0).then_some(hot));
        other.experiment = ["true", "1e3", "a.b", "null"][index as usize % 4].to_string();
        variants.push(other);
    }
    for variant in variants {
        let text = variant.to_yaml().unwrap();
        assert_eq!(Experiment::from_yaml(&text, "written").unwrap(), variant, "{text}");
    }
}

#[test]
fn a_directory_and_a_file_are_both_accepted_and_a_wrong_name_gets_the_nearest() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, TEXT).unwrap();
    for path in [directory.path(), file.as_path()] {
        let resolved = resolve(path, &Overrides::default()).unwrap();
        assert_eq!((resolved.experiment, resolved.config_path, resolved.warnings), (experiment(), file.clone(), Vec::new()));
    }
    // Tests run in the root of the crate, where experiments/ is.
    assert_eq!(load("arithmetic", &Overrides::default()).unwrap(), load("experiments/arithmetic", &Overrides::default()).unwrap());
    let message = load("aritmetic", &Overrides::default()).unwrap_err().to_string();
    assert_eq!(message, "aritmetic: no config.yaml there, and no experiment of that name\nhint: did you mean `arithmetic`?");
}

#[test]
fn every_experiment_of_the_project_loads_and_estimates() {
    let mut names = experiment_names();
    assert!(names.contains(&"arithmetic".to_string()));
    for name in names.drain(..) {
        let resolved = resolve(&name, &Overrides::default()).unwrap();
        assert_eq!(resolved.warnings, Vec::<String>::new(), "{name}");
        assert_eq!(resolved.experiment.experiment, name, "an experiment is called as its directory");
        assert!(resolved.experiment.estimate().memory_bytes > 0);
    }
}
