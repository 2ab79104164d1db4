//! The model card: README.md with the front matter that the Hugging Face hub reads, config, training and use. The licence is left to the
//! publisher of the model.

use super::options::{ExportOptions, WeightForm};
use super::provenance::Provenance;
use crate::config::{Attention, ModelConfig, NormPlacement};
use crate::inference::NumberType;
use std::fmt::Write;

/// Where the loss curve lies, beside the card.
pub(super) const LOSS_CURVE: &str = "loss.png";

/// What a card tells.
pub(super) struct Card<'a> {
    pub name: &'a str,
    /// A prompt that the model's tokenizer can read.
    pub prompt: &'a str,
    pub model: &'a ModelConfig,
    pub options: &'a ExportOptions<'a>,
    /// The type of embedding and head.
    pub table_type: NumberType,
    /// Why transformers cannot run it; none where it can.
    pub obstacle: Option<&'a str>,
}

impl Card<'_> {
    /// The whole page.
    pub fn page(&self) -> String {
        let mut page = self.front_matter();
        let size = crate::run::short_count(self.model.num_parameters() as u64);
        let form = match self.options.form {
            WeightForm::Latent => "latent weights, quantized as they are used; training can go on from them",
            WeightForm::Packed => "packed weights: 2 bits each, and one scale a matrix",
            WeightForm::Blocks => {
                "packed weights in the layout of its kernels: 2 bits each, and one scale a matrix; they are mapped, not read"
            }
        };
        let name = self.name;
        let version = env!("CARGO_PKG_VERSION");
        page += &format!("# {name}\n\nA language model of {size} parameters, exported by bitnet {version}: {form}.\n\n");
        page += &self.usage();
        page += "## Model\n\n";
        page += &table(&self.model_rows());
        if let Some(provenance) = self.options.provenance {
            page += "\n## Training\n\n";
            page += &table(&training_rows(provenance));
        }
        if self.options.loss_curve.is_some() {
            let _ = write!(page, "\n![Loss, held-out loss and learning rate]({LOSS_CURVE})\n");
        }
        page
    }

    fn front_matter(&self) -> String {
        let library = if self.obstacle.is_some() { "" } else { "library_name: transformers\n" };
        let tags = "tags:\n- bitnet\n- ternary\n- 1.58-bit\n";
        format!("---\n{library}pipeline_tag: text-generation\n{tags}# license: choose one before you publish\n---\n\n")
    }

    fn usage(&self) -> String {
        let prompt = self.prompt;
        let Some(obstacle) = self.obstacle else {
            return format!(
                "## Use\n\nWith transformers 4.52 or newer, and accelerate:\n\n```python\n\
                from transformers import AutoModelForCausalLM, AutoTokenizer\n\
                model = AutoModelForCausalLM.from_pretrained(\"path/of/this/folder\")\n\
                tokenizer = AutoTokenizer.from_pretrained(\"path/of/this/folder\")\n\
                ids = tokenizer({prompt:?}, return_tensors=\"pt\").input_ids\n\
                print(tokenizer.decode(model.generate(ids, max_new_tokens=50)[0]))\n```\n\n\
                Or with bitnet: `just generate --model path/of/this/folder --prompt {prompt:?}`.\n\n"
            );
        };
        format!(
            "## Use\n\nWith bitnet: `just generate --model path/of/this/folder --prompt {prompt:?}`.\n\n\
             Not with transformers: {obstacle}.\n\n"
        )
    }

    fn model_rows(&self) -> Vec<(&'static str, String)> {
        let model = self.model;
        let attention = match model.attention {
            Attention::GroupedQuery => format!("{} heads, {} of keys and values", model.num_attention_heads, model.num_key_value_heads),
            Attention::Latent(latent) => format!("latent, {} heads, {} features a key", model.num_attention_heads, latent.kv_lora_rank),
        };
        let norms = match (model.bit_linear.norm, model.sub_norms) {
            (NormPlacement::Inside, true | false) => "inside every projection",
            (NormPlacement::Outside, true) => "before each block's parts, and sub-norms",
            (NormPlacement::Outside, false) => "before each block's parts",
        };
        let tables = match self.table_type {
            NumberType::Int8Rows => "8 bits, and a scale a row",
            NumberType::Bfloat16 => "bfloat16",
            NumberType::Float32 | NumberType::Float16 | NumberType::PackedCodes | NumberType::Blocks(_) => "float32",
        };
        vec![
            ("parameters", model.num_parameters().to_string()),
            ("layers", model.num_hidden_layers.to_string()),
            ("hidden size", model.hidden_size.to_string()),
            ("feed-forward size", format!("{}, {}", model.intermediate_size, key(&model.hidden_act))),
            ("attention", attention),
            ("norms", norms.to_owned()),
            ("vocabulary", format!("{}, {}", model.vocab_size, if model.tie_word_embeddings { "tied" } else { "not tied" })),
            ("context", model.max_position_embeddings.to_string()),
            ("rotary base", model.rope_theta.to_string()),
            ("weights", key(&model.bit_linear.weights)),
            ("embedding and head", tables.to_owned()),
            ("activations", model.bit_linear.activations.name().to_owned()),
        ]
    }
}

/// A value of an enum as configs write it.
fn key(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| Some(value.as_str()?.to_owned())).unwrap_or_default()
}

fn training_rows(provenance: &Provenance) -> Vec<(&'static str, String)> {
    let mut rows = vec![("run", provenance.run.id())];
    rows.extend(provenance.experiment.as_ref().map(|experiment| ("experiment", experiment.experiment.clone())));
    rows.extend(provenance.data().map(|data| ("data", data)));
    rows.push(("steps", provenance.step.to_string()));
    rows.extend(provenance.tokens.map(|tokens| ("tokens", tokens.to_string())));
    rows.extend(provenance.loss.map(|loss| ("training loss", format!("{loss:.3} nats a token"))));
    rows.extend(provenance.held_out_loss.map(|loss| ("held-out loss", format!("{loss:.3} nats a token"))));
    if let Some(experiment) = &provenance.experiment {
        let optimizer = &experiment.train.optimizer;
        let rate = format!("AdamW, learning rate {:e}, weight decay {}", optimizer.learning_rate, optimizer.weight_decay);
        rows.push(("optimizer", rate));
        let batch = experiment.train.batch_size * experiment.train.accumulation_steps;
        rows.push(("batch", format!("{batch} sequences of {} tokens", experiment.train.seq_len)));
        rows.push(("seed", experiment.seed.to_string()));
    }
    rows
}

/// A table of two columns; a bar in a value would end its cell.
fn table(rows: &[(&'static str, String)]) -> String {
    let mut text = String::from("| | |\n|---|---|\n");
    for (label, value) in rows {
        let _ = writeln!(text, "| {label} | {} |", value.replace('|', "\\|").replace('\n', " "));
    }
    text
}
