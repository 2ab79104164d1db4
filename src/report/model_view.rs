//! A model folder as a page for people: its config, what its codes are, its size, and a line for each tensor. What the numbers are is the
//! business of `inference`.

use super::fields::push_field;
use super::styled::{Emphasis, Styled, printable};
use super::units::{bytes, count, number, share};
use crate::config::{Attention, ModelConfig, NormPlacement};
use crate::inference::{Codes, Inspection, TensorInspection};

const HEADINGS: [&str; 10] = ["tensor", "type", "shape", "size", "scale", "-1", "0", "+1", "mean |w|", "max |w|"];
const NOTHING: &str = "-";

/// The page of a model; its fields are in lines of at most `width` characters, its table is as wide as its names.
pub fn model_view(inspection: &Inspection, width: usize) -> Styled {
    let mut text = Styled::default();
    text.push(Emphasis::Bold, printable(&inspection.path.display().to_string())).end_line();
    let mut field = |label: &str, value: &str| push_field(&mut text, width, label, value);
    field("model", &model_text(&inspection.config));
    field("layers", &quantizer_text(&inspection.config));
    field("weights", weights_text(inspection));
    if let Some(codes) = &inspection.codes {
        field("codes", &format!("{} of {} weights", codes_text(codes), count(inspection.num_projection_weights)));
    }
    field("size", &size_text(inspection));
    text.end_line();
    push_table(&mut text, &inspection.tensors);
    text
}

fn model_text(model: &ModelConfig) -> String {
    let attention = match model.attention {
        Attention::GroupedQuery => format!("{} heads, {} of keys and values", model.num_attention_heads, model.num_key_value_heads),
        Attention::Latent(latent) => format!("{} heads on {} latent features", model.num_attention_heads, latent.kv_lora_rank),
    };
    format!(
        "{} parameters: {} layers, width {}, feed-forward {} {}, {attention}, vocabulary {} {}, context {}",
        count(model.num_parameters() as u64),
        model.num_hidden_layers,
        model.hidden_size,
        model.intermediate_size,
        name_of(&model.hidden_act),
        count(model.vocab_size as u64),
        if model.tie_word_embeddings { "tied" } else { "not tied" },
        count(model.max_position_embeddings as u64),
    )
}

fn quantizer_text(model: &ModelConfig) -> String {
    let norms = match (model.bit_linear.norm, model.sub_norms) {
        (NormPlacement::Inside, _) => "norms inside",
        (NormPlacement::Outside, true) => "norms outside, sub-norms",
        (NormPlacement::Outside, false) => "norms outside, no sub-norms",
    };
    format!("weights {}, activations {}, {norms}", name_of(&model.bit_linear.weights), name_of(&model.bit_linear.activations))
}

fn name_of(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| Some(value.as_str()?.to_owned())).unwrap_or_default()
}

fn weights_text(inspection: &Inspection) -> &'static str {
    match (inspection.is_packed, inspection.codes.is_some()) {
        (true, _) => "packed codes: the latent weights are gone, training cannot go on from here",
        (false, true) => "latent: quantized as they are used, training can go on from here",
        (false, false) => "full precision: nothing is quantized",
    }
}

fn size_text(inspection: &Inspection) -> String {
    let packed = match (inspection.is_packed, inspection.num_bytes_packed) {
        (false, Some(packed)) => format!(", {} with projections packed at 2 bits", bytes(packed)),
        _ => String::new(),
    };
    format!("{} in {} tensors{packed}", bytes(inspection.num_bytes), inspection.tensors.len())
}

fn codes_text(codes: &Codes) -> String {
    format!("-1 {}, 0 {}, +1 {}", share(codes.negative), share(codes.zero), share(codes.positive))
}

/// A line for each tensor under a line of headings: names to the left, numbers to the right.
fn push_table(text: &mut Styled, tensors: &[TensorInspection]) {
    let rows: Vec<[String; 10]> = tensors.iter().map(row).collect();
    let widths: [usize; 10] = std::array::from_fn(|column| {
        let longest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        longest.max(HEADINGS[column].len())
    });
    let line = |cells: [&str; 10]| -> String {
        let cell = |(column, cell): (usize, &str)| match column {
            0..3 => format!("{cell:width$}", width = widths[column]),
            _ => format!("{cell:>width$}", width = widths[column]),
        };
        cells.into_iter().enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    text.push(Emphasis::Faint, line(HEADINGS)).end_line();
    for row in &rows {
        text.push(Emphasis::Plain, line(row.each_ref().map(String::as_str))).end_line();
    }
}

fn row(tensor: &TensorInspection) -> [String; 10] {
    let or_nothing = |text: Option<String>| text.unwrap_or_else(|| NOTHING.to_owned());
    let code = |of: fn(&Codes) -> f64| or_nothing(tensor.codes.as_ref().map(|codes| share(of(codes))));
    let shape = tensor.shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ");
    [
        tensor.name.strip_suffix(".weight").unwrap_or(&tensor.name).to_owned(),
        tensor.type_name.to_owned(),
        shape,
        bytes(tensor.num_bytes),
        or_nothing(tensor.scale.map(|scale| number(f64::from(scale)))),
        code(|codes| codes.negative),
        code(|codes| codes.zero),
        code(|codes| codes.positive),
        or_nothing(tensor.mean_magnitude.map(number)),
        or_nothing(tensor.largest_magnitude.map(|largest| number(f64::from(largest)))),
    ]
}
