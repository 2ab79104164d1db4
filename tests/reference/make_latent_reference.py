"""Records what decoders with latent attention compute, for tests/latent_attention.rs. README.md beside this file says what the file holds.

    python3 -m venv /tmp/reference && /tmp/reference/bin/pip install torch==2.11.0 numpy==2.4.6 safetensors==0.8.0 transformers==5.23.0
    /tmp/reference/bin/python tests/reference/make_latent_reference.py

The full-precision variants are transformers' DeepSeek V3 without experts. Nobody publishes the ternary one: it comes from torch_reference.py
in float64, which is compared with transformers first.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

from torch_reference import Decoder

HERE = Path(__file__).parent
ACTIVATION_MARGIN = 2e-4
WEIGHT_MARGIN = 1e-5
SIZES = {"kv_lora_rank": 10, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 7}


def config(q_lora_rank, sub_norms, weights, activations):
    return {
        "vocab_size": 19,
        "hidden_size": 20,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "num_key_value_heads": 3,
        "max_position_embeddings": 16,
        "rope_theta": 10000.0,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "initializer_range": 0.02,
        "attention": {"latent": {"q_lora_rank": q_lora_rank, **SIZES}},
        "sub_norms": sub_norms,
        "bit_linear": {"weights": weights, "activations": activations, "norm": "outside"},
    }


VARIANTS = {
    "squeezed": config(12, False, "none", "none"),
    "direct": config(None, False, "none", "none"),
    "ternary": config(12, True, "ternary_absmean", "int8_absmax"),
}


def main():
    torch.set_num_threads(1)
    tensors = {}
    for name in ["squeezed", "direct"]:
        tensors |= {f"{name}/{key}": tensor for key, tensor in record_deepseek(VARIANTS[name]).items()}
    weights = {key.removeprefix("squeezed/weights/"): tensor for key, tensor in tensors.items() if key.startswith("squeezed/weights/")}
    tensors |= {f"ternary/{key}": tensor for key, tensor in record_ternary(VARIANTS["ternary"], weights).items()}
    path = HERE / "latent_attention.safetensors"
    save_file({key: tensor.detach().contiguous().clone() for key, tensor in tensors.items()}, path, {"torch": torch.__version__.split("+")[0]})
    (HERE / "latent_attention.json").write_text(json.dumps(VARIANTS, indent=1) + "\n")
    print(f"{path}: {len(tensors)} tensors, {path.stat().st_size} bytes")


def deepseek(config):
    """transformers' model of that shape: every feed-forward network dense, rotary positions in split halves."""
    own = {key: config[key] for key in config if key not in ("attention", "sub_norms", "bit_linear", "rope_theta")}
    sizes = config["attention"]["latent"]
    rope = {"rope_type": "default", "rope_theta": config["rope_theta"]}
    dense = {"first_k_dense_replace": config["num_hidden_layers"], "rope_interleave": False, "rope_parameters": rope}
    return DeepseekV3ForCausalLM(DeepseekV3Config(**own, **sizes, **dense, attn_implementation="eager"))


def tokens(seed):
    ids = torch.randint(0, 19, (2, 9), generator=torch.Generator().manual_seed(seed))
    targets = ids.roll(-1, dims=1)
    targets[:, -1] = -100
    return ids, targets


def record_deepseek(config):
    model = deepseek(config)
    random = torch.Generator().manual_seed(3)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=random)
        parameter.data = 1 + 0.2 * noise if parameter.dim() == 1 else noise * 0.3
    ids, targets = tokens(0)
    logits = model(ids).logits
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)
    loss.backward()
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    check_reference(config, weights, ids, logits)
    # The gradients of the first block's attention: all that is new.
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if "layers.0.self_attn" in name}
    return (
        {f"weights/{name}": weight for name, weight in weights.items()}
        | {f"gradient/{name}": gradient for name, gradient in gradients.items()}
        | {"ids": ids, "targets": targets, "logits": logits, "loss": loss}
    )


def check_reference(config, weights, ids, logits):
    ours = Decoder(config, weights).logits(ids)
    error = ((ours - logits).abs().max() / logits.abs().max()).item()
    print(f"our reference against transformers: {error:.1e}")
    assert error < 1e-6, error


def record_ternary(config, weights):
    """Float64 logits from tokens that leave every quantized number far from where its code changes. The weights are those of `squeezed`, with
    sub-norms; the variant's file holds the sub-norms alone."""
    random = torch.Generator().manual_seed(4)
    sizes = {"self_attn.attn_sub_norm": 3 * SIZES["v_head_dim"], "mlp.ffn_sub_norm": config["intermediate_size"]}
    names = [f"model.layers.{layer}.{name}.weight" for layer in range(2) for name in sizes]
    sub_norms = {name: 1 + 0.2 * torch.randn(sizes[name[len("model.layers.0.") : -len(".weight")]], generator=random) for name in names}
    parameters = {name: weight.double() for name, weight in (weights | sub_norms).items()}
    for seed in range(10000):
        ids, _ = tokens(seed)
        decoder = Decoder(config, parameters)
        logits = decoder.logits(ids)
        if decoder.margins.activations >= ACTIVATION_MARGIN and decoder.margins.weights >= WEIGHT_MARGIN:
            print(f"ternary: seed {seed}")
            return {f"weights/{name}": weight for name, weight in sub_norms.items()} | {"ids": ids, "logits": logits}
    raise RuntimeError(f"no seed leaves enough distance to every tie: {decoder.margins.__dict__}")


if __name__ == "__main__":
    main()
