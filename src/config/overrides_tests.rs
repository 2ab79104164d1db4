//! Claims about flags: each is a key, contradictions are errors, and mistakes are named as in a file.

use super::*;
use crate::config::example::{TEXT, experiment};
use crate::config::{Attention, Experiment, LatentAttention, resolve, schema_keys};
use clap::Parser;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    overrides: Overrides,
}

fn parse(arguments: &[&str]) -> Overrides {
    Arguments::try_parse_from([&["program"], arguments].concat()).unwrap().overrides
}

fn run(arguments: &[&str]) -> Result<crate::config::Resolved> {
    resolve("tests/fixtures/example", &parse(arguments))
}

fn error(arguments: &[&str]) -> String {
    let error = run(arguments).unwrap_err();
    assert_eq!(error.exit_status(), 2);
    error.to_string()
}

#[test]
fn convenience_flags_are_nothing_but_keys() {
    let short = [
        "--num-steps",
        "500",
        "--batch-size",
        "8",
        "--seq-len",
        "32",
        "--learning-rate",
        "1.5e-3",
        "--seed",
        "7",
        "--device",
        "cpu",
        "--init-from",
        "2026",
    ];
    let long = [
        "train.num_steps=500",
        "train.batch_size=8",
        "train.seq_len=32",
        "train.optimizer.learning_rate=1.5e-3",
        "seed=7",
        "device=cpu",
        "init_from='2026'",
    ];
    let sets: Vec<&str> = long.iter().flat_map(|set| ["--set", set]).collect();
    let by_flag = run(&[&short[..], &["--precision", "f32"]].concat()).unwrap().experiment;
    let by_key = run(&[&sets[..], &["--set", "precision=float32"]].concat()).unwrap().experiment;
    assert_eq!(by_flag, by_key);
    let mut expected = experiment();
    expected.train.num_steps = 500;
    expected.train.batch_size = 8;
    expected.train.seq_len = 32;
    expected.train.optimizer.learning_rate = 1.5e-3;
    expected.seed = 7;
    expected.device = DeviceChoice::Cpu;
    expected.precision = Precision::Float32;
    expected.init_from = Some("2026".into());
    assert_eq!(by_flag, expected);
}

#[test]
fn both_forms_of_a_precision_are_understood() {
    for (written, meant) in
        [("f32", Precision::Float32), ("float32", Precision::Float32), ("bf16", Precision::Bfloat16), ("bfloat16", Precision::Bfloat16)]
    {
        assert_eq!(parse(&["--precision", written]).precision, Some(meant));
    }
}

#[test]
fn every_key_can_be_set_to_the_value_it_has() {
    let document: Value = serde_yaml::from_str(TEXT).unwrap();
    let others = ["model.attention.", "tokenizer.", "data.text."];
    let of_the_other_kind = |key: &crate::config::SchemaKey| others.iter().any(|kind| key.path.starts_with(kind));
    for key in schema_keys().unwrap().into_iter().filter(|key| !of_the_other_kind(key)) {
        let value = key.path.split('.').fold(&document, |value, name| &value[name]);
        let set = format!("{}={}", key.path, serde_json::to_string(value).unwrap());
        assert_eq!(run(&["--set", &set]).unwrap().experiment, experiment(), "{set}");
    }
}

#[test]
fn overridden_experiments_load_back_the_same_from_what_is_written() {
    for set in ["train.schedule.second_stage=null", "experiment=2026", "sampling.prompts=[]", "model.bit_linear.norm=inside", "seed=0x10"] {
        let resolved = run(&["--num-steps", "100", "--set", set]).unwrap().experiment;
        assert_eq!(Experiment::from_yaml(&resolved.to_yaml().unwrap(), "written").unwrap(), resolved, "{set}");
    }
}

