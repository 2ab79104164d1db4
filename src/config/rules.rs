//! The rules that a config's values obey, one function a section. Each problem names key, value and cure. In which order they are
//! asked, and how a problem becomes an error, is the business of `validate`.

use super::{Attention, Experiment, LatentAttention, ModelConfig, OptimizerConfig, SamplingConfig, SecondStage, TrainConfig};
use std::fmt;

/// Enough for the longest run id: `bitnet_<parameters>_<name>_<time>` has at most 64 characters.
const LONGEST_NAME: usize = 36;
/// Beyond any model that fits a machine: what is larger is a slip of the finger.
const WIDEST: usize = 1 << 18;

/// A value that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// The key to change, as a path.
    pub key: String,
    /// Key, value and what is wrong.
    pub message: String,
    /// What to do.
    pub cure: String,
}

/// The first problem of a part, or none.
pub(super) type Verdict = std::result::Result<(), Problem>;

/// Fine if `is_fine`; otherwise `key` with `value` violates `rule`, and `cure` helps.
pub(super) fn require(is_fine: bool, key: &str, value: impl fmt::Display, rule: impl fmt::Display, cure: impl fmt::Display) -> Verdict {
    if is_fine {
        return Ok(());
    }
    Err(Problem { key: key.to_owned(), message: format!("`{key}` is {value}: {rule}"), cure: cure.to_string() })
}

pub(super) fn name(name: &str) -> Verdict {
    let allowed = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphanumeric());
    let is_fine = starts_well && name.len() <= LONGEST_NAME && name.chars().all(allowed);
    let rule =
        format!("it becomes part of a directory's name, so it has 1 to {LONGEST_NAME} letters, digits, dots, hyphens or underscores");
    require(is_fine, "experiment", format!("{name:?}"), rule, "start it with a letter or digit, as in `arithmetic`")
}

pub(super) fn size(key: &str, value: usize, largest: usize) -> Verdict {
    let rule = format!("it must be 1 to {largest}");
    require((1..=largest).contains(&value), key, value, rule, "change it")
}

pub(super) fn positive(key: &str, value: f64, largest: f64) -> Verdict {
    let rule = format!("it must be above 0 and at most {largest}");
    require(value > 0.0 && value <= largest, key, value, rule, "change it")
}

fn share(key: &str, value: f64) -> Verdict {
    require((0.0..1.0).contains(&value), key, value, "it must be at least 0 and below 1", "change it")
}

pub(super) fn model(model: &ModelConfig) -> Verdict {
    size("model.vocab_size", model.vocab_size, 1 << 24)?;
    size("model.hidden_size", model.hidden_size, WIDEST)?;
    size("model.intermediate_size", model.intermediate_size, 4 * WIDEST)?;
    size("model.num_hidden_layers", model.num_hidden_layers, 1024)?;
    size("model.num_attention_heads", model.num_attention_heads, 4096)?;
    size("model.num_key_value_heads", model.num_key_value_heads, 4096)?;
    size("model.max_position_embeddings", model.max_position_embeddings, 1 << 24)?;
    match model.attention {
        Attention::GroupedQuery => heads(model)?,
        Attention::Latent(latent) => latent_heads(model, latent)?,
    }
    positive("model.rope_theta", model.rope_theta, 1e12)?;
    positive("model.rms_norm_eps", model.rms_norm_eps, 0.1)?;
    positive("model.initializer_range", model.initializer_range, 10.0)
}

fn heads(model: &ModelConfig) -> Verdict {
    let (hidden, heads, shared) = (model.hidden_size, model.num_attention_heads, model.num_key_value_heads);
    let rule = format!("it is not divisible by model.num_attention_heads = {heads}");
    let below = (hidden / heads).max(1) * heads;
    require(hidden % heads == 0, "model.hidden_size", hidden, rule, format!("take a multiple of {heads}, such as {below}"))?;
    let rule = format!("heads of {} are odd, and rotary positions turn pairs", hidden / heads);
    require((hidden / heads) % 2 == 0, "model.num_attention_heads", heads, rule, "take a number that leaves an even head size")?;
    let rule = format!("it does not divide model.num_attention_heads = {heads}");
    require(heads % shared == 0, "model.num_key_value_heads", shared, rule, format!("take a divisor of {heads}"))
}

fn latent_heads(model: &ModelConfig, latent: LatentAttention) -> Verdict {
    let LatentAttention { q_lora_rank, kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim } = latent;
    size("model.attention.latent.q_lora_rank", q_lora_rank.unwrap_or(1), WIDEST)?;
    size("model.attention.latent.kv_lora_rank", kv_lora_rank, WIDEST)?;
    size("model.attention.latent.qk_nope_head_dim", qk_nope_head_dim, WIDEST)?;
    size("model.attention.latent.qk_rope_head_dim", qk_rope_head_dim, WIDEST)?;
    size("model.attention.latent.v_head_dim", v_head_dim, WIDEST)?;
    let key = "model.attention.latent.qk_rope_head_dim";
    require(qk_rope_head_dim % 2 == 0, key, qk_rope_head_dim, "it is odd, and rotary positions turn pairs", "take an even number")?;
    let (heads, shared) = (model.num_attention_heads, model.num_key_value_heads);
    let rule = format!("latent attention expands keys and values for each of model.num_attention_heads = {heads}");
    require(shared == heads, "model.num_key_value_heads", shared, rule, format!("take {heads}"))
}

