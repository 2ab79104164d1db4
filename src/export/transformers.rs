//! What transformers' `bitnet` and `llama` classes can express (seen in versions 4.52 to 5.23), and the config.json that they load.

use super::WeightForm;
use crate::Result;
use crate::config::{ActivationQuantizer, Attention, BLOCKS_METHOD, HuggingFaceConfig, ModelConfig, NormPlacement, WeightQuantizer};
use serde_json::{Value, json};

/// Rows of codes that transformers unpacks from a byte; it refuses a matrix with other rows.
const ROWS_IN_A_BYTE: usize = 4;

/// Why transformers would refuse `model`, or load it and compute something else; none where it computes the same.
pub(super) fn obstacle(model: &ModelConfig, form: WeightForm) -> Option<String> {
    if form == WeightForm::Blocks {
        return Some("its weights lie as bitnet's kernels read them".into());
    }
    let quantizers = model.bit_linear;
    if matches!(model.attention, Attention::Latent(_)) {
        return Some("transformers has no ternary model with latent attention, and refuses its model_type bitnet_latent".into());
    }
    if quantizers.norm == NormPlacement::Inside {
        return Some("model.bit_linear.norm is inside: transformers has a norm before each block's projections, not one in each".into());
    }
    if quantizers.weights == WeightQuantizer::Sign && form == WeightForm::Latent {
        return Some("model.bit_linear.weights is sign: transformers quantizes latent weights by ternary absmean".into());
    }
    let is_quantized = quantizers.weights != WeightQuantizer::None;
    let (wanted, what) = match is_quantized {
        true => (ActivationQuantizer::Int8Absmax, "quantizes the activations of ternary weights by int8 absmax"),
        false => (ActivationQuantizer::None, "quantizes no activations where weights are in full precision"),
    };
    if quantizers.activations != wanted {
        return Some(format!("model.bit_linear.activations is {}: transformers {what}", name_of(quantizers.activations)));
    }
    let uneven = model.projections().into_iter().find(|shape| shape.outputs % ROWS_IN_A_BYTE != 0);
    uneven.filter(|_| form == WeightForm::Packed).map(|shape| {
        let (name, rows) = (shape.name, shape.outputs);
        format!("{name} has {rows} rows: transformers unpacks only matrices with a multiple of {ROWS_IN_A_BYTE}")
    })
}

fn name_of(activations: ActivationQuantizer) -> String {
    serde_json::to_value(activations).ok().and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default()
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