#[test]
fn latent_attention_is_one_key_over_its_sizes() {
    let sizes = "q_lora_rank: null, kv_lora_rank: 64, qk_nope_head_dim: 32, qk_rope_head_dim: 16, v_head_dim: 48";
    let whole = format!("model.attention={{latent: {{{sizes}}}}}");
    let resolved = run(&["--set", &whole, "--set", "model.attention.latent.kv_lora_rank=128"]).unwrap().experiment;
    let expected = LatentAttention { q_lora_rank: None, kv_lora_rank: 128, qk_nope_head_dim: 32, qk_rope_head_dim: 16, v_head_dim: 48 };
    assert_eq!(resolved.model.attention, Attention::Latent(expected));
    assert_eq!(Experiment::from_yaml(&resolved.to_yaml().unwrap(), "written").unwrap(), resolved);
    for (change, part) in [
        ("model.attention.latent.qk_rope_head_dim=15", "it is odd"),
        ("model.attention.latent.kv_lora_rank=0", "it must be 1 to"),
        ("model.num_key_value_heads=2", "for each of model.num_attention_heads = 4"),
    ] {
        let message = error(&["--set", &whole, "--set", change]);
        assert!(message.starts_with(&format!("--set {change}: ")) && message.contains(part), "{message}");
    }
    assert!(error(&["--set", "model.attention=latent"]).contains("`latent` is a key over a section"));
}

#[test]
fn a_key_below_a_kind_chooses_it_in_any_notation() {
    let set = |value: &str| resolve("experiments/tinystories", &parse(&["--set", value])).unwrap().experiment.data.text().unwrap().held_out;
    let end = crate::config::HeldOut::EndOfEachDocumentPercent(5.0);
    assert_eq!(set("data.text.held_out.end_of_each_document_percent=5"), end);
    assert_eq!(set("data.text.held_out={end_of_each_document_percent: 5}"), end);
    assert_eq!(set("data.text.held_out=end_of_each_document_percent: 5"), end);
    let sizes = "{q_lora_rank: null, kv_lora_rank: 64, qk_nope_head_dim: 32, qk_rope_head_dim: 16, v_head_dim: 48}";
    let latent = run(&["--set", &format!("model.attention.latent={sizes}")]).unwrap().experiment.model.attention;
    assert!(matches!(latent, Attention::Latent(LatentAttention { kv_lora_rank: 64, .. })), "it takes the place of a bare name: {latent:?}");
    assert_eq!(run(&["--set", "tokenizer.file=a.json", "--set", "data.arithmetic.largest_operand=9"]).unwrap_err().exit_status(), 2);
}

#[test]
fn a_kind_that_is_written_otherwise_is_answered_with_the_notation() {
    let error = |arguments: &[&str]| resolve("experiments/tinystories", &parse(arguments)).unwrap_err().to_string();
    let notation = "--set data.text.held_out.end_of_each_document_percent=";
    for (value, hint) in [
        ("end_of_each_document_percent=5", format!("hint: {notation}5")),
        ("end_of_each_document_percent", format!("hint: `end_of_each_document_percent` is a key over a number: {notation}VALUE")),
        ("5", format!("hint: such as --set data.text.held_out.documents_percent=VALUE or {notation}VALUE")),
    ] {
        let message = error(&["--set", &format!("data.text.held_out={value}")]);
        assert!(message.ends_with(&hint), "{message}");
    }
    let both = ["--set", "data.text.held_out.documents_percent=1", "--set", "data.text.held_out.end_of_each_document_percent=5"];
    let message = error(&both);
    assert!(
        message.starts_with("`data.text.held_out` is of one kind, and two are chosen: --set data.text.held_out.documents"),
        "{message}"
    );
}

#[test]
fn a_short_run_gets_a_short_warm_up_and_a_warning() {
    let resolved = run(&["--num-steps", "100"]).unwrap();
    assert_eq!(resolved.experiment.train.schedule.warmup_steps, 10);
    assert_eq!(resolved.warnings, ["train.schedule.warmup_steps is 10 instead of 50, a tenth of the 100 steps"]);
    let resolved = run(&["--num-steps", "100", "--set", "train.schedule.warmup_steps=60"]).unwrap();
    assert_eq!((resolved.experiment.train.schedule.warmup_steps, resolved.warnings.len()), (60, 0), "a warm-up that was asked for stays");
    assert_eq!(run(&["--num-steps", "1"]).unwrap().experiment.train.schedule.warmup_steps, 0);
    let expected = "--set train.schedule.warmup_steps=100: `train.schedule.warmup_steps` is 100: the run has only train.num_steps = 100\n\
                    hint: take a tenth of the steps or less; 0 for none";
    assert_eq!(error(&["--num-steps", "100", "--set", "train.schedule.warmup_steps=100"]), expected);
}

