//! What transformers' `bitnet` and `llama` classes can express (seen in versions 4.52 to 5.23), and the config.json that they load.

use super::options::WeightForm;
use crate::Result;
use crate::config::{ActivationQuantizer, Attention, BLOCKS_METHOD, BitLinearConfig, HuggingFaceConfig, ModelConfig, WeightQuantizer};
use serde_json::{Value, json};

/// Rows of codes that transformers unpacks from a byte; it refuses a matrix with other rows.
const ROWS_IN_A_BYTE: usize = 4;

/// Why transformers would refuse `model`, or load it and compute something else; none where it computes the same.
pub(super) fn obstacle(model: &ModelConfig, form: WeightForm) -> Option<String> {
    if form == WeightForm::Blocks {
        return Some("its weights lie as bitnet's kernels read them".into());
    }
    let quantizers = model.bit_linear;
    match model.attention {
        Attention::GroupedQuery => {}
        Attention::Latent(_) => {
            return Some("transformers has no ternary model with latent attention, and refuses its model_type bitnet_latent".into());
        }
    }
    if quantizers.norm.is_inside() {
        return Some("model.bit_linear.norm is inside: transformers has a norm before each block's projections, not one in each".into());
    }
    match (quantizers.weights, form) {
        (WeightQuantizer::Sign, WeightForm::Latent) => {
            return Some("model.bit_linear.weights is sign: transformers quantizes latent weights by ternary absmean".into());
        }
        (WeightQuantizer::Sign, WeightForm::Packed | WeightForm::Blocks) | (WeightQuantizer::TernaryAbsmean | WeightQuantizer::None, _) => {
        }
    }
    if let Some(what) = other_activations(quantizers) {
        return Some(format!("model.bit_linear.activations is {}: transformers {what}", quantizers.activations.name()));
    }
    let uneven = model.projections().into_iter().find(|shape| shape.outputs % ROWS_IN_A_BYTE != 0);
    uneven.filter(|_| form == WeightForm::Packed).map(|shape| {
        let (name, rows) = (shape.name, shape.outputs);
        format!("{name} has {rows} rows: transformers unpacks only matrices with a multiple of {ROWS_IN_A_BYTE}")
    })
}

/// What transformers does with activations where the model does something else.
fn other_activations(quantizers: BitLinearConfig) -> Option<&'static str> {
    match (quantizers.weights, quantizers.activations) {
        (WeightQuantizer::TernaryAbsmean | WeightQuantizer::Sign, ActivationQuantizer::Int8Absmax)
        | (WeightQuantizer::None, ActivationQuantizer::None) => None,
        (WeightQuantizer::TernaryAbsmean | WeightQuantizer::Sign, ActivationQuantizer::Int4Absmean | ActivationQuantizer::None) => {
            Some("quantizes the activations of ternary weights by int8 absmax")
        }
        (WeightQuantizer::None, ActivationQuantizer::Int8Absmax | ActivationQuantizer::Int4Absmean) => {
            Some("quantizes no activations where weights are in full precision")
        }
    }
}

/// The config.json of a folder with weights in `form`, the others being of the type `type_name`.
///
/// # Errors
/// Ours, if the serializer fails.
pub(super) fn config_json(config: &HuggingFaceConfig, form: WeightForm, type_name: &str) -> Result<Value> {
    let mut value = config.model.to_hugging_face(config.tokens)?;
    value["torch_dtype"] = json!(type_name);
    match form {
        WeightForm::Latent => {}
        WeightForm::Packed => {
            value["quantization_config"] =
                json!({"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline"});
        }
        WeightForm::Blocks => value["quantization_config"] = json!({"quant_method": BLOCKS_METHOD}),
    }
    Ok(value)
}
