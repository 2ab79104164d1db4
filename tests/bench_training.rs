//! The parts of `just bench-training` that compute: figures, tables, CSV, and the configs that both sides read. The benchmark itself
//! needs PyTorch and minutes, so no test runs it.

#[path = "../benches/training/measurement.rs"]
mod measurement;
#[cfg(feature = "torch")]
#[path = "../benches/training/operators.rs"]
mod operators;

use bitnet::config::{Overrides, load};
use measurement::{EARLY_TOLERANCE, Measurement, Row, TOLERANCE, Turn, disagreement, quantile, table, write_csv};
use std::path::Path;

/// The figures of a variant that took 25 steps: two that warmed up, then some of 1, 2 and 4 seconds.
fn measured(variant: &str, loss: f64) -> Row {
    let mut measurement = Measurement { peak_memory_bytes: Some(1_500_000_000), ..Measurement::default() };
    measurement.add(Turn { seconds: vec![90.0, 10.0], losses: vec![9.0, 8.0] }, true);
    let losses = (3..=25).map(|step| loss + f64::from(20 - step)).collect();
    measurement.add(Turn { seconds: vec![4.0, 2.0, 1.0, 2.0, 2.0], losses }, false);
    measurement.row("small", variant, 1, 2, 1000)
}

#[test]
fn quantiles_lie_between_the_values() {
    assert_eq!([0.0, 0.25, 0.5, 1.0].map(|share| quantile(&[3.0, 1.0, 2.0, 5.0, 4.0], share)), [1.0, 2.0, 3.0, 5.0]);
    assert_eq!(quantile(&[1.0, 2.0], 0.5), 1.5);
    assert_eq!(quantile(&[7.0], 0.75), 7.0);
    assert!(quantile(&[], 0.5).is_nan());
}

#[test]
fn steps_that_warm_up_count_for_the_loss_alone() {
    let row = measured("ours float32", 2.5);
    assert_eq!((row.timed_steps, row.tokens_per_second, row.loss_step, row.loss), (5, 500.0, 20, 2.5));
    let short = Measurement { losses: vec![3.0, 2.0], ..Measurement::default() }.row("small", "ours", 1, 2, 1000);
    assert_eq!((short.loss_step, short.loss), (2, 2.0));
    assert!(Measurement::default().row("small", "ours", 1, 2, 1000).loss.is_nan());
}

#[test]
fn the_table_compares_each_variant_with_the_first() {
    let slower = Row { tokens_per_second: 250.0, peak_memory_bytes: None, ..measured("PyTorch eager float32", 2.5) };
    let expected = "\
| small                 | tokens/s | middle half of steps | first is faster by | peak memory | loss at step 20 |
| --------------------- | -------: | -------------------: | -----------------: | ----------: | --------------: |
| ours float32          |      500 |           500 to 500 |             1.00 x |     1.50 GB |          2.5000 |
| PyTorch eager float32 |      250 |           500 to 500 |             2.00 x |     unknown |          2.5000 |
";
    assert_eq!(table(&[measured("ours float32", 2.5), slower]), expected);
    assert_eq!(table(&[]), "");
}

#[test]
fn the_csv_has_a_named_column_for_every_figure() {
    let mut bytes = Vec::new();
    write_csv(&[measured("ours float32", 2.5)], &mut bytes).unwrap();
    let expected = "\
config,variant,threads,group,timed_steps,tokens_per_second,lower_quartile,upper_quartile,peak_memory_bytes,second_loss,loss_step,loss
small,ours float32,2,1,5,500.0,500.0,500.0,1500000000,8.0,20,2.5
";
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

#[test]
fn variants_that_learn_differently_are_told() {
    let rows = |theirs| [measured("ours bfloat16", 2.5), measured("PyTorch compiled float32", theirs)];
    assert_eq!(disagreement(&rows(2.5 + 0.9 * TOLERANCE)), None);
    let told = disagreement(&rows(2.5 - 1.1 * TOLERANCE)).unwrap();
    let expected =
        "small: losses at steps 2 and 20 are too far from 8.0000 and 2.5000 (ours bfloat16): 8.0000 and 2.3900 (PyTorch compiled float32)";
    assert_eq!(told, expected);
    let wrong_gradient = Row { second_loss: 8.0 + 1.1 * EARLY_TOLERANCE, ..measured("PyTorch compiled float32", 2.5) };
    assert!(disagreement(&[measured("ours bfloat16", 2.5), wrong_gradient]).is_some());
    assert!(disagreement(&rows(f64::NAN)).is_some());
    assert_eq!(disagreement(&[]), None);
}

#[test]
fn the_configs_are_of_5_12_and_95_million_parameters() {
    let shape = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/training/{name}.yaml"));
        let experiment = load(path, &Overrides::default()).unwrap();
        assert_eq!(experiment.experiment, name);
        let (model, train) = (&experiment.model, &experiment.train);
        (model.num_parameters(), [train.accumulation_steps, train.batch_size, train.seq_len])
    };
    assert_eq!(shape("arithmetic"), (5_129_472, [1, 64, 64]));
    assert_eq!(shape("tinystories"), (12_203_904, [1, 32, 256]));
    assert_eq!(shape("baseline"), (95_398_656, [2, 16, 256]));
}

#[test]
fn the_small_config_has_the_model_of_the_arithmetic_experiment() {
    let load = |path: &str| load(Path::new(env!("CARGO_MANIFEST_DIR")).join(path), &Overrides::default()).unwrap().model;
    assert_eq!(load("benches/training/arithmetic.yaml"), load("experiments/arithmetic/config.yaml"));
}

#[cfg(feature = "torch")]
#[test]
fn operators_are_listed_by_share_and_the_rest_is_summed_up() {
    use bitnet::libtorch::profile::OperatorTime;
    use std::time::Duration;
    let operator = |name: &str, millis, calls| OperatorTime { name: name.to_owned(), own_time: Duration::from_millis(millis), calls };
    let gate = "torch::autograd::CppNode<(anonymous namespace)::SquaredReluGate>";
    let operators = [operator("aten::mm", 600, 40), operator(gate, 100, 4), operator("aten::view", 2, 80), operator("aten::t", 1, 20)];
    let expected = "\
| operator                 |  share | ms a step | calls a step |
| ------------------------ | -----: | --------: | -----------: |
| aten::mm                 | 60.0 % |    300.00 |           20 |
| SquaredReluGate backward | 10.0 % |     50.00 |            2 |
| 2 others                 |  0.3 % |      1.50 |           50 |
| outside operators        | 29.7 % |    148.50 |              |
";
    assert_eq!(operators::operator_table(&operators, Duration::from_secs(1), 2), expected);
}
