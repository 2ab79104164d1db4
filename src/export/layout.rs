//! Whose layout a model folder has: what its config.json and its tensors say, in words for the person who imports it.

use crate::Result;
use crate::config::PackedForm;
use crate::folder::ModelFolder;
use crate::inference::StoredModel;

/// Who writes folders like this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// This program.
    Ours,
    /// microsoft: packed codes whose scale multiplies.
    MicrosoftPacked,
    /// microsoft: master weights.
    MicrosoftMaster,
    /// 1bitLLM: LLaMA's names, other names for sub-norms.
    OneBitLlm,
    /// HF1BitLLM and Falcon-E: packed codes whose scale divides.
    DividingScale,
    /// LLaMA's layout with weights that are quantized online.
    OnlineLlama,
    /// LLaMA in full precision.
    Llama,
    /// A GGUF file.
    Gguf,
}

/// The layout of `model`.
///
/// # Errors
/// The user's: config.json is gone.
pub fn layout_of(model: &StoredModel) -> Result<Layout> {
    if model.dir().is_file() {
        return Ok(Layout::Gguf);
    }
    let value = ModelFolder::new(model.dir()).config_json()?;
    let config = model.config();
    Ok(match (model.has_packed_codes(), config.packed) {
        (_, Some(PackedForm::Blocks)) => Layout::Ours,
        _ if value["bitnet"].is_object() => Layout::Ours,
        (true, Some(PackedForm::Divide)) => Layout::DividingScale,
        (true, _) => Layout::MicrosoftPacked,
        _ if value["model_type"] == "bitnet" => Layout::MicrosoftMaster,
        _ if !value["weight_bits"].is_null() => Layout::OneBitLlm,
        _ if config.model.bit_linear.weights.has_codes() => Layout::OnlineLlama,
        _ => Layout::Llama,
    })
}

impl Layout {
    /// For a person.
    pub fn description(self) -> &'static str {
        match self {
            Self::Ours => "a folder of this program",
            Self::MicrosoftPacked => "microsoft's packed layout: 2-bit codes, scales that multiply",
            Self::MicrosoftMaster => "microsoft's master layout: latent weights, quantized as they are used",
            Self::OneBitLlm => "1bitLLM's layout: latent weights under LLaMA's names, sub-norms under their own",
            Self::DividingScale => "the packed layout of HF1BitLLM and Falcon-E: 2-bit codes, scales that divide",
            Self::OnlineLlama => "LLaMA's layout with latent weights, quantized as they are used",
            Self::Gguf => "a GGUF file, which holds what is computed with",
            Self::Llama => "LLaMA in full precision: a start for conversion",
        }
    }
}