pub(super) fn train(train: &TrainConfig) -> Verdict {
    require(
        (1..=1_000_000_000).contains(&train.num_steps),
        "train.num_steps",
        train.num_steps,
        "it must be 1 to 1000000000",
        "--num-steps sets it for one run",
    )?;
    size("train.batch_size", train.batch_size, 1 << 20)?;
    size("train.accumulation_steps", train.accumulation_steps, 1 << 20)?;
    size("train.seq_len", train.seq_len, 1 << 24)?;
    positive("train.max_grad_norm", train.max_grad_norm, f64::MAX)?;
    let rule = "the run could not bear a single bad step";
    require(train.max_skipped_steps > 0, "train.max_skipped_steps", train.max_skipped_steps, rule, "take at least 1")
}

pub(super) fn optimizer(optimizer: &OptimizerConfig) -> Verdict {
    positive("train.optimizer.learning_rate", optimizer.learning_rate, 10.0)?;
    share("train.optimizer.beta1", optimizer.beta1)?;
    share("train.optimizer.beta2", optimizer.beta2)?;
    positive("train.optimizer.epsilon", optimizer.epsilon, 1.0)?;
    weight_decay("train.optimizer.weight_decay", optimizer.weight_decay, optimizer.learning_rate)
}

/// A step multiplies a weight by `1 - rate * decay`.
fn weight_decay(key: &str, decay: f64, learning_rate: f64) -> Verdict {
    require(decay >= 0.0 && decay.is_finite(), key, decay, "it must be 0 or more", "0 switches it off")?;
    let rule = format!("times the learning rate {learning_rate} it reaches 1, which erases the weights in one step");
    require(decay * learning_rate < 1.0, key, decay, rule, "the usual value is 0.1")
}

pub(super) fn schedule(train: &TrainConfig) -> Verdict {
    let warmup = train.schedule.warmup_steps;
    let rule = format!("the run has only train.num_steps = {}", train.num_steps);
    require(warmup < train.num_steps, "train.schedule.warmup_steps", warmup, rule, "take a tenth of the steps or less; 0 for none")?;
    let blend = train.schedule.quantization_blend_steps;
    let rule = format!("the run has only train.num_steps = {}, and would end before its network is quantized", train.num_steps);
    let cure = "take a tenth of the steps or less; 0 quantizes from the first step on";
    require(blend < train.num_steps, "train.schedule.quantization_blend_steps", blend, rule, cure)?;
    train.schedule.second_stage.as_ref().map_or(Ok(()), second_stage)
}

fn second_stage(stage: &SecondStage) -> Verdict {
    let is_inside = stage.start > 0.0 && stage.start < 1.0;
    let cure = "0.5 is half-way; --set train.schedule.second_stage=null for a single stage";
    require(is_inside, "train.schedule.second_stage.start", stage.start, "it is a share of the steps, above 0 and below 1", cure)?;
    positive("train.schedule.second_stage.learning_rate", stage.learning_rate, 10.0)?;
    weight_decay("train.schedule.second_stage.weight_decay", stage.weight_decay, stage.learning_rate)
}

pub(super) fn cadences(experiment: &Experiment) -> Verdict {
    let (checkpoints, sampling) = (&experiment.checkpoints, &experiment.sampling);
    let cure = "take as many steps as you can bear to lose";
    require(checkpoints.every > 0, "checkpoints.every", checkpoints.every, "the state would never be saved", cure)?;
    let rule = "no checkpoint would be kept";
    require(checkpoints.keep_last > 0, "checkpoints.keep_last", checkpoints.keep_last, rule, "take at least 1; 2 survives a damaged one")?;
    size("evaluation.num_examples", experiment.evaluation.num_examples, 1 << 24)?;
    let is_fine = sampling.max_new_tokens > 0 || sampling.prompts.is_empty();
    let cure = "take at least 1, or --set sampling.prompts=[] for no samples";
    require(is_fine, "sampling.max_new_tokens", sampling.max_new_tokens, "prompts would not be continued", cure)
}

pub(super) fn sampling_modes(sampling: &SamplingConfig) -> Verdict {
    let has_enough = !sampling.modes.is_empty() || sampling.prompts.is_empty();
    let cure = "--set 'sampling.modes=[{name: greedy, temperature: 0.0, top_k: 0, top_p: 1.0}]'";
    require(has_enough, "sampling.modes", "[]", "prompts would not be continued", cure)?;
    for (index, mode) in sampling.modes.iter().enumerate() {
        let key = |name: &str| format!("sampling.modes[{index}].{name}");
        mode_name(&key("name"), &mode.name)?;
        let is_first = sampling.modes[..index].iter().all(|other| other.name != mode.name);
        require(is_first, &key("name"), format!("{:?}", mode.name), "another mode has this name", "give each a name of its own")?;
        let rule = "it must be 0 (the likeliest token always) to 100";
        require((0.0..=100.0).contains(&mode.temperature), &key("temperature"), mode.temperature, rule, "1 leaves the logits as they are")?;
        let is_share = mode.top_p > 0.0 && mode.top_p <= 1.0;
        require(is_share, &key("top_p"), mode.top_p, "it must be above 0 and at most 1", "1 lets all tokens be candidates")?;
    }
    Ok(())
}

/// It becomes a tag in TensorBoard.
fn mode_name(key: &str, name: &str) -> Verdict {
    let allowed = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    let is_fine = !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(allowed);
    let rule = format!("it has 1 to {LONGEST_NAME} letters, digits, dots, hyphens or underscores");
    require(is_fine, key, format!("{name:?}"), rule, "such as `greedy`")
}
