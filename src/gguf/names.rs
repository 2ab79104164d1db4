//! What GGUF calls the tensors that Hugging Face's names stand for: of the architectures `llama`, `bitnet` and `bitnet-b1.58`.

/// Outside of blocks: ours, theirs.
const WHOLE: [(&str, &str); 3] =
    [("model.embed_tokens.weight", "token_embd.weight"), ("model.norm.weight", "output_norm.weight"), ("lm_head.weight", "output.weight")];

/// The names of block N, below `model.layers.N.` and `blk.N.`, without `.weight`.
const IN_BLOCK: [(&str, &str); 11] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.attn_sub_norm", "attn_sub_norm"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.ffn_sub_norm", "ffn_sub_norm"),
    ("mlp.down_proj", "ffn_down"),
];

/// GGUF's name for the parameter `ours`, such as `model.layers.0.self_attn.q_proj.weight`; none where no architecture has it.
pub fn tensor_name(ours: &str) -> Option<String> {
    if let Some((_, theirs)) = WHOLE.iter().find(|(name, _)| *name == ours) {
        return Some((*theirs).to_owned());
    }
    let (block, rest) = ours.strip_prefix("model.layers.")?.split_once('.')?;
    let (_, theirs) = IN_BLOCK.iter().find(|(name, _)| rest.strip_suffix(".weight") == Some(*name))?;
    is_number(block).then(|| format!("blk.{block}.{theirs}.weight"))
}

/// Our name for the tensor `theirs`, such as `blk.0.attn_q.weight`; none where it is no weight of the decoder.
pub fn our_name(theirs: &str) -> Option<String> {
    if let Some((ours, _)) = WHOLE.iter().find(|(_, name)| *name == theirs) {
        return Some((*ours).to_owned());
    }
    let (block, rest) = theirs.strip_prefix("blk.")?.split_once('.')?;
    let (ours, _) = IN_BLOCK.iter().find(|(_, name)| rest.strip_suffix(".weight") == Some(*name))?;
    is_number(block).then(|| format!("model.layers.{block}.{ours}.weight"))
}

/// As it is written: no sign, no leading zero.
fn is_number(text: &str) -> bool {
    text.parse::<u32>().is_ok_and(|number| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_decoder_goes_there_and_back() {
        let blocks = IN_BLOCK.iter().map(|(name, _)| format!("model.layers.17.{name}.weight"));
        for ours in blocks.chain(WHOLE.map(|(name, _)| name.to_owned())) {
            assert_eq!(our_name(&tensor_name(&ours).unwrap()).unwrap(), ours);
        }
        assert_eq!(tensor_name("model.layers.3.mlp.down_proj.weight").unwrap(), "blk.3.ffn_down.weight");
    }

    #[test]
    fn other_names_have_none() {
        for name in ["model.layers.1.self_attn.kv_b_proj.weight", "model.layers.x.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.bias"] {
            assert_eq!(tensor_name(name), None);
        }
        for name in ["rope_freqs.weight", "blk.01.attn_q.weight", "blk.0.attn_q.scale", "blk.0.attn_q", "blk.-1.attn_q.weight", ""] {
            assert_eq!(our_name(name), None);
        }
    }
}