#[test]
fn mistakes_in_a_flag_name_the_flag() {
    let cases = [
        ("train.num_step=5", "unknown key `train.num_step`\nhint: the nearest key is `train.num_steps`"),
        ("optimizer.learning_rate=1", "unknown key `optimizer.learning_rate`\nhint: there is `train.optimizer.learning_rate`"),
        ("tran.num_steps=1", "unknown key `tran.num_steps`\nhint: the nearest key is `train`"),
        ("seed.a=1", "unknown key `seed.a`\nhint: `seed` holds a whole number and has no keys"),
        ("train.num_steps=ten", "`train.num_steps` is \"ten\", expected a whole number"),
        ("train.num_steps=", "`train.num_steps` is empty, expected a whole number"),
        ("precision=bf16", "`precision` is \"bf16\", expected one of `float32`, `bfloat16`\nhint: did you mean `bfloat16`?"),
        ("train.num_steps=[", "the value is not valid YAML: "),
        ("train.num_steps", "expected KEY=VALUE\nhint: such as --set train.optimizer.learning_rate=1e-3"),
        ("=5", "the key is empty"),
        ("train.optimizer.learning_rate=-1", "`train.optimizer.learning_rate` is -1: it must be above 0 and at most 10\nhint: change it"),
        (
            "sampling.modes=[{name: hot, temperature: -1, top_k: 0, top_p: 1}]",
            "`sampling.modes[0].temperature` is -1: it must be 0 (the likeliest token always) to 100",
        ),
        (
            "data={arithmetic: {}}",
            "the key `data.arithmetic.largest_operand` is missing\nhint: add `largest_operand` to the section `data.arithmetic`: a whole number",
        ),
    ];
    for (set, expected) in cases {
        let message = error(&["--set", set]);
        assert!(message.starts_with(&format!("--set {set}: {expected}")), "{message}");
    }
    let message = error(&["--learning-rate", "inf"]);
    assert!(message.starts_with("--learning-rate .inf: `train.optimizer.learning_rate` is inf, expected a number"), "{message}");
}

#[test]
fn contradicting_flags_are_an_error_and_repeating_one_is_not() {
    let message = error(&["--num-steps", "100", "--set", "train.num_steps=200"]);
    assert_eq!(message, "`train.num_steps` is set twice: --num-steps 100 and --set train.num_steps=200\nhint: keep one of the two flags");
    assert!(run(&["--num-steps", "100", "--set", "train.num_steps=100"]).is_ok());
}

#[test]
fn sections_are_set_before_keys_inside_them_whatever_the_order() {
    let stage = "train.schedule.second_stage={start: 0.4, learning_rate: 1e-3, weight_decay: 0}";
    let resolved = run(&["--set", "train.schedule.second_stage.start=0.7", "--set", stage]).unwrap();
    let stage = resolved.experiment.train.schedule.second_stage.unwrap();
    assert_eq!((stage.start, stage.learning_rate), (0.7, 1e-3));
}

#[test]
fn a_key_inside_a_section_that_is_null_needs_the_others_too() {
    let directory = tempfile::tempdir().unwrap();
    let mut single = experiment();
    single.train.schedule.second_stage = None;
    std::fs::write(directory.path().join("config.yaml"), single.to_yaml().unwrap()).unwrap();
    let message = resolve(directory.path(), &parse(&["--set", "train.schedule.second_stage.start=0.7"])).unwrap_err().to_string();
    let expected = "config.yaml with --set train.schedule.second_stage.start=0.7: the key `train.schedule.second_stage.learning_rate` is missing\n\
                    hint: add `learning_rate` to the section `train.schedule.second_stage`: a number";
    assert!(message.ends_with(expected), "{message}");
}

#[test]
fn files_of_text_and_a_tokenizer_take_the_place_of_the_experiments() {
    let overrides = parse(&["--data", "a.txt", "b", "--tokenizer", "mine/tokenizer.json"]);
    let experiment = resolve("experiments/tinystories", &overrides).unwrap().experiment;
    let source = &experiment.data.text().unwrap().source;
    assert_eq!(*source, crate::config::TextSource::Files(vec!["a.txt".into(), "b".into()]));
    assert_eq!(experiment.tokenizer, crate::config::TokenizerConfig::File("mine/tokenizer.json".into()));
    let error = resolve("experiments/arithmetic", &parse(&["--data", "a.txt"])).unwrap_err();
    assert!(error.to_string().starts_with("--data: the experiment `arithmetic` learns no text"), "{error}");
    assert!(error.hint_text().unwrap().contains("tinystories"), "{error}");
}
