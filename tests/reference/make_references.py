"""Records what PyTorch computes, for the Rust tests to compare with. README.md beside this file says what each file holds.

    python3 -m venv /tmp/reference && /tmp/reference/bin/pip install torch==2.11.0 numpy==2.4.6 safetensors==0.8.0
    /tmp/reference/bin/python tests/reference/make_references.py

A CPU is enough, it takes seconds. With --check-golden DIR it records nothing, and compares its decoder with the logits that Hugging
Face transformers recorded for the model folder DIR (config.json, model.safetensors, expected.safetensors).
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from torch_reference import ACTIVATION_QUANTIZERS, WEIGHT_QUANTIZERS, Decoder, Margins, bit_linear, parameter_shapes

HERE = Path(__file__).parent
# How far from the point where a code changes every quantized number must be, so that another order of summation changes no code.
ACTIVATION_MARGIN = 2e-4
WEIGHT_MARGIN = 1e-5


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check-golden", metavar="DIR", type=Path, nargs="+", help="compare with these model folders, record nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.check_golden:
        for folder in arguments.check_golden:
            check_golden(folder)
        return
    save("quantizers", record_quantizers())
    save("bit_linear", record_bit_linear())
    save("decoder", record_decoders())
    (HERE / "decoder.json").write_text(json.dumps(DECODERS, indent=1) + "\n")
    save("adamw", record_adamw())


def save(name, tensors):
    path = HERE / f"{name}.safetensors"
    tensors = {key: tensor.detach().contiguous().clone() for key, tensor in tensors.items()}
    save_file(tensors, path, {"torch": torch.__version__.split("+")[0]})
    print(f"{path}: {len(tensors)} tensors, {path.stat().st_size} bytes")


def generator(seed):
    return torch.Generator().manual_seed(seed)


# Quantizers


def quantizer_inputs():
    """Name -> matrix; for the activation quantizers, each of its rows is a token."""
    random = generator(1)
    cases = {f"normal_{rows}x{columns}": torch.randn(rows, columns, generator=random) for rows, columns in [(5, 7), (3, 1), (1, 1), (64, 160)]}
    cases["heavy_tails_16x33"] = torch.empty(16, 33).cauchy_(generator=random)
    cases["bf16_9x31"] = (torch.randn(9, 31, generator=random) * 0.02).bfloat16()
    cases["large_5x7"] = torch.randn(5, 7, generator=random) * 1e30
    cases["subnormal_4x8"] = torch.randn(4, 8, generator=random) * 1e-40
    cases["subnormal_channels_8x12"] = torch.randn(8, 12, generator=random) * torch.tensor([1.0, 1e-34, 1e-40]).repeat(4)
    cases["zeros_3x8"] = torch.zeros(3, 8)
    cases["zero_row_3x9"] = torch.randn(3, 9, generator=random) * torch.tensor([[1.0], [0.0], [1.0]])
    cases["constant_3x5"] = torch.full((3, 5), 0.1)
    cases["constant_negative_2x6"] = torch.full((2, 6), -3.7)
    # mean|W| is 1, so that W / s is exactly 0.5 or 1.5.
    cases["ties_ternary_2x4"] = torch.tensor([[0.5, -0.5, 1.5, -1.5], [-0.5, 0.5, 1.5, -1.5]])
    halves = torch.tensor([127.0, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 63.5, -126.5])
    # The largest magnitude makes the scale a power of two, so that x * s is exactly a half for all but the first.
    cases["ties_int8_4x9"] = torch.stack([halves, -halves, halves / 2, halves * 1024])
    cases["ties_int4_6x8"] = torch.stack([int4_tie(seed) for seed in range(6)])
    return cases


def int4_tie(seed):
    """A row whose first number comes to lie exactly on a half in float32, found by trying neighbours."""
    root = torch.tensor(7.0).sqrt()
    for attempt in range(1000):
        row = torch.randn(8, generator=generator(1000 * seed + attempt))
        half = seed + 0.5 if seed % 2 else -seed - 0.5
        for _ in range(20):  # the mean depends on the first number: settle it
            row[0] = half * row.abs().double().mean() / 7**0.5
        for _ in range(9):
            mean = row.abs().mean(dtype=torch.float64).float()
            if root * row[0] / mean == half:
                return row
            row[0] = torch.nextafter(row[0], torch.tensor(float("inf")))
    raise RuntimeError(f"no tie found for seed {seed}")


def record_quantizers():
    tensors = {}
    for case, stored in quantizer_inputs().items():
        tensors[f"{case}/input"] = stored
        x = stored.float()
        for name, quantizer in (WEIGHT_QUANTIZERS | ACTIVATION_QUANTIZERS).items():
            if quantizer is None:
                continue
            quantized = quantizer(x)
            tensors[f"{case}/{name}/codes"] = quantized.codes.to(torch.int8)
            tensors[f"{case}/{name}/scale"] = quantized.scale.flatten()
            if x.numel() < 1000:
                tensors[f"{case}/{name}/values"] = quantized.values
        tensors[f"{case}/mean_float32"] = x.abs().mean().reshape(1)
        tensors[f"{case}/row_mean_float32"] = x.abs().mean(-1)
    for rows, columns in [(8, 2), (1, 3), (5, 2), (6, 5), (7, 4), (9, 1)]:
        codes = torch.randint(-1, 2, (rows, columns), generator=generator(rows))
        tensors[f"packing_{rows}x{columns}/codes"] = codes.to(torch.int8)
        tensors[f"packing_{rows}x{columns}/packed"] = pack(codes)
    return tensors


def pack(codes):
    """The Hugging Face layout: four stacked blocks of rows in the four bit pairs, the missing rows' bits 0."""
    block = -(-codes.shape[0] // 4)
    packed = torch.zeros(block, codes.shape[1], dtype=torch.int64)
    for row, code in enumerate(codes):
        packed[row % block] += (code + 1) * 4 ** (row // block)
    return packed.to(torch.uint8)


def unpack(packed, rows):
    blocks = [(packed.int() // 4**i) % 4 - 1 for i in range(4)]
    return torch.cat(blocks)[:rows].float()


# BitLinear


def record_bit_linear():
    for seed in range(1000):
        tensors, margins = try_bit_linear(seed)
        if margins.activations >= ACTIVATION_MARGIN and margins.weights >= WEIGHT_MARGIN:
            return tensors
    raise RuntimeError("no seed leaves enough distance to every tie")


def try_bit_linear(seed):
    random = generator(seed)
    leaves = {
        "x": torch.randn(2, 5, 24, generator=random),
        "weight": torch.randn(16, 24, generator=random) * 0.05 + 0.01,
        "norm_weight": 1 + 0.3 * torch.randn(24, generator=random),
    }
    tensors = {**leaves, "dy": torch.randn(2, 5, 16, generator=random)}
    margins = Margins()
    for weights in WEIGHT_QUANTIZERS:
        for activations in ACTIVATION_QUANTIZERS:
            for norm in ("outside", "inside"):
                results = bit_linear_gradients(leaves, tensors["dy"], weights, activations, norm, margins)
                tensors |= {f"{weights}/{activations}/{norm}/{key}": tensor for key, tensor in results.items()}
    return tensors, margins


def bit_linear_gradients(leaves, dy, weights, activations, norm, margins):
    used = ["x", "weight"] + (["norm_weight"] if norm == "inside" else [])
    leaf = {name: leaves[name].clone().requires_grad_() for name in used}
    y = bit_linear(leaf["x"], leaf["weight"], weights, activations, leaf.get("norm_weight"), margins=margins)
    y.backward(dy)
    double = [leaves[name].double() if name in used else None for name in ("x", "weight", "norm_weight")]
    exact = bit_linear(double[0], double[1], weights, activations, double[2])
    return {"y": y, "y_float64": exact, **{f"d{name}": leaf[name].grad for name in used}}


# Decoders


def decoder_config(hidden_act, sub_norms, tied, norm, weights, activations, theta):
    return {
        "vocab_size": 37,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 16,
        "rope_theta": theta,
        "rms_norm_eps": 1e-5,
        "hidden_act": hidden_act,
        "tie_word_embeddings": tied,
        "initializer_range": 0.02,
        "attention": "grouped_query",
        "sub_norms": sub_norms,
        "bit_linear": {"weights": weights, "activations": activations, "norm": norm},
    }


DECODERS = {
    "microsoft": decoder_config("relu2", True, True, "outside", "ternary_absmean", "int8_absmax", 500000.0),
    "onebitllm": decoder_config("silu", True, False, "outside", "ternary_absmean", "int8_absmax", 10000.0),
    "norm_inside": decoder_config("relu2", False, False, "inside", "ternary_absmean", "int8_absmax", 10000.0),
    "low_bit": decoder_config("silu", False, True, "inside", "sign", "int4_absmean", 10000.0),
    "full_precision": decoder_config("silu", False, False, "outside", "none", "none", 10000.0),
}
STEP = {"lr": 0.01, "betas": (0.9, 0.95), "eps": 1e-8}
WEIGHT_DECAY = 0.1
STEPPED = ["model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight", "model.norm.weight"]


def record_decoders():
    shared = decoder_weights()
    tensors = {f"weights/{name}": tensor for name, tensor in shared.items()}
    for variant, config in DECODERS.items():
        ids, targets = well_conditioned_tokens(config, shared)
        results = decoder_step(config, shared, ids, targets)
        tensors |= {f"{variant}/{key}": tensor for key, tensor in results.items()}
    return tensors


def decoder_weights():
    """One value for each name that any variant has; a variant takes those that its config calls for."""
    shapes = {name: shape for config in DECODERS.values() for name, shape in parameter_shapes(config).items()}
    random = generator(2)
    weights = {}
    for name, shape in sorted(shapes.items()):
        noise = torch.randn(shape, generator=random)
        weights[name] = 1 + 0.2 * noise if len(shape) == 1 else noise * (0.3 if "proj" not in name else 0.15)
    return weights


def well_conditioned_tokens(config, shared):
    for seed in range(10000):
        random = generator(seed)
        ids = torch.randint(0, 37, (2, 9), generator=random)
        targets = ids.roll(-1, dims=1)
        targets[:, -1] = -100
        targets[0, :3] = -100
        decoder = Decoder(config, shared)
        decoder.logits(ids)
        if decoder.margins.activations >= ACTIVATION_MARGIN and decoder.margins.weights >= WEIGHT_MARGIN:
            return ids, targets
    raise RuntimeError("no seed leaves enough distance to every tie")


def decoder_step(config, shared, ids, targets):
    parameters = {name: shared[name].clone().requires_grad_() for name in parameter_shapes(config)}
    decoder = Decoder(config, parameters)
    logits, loss = decoder.logits(ids), decoder.loss(ids, targets)
    exact = Decoder(config, {name: shared[name].double() for name in parameters}).logits(ids)
    assert (logits - exact).abs().max() < 1e-5 * exact.abs().max(), "float32 and float64 disagree: a code flipped"
    loss.backward()
    gradients = {f"gradient/{name}": tensor.grad.clone() for name, tensor in parameters.items()}
    torch.optim.AdamW(parameter_groups(parameters), **STEP).step()
    stepped = {f"stepped/{name}": parameters[name] for name in STEPPED}
    return {"ids": ids, "targets": targets, "logits": logits, "loss": loss, **gradients, **stepped}


def parameter_groups(parameters):
    """Weight decay on projections and an untied head; none on norms and the embedding."""
    decayed = [name for name, tensor in parameters.items() if tensor.dim() == 2 and name != "model.embed_tokens.weight"]
    others = [name for name in parameters if name not in decayed]
    return [
        {"params": [parameters[name] for name in decayed], "weight_decay": WEIGHT_DECAY},
        {"params": [parameters[name] for name in others], "weight_decay": 0.0},
    ]


# AdamW


def record_adamw():
    random = generator(3)
    parameters = {name: torch.randn(shape, generator=random) for name, shape in {"a": (3, 4), "b": (5,)}.items()}
    tensors = {f"{name}/initial": tensor.clone() for name, tensor in parameters.items()}
    optimizer = torch.optim.AdamW([{"params": [tensor]} for tensor in parameters.values()], betas=(0.9, 0.95), eps=1e-8)
    hyperparameters = torch.tensor([[1e-2, 0.1], [2e-2, 0.1], [1.5e-3, 0.05], [1e-3, 0.0], [0.0, 0.1]], dtype=torch.float64)
    tensors["learning_rate"], tensors["weight_decay"] = hyperparameters.unbind(1)
    for step, (learning_rate, weight_decay) in enumerate(hyperparameters.tolist(), start=1):
        for group in optimizer.param_groups:
            group["lr"], group["weight_decay"] = learning_rate, weight_decay
        for name, tensor in parameters.items():
            tensor.grad = torch.randn(tensor.shape, generator=random) * 10.0 ** (step - 3)
            tensors[f"{name}/gradient/{step}"] = tensor.grad.clone()
        optimizer.step()
        for name, tensor in parameters.items():
            state = optimizer.state[tensor]
            tensors[f"{name}/parameter/{step}"] = tensor.clone()
            tensors[f"{name}/exp_avg/{step}"] = state["exp_avg"].clone()
            tensors[f"{name}/exp_avg_sq/{step}"] = state["exp_avg_sq"].clone()
    return tensors


# The decoder against Hugging Face transformers

RENAMED = {"self_attn.inner_attn_ln": "self_attn.attn_sub_norm", "mlp.ffn_layernorm": "mlp.ffn_sub_norm"}


def check_golden(folder):
    with open(folder / "config.json") as file:
        config = json.load(file)
    weights, are_packed = golden_weights(folder / "model.safetensors")
    quantizers = {"weights": "none" if are_packed else "ternary_absmean", "activations": "int8_absmax", "norm": "outside"}
    decoder = Decoder({**config, "sub_norms": True, "bit_linear": quantizers}, weights)
    with safe_open(folder / "expected.safetensors", "pt") as file:
        ids, expected = file.get_tensor("input_ids"), file.get_tensor("logits")
        greedy = file.get_tensor("greedy")
    logits = decoder.logits(ids)
    error = (logits - expected).abs().max() / expected.abs().max()
    for _ in range(greedy.shape[1] - ids.shape[1]):
        ids = torch.cat([ids[:1], decoder.logits(ids[:1])[:, -1:].argmax(-1)], dim=1)
    same = "the same" if torch.equal(ids, greedy) else "other"
    print(f"{folder.name}: largest error of a logit {error:.1e} of the largest logit; {same} greedy tokens")


def golden_weights(path):
    """Parameters in float32 under our names, packed matrices unpacked and scaled; and whether there were any."""
    stored = load_file(path)
    weights = {}
    for name, tensor in stored.items():
        if name.endswith("weight_scale"):
            continue
        for theirs, ours in RENAMED.items():
            name = name.replace(theirs, ours)
        if tensor.dtype == torch.uint8:
            tensor = unpack(tensor, 4 * tensor.shape[0]) * stored[f"{name}_scale"].float()
        weights[name] = tensor.float()
    return weights, any(tensor.dtype == torch.uint8 for tensor in stored.values())


if __name__ == "__main__":
    main()
