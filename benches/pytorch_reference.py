"""The other side of `just bench-training`: the decoder of an experiment in PyTorch, as its users write it, one training step at a time.
Owns the model and its step; the numbers come from config.json, initial weights and tokens from the files that benches/training.rs wrote
beside it, and who is measured when is its business.

Each line on stdin is a number of steps to take; the answer on stdout is one line of JSON: the seconds and the loss of each step.
"""

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn


class StraightThrough(torch.autograd.Function):
    """Quantized values whose gradient passes as it comes: what `x + (q - x).detach()` means, without its two additions.

    No conversion of types in here: with one that changes nothing, torch.compile of 2.11 silently drops this backward.
    """

    @staticmethod
    def forward(context, x, quantize):
        return quantize(x)

    @staticmethod
    def backward(context, gradient):
        return gradient, None


def int8_absmax(x):
    largest = x.abs().amax(dim=-1, keepdim=True).clamp(min=1e-5)
    scale = torch.full_like(largest, 127.0) / largest  # 127.0 / largest would be a rounded reciprocal times 127
    return (x * scale).round().clamp(-128, 127) / scale


def ternary_absmean(weight):
    scale = weight.abs().mean().clamp(min=1e-5)
    return (weight / scale).round().clamp(-1, 1) * scale


class BitLinear(nn.Linear):
    """`x` is quantized already, once for all layers that share it, and in the type of the product."""

    def __init__(self, in_features, out_features):
        super().__init__(in_features, out_features, bias=False)

    def forward(self, x):
        return F.linear(x, StraightThrough.apply(self.weight, ternary_absmean).to(x.dtype))


class QuantizingNorm(nn.RMSNorm):
    """The norm, and the quantized input of the layers behind it."""

    def __init__(self, size, config):
        super().__init__(size, eps=config["rms_norm_eps"])
        self.dtype = config["dtype"]

    def forward(self, x):
        return StraightThrough.apply(super().forward(x.float()), int8_absmax).to(self.dtype)


def rotate(x, cosines, sines):
    first, second = x.chunk(2, dim=-1)
    return x * cosines + torch.cat([-second, first], dim=-1) * sines


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, self.head_dim = config["hidden_size"], config["hidden_size"] // config["num_attention_heads"]
        narrow = config["num_key_value_heads"] * self.head_dim
        self.is_grouped = narrow != hidden
        self.q_proj = BitLinear(hidden, hidden)
        self.k_proj = BitLinear(hidden, narrow)
        self.v_proj = BitLinear(hidden, narrow)
        self.attn_sub_norm = QuantizingNorm(hidden, config)
        self.o_proj = BitLinear(hidden, hidden)

    def forward(self, x, cosines, sines):
        query, key, value = (self.heads(projection(x)) for projection in (self.q_proj, self.k_proj, self.v_proj))
        query, key = rotate(query, cosines, sines), rotate(key, cosines, sines)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=self.is_grouped)
        return self.o_proj(self.attn_sub_norm(mixed.transpose(1, 2).flatten(2)))

    def heads(self, x):
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # [batch, heads, sequence, head_dim]


class FeedForward(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, inner = config["hidden_size"], config["intermediate_size"]
        self.gate_proj = BitLinear(hidden, inner)
        self.up_proj = BitLinear(hidden, inner)
        self.ffn_sub_norm = QuantizingNorm(inner, config)
        self.down_proj = BitLinear(inner, hidden)

    def forward(self, x):
        return self.down_proj(self.ffn_sub_norm(F.relu(self.gate_proj(x)).square() * self.up_proj(x)))


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.input_layernorm = QuantizingNorm(config["hidden_size"], config)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = QuantizingNorm(config["hidden_size"], config)
        self.mlp = FeedForward(config)

    def forward(self, residual, cosines, sines):
        residual = residual + self.self_attn(self.input_layernorm(residual), cosines, sines)
        return residual + self.mlp(self.post_attention_layernorm(residual))


class Decoder(nn.Module):
    """Token ids and the tokens after them, int64 [batch, sequence], to the mean loss. Parameters have Hugging Face's names."""

    def __init__(self, config, positions):
        super().__init__()
        vocabulary, hidden = config["vocab_size"], config["hidden_size"]
        self.model = nn.ModuleDict({
            "embed_tokens": nn.Embedding(vocabulary, hidden),
            "layers": nn.ModuleList(Block(config) for _ in range(config["num_hidden_layers"])),
            "norm": nn.RMSNorm(hidden, eps=config["rms_norm_eps"]),
        })
        self.lm_head = None if config["tie_word_embeddings"] else nn.Linear(hidden, vocabulary, bias=False)
        head_dim = hidden // config["num_attention_heads"]
        frequencies = config["rope_theta"] ** -(torch.arange(0, head_dim, 2) / head_dim)
        angles = torch.outer(torch.arange(positions), frequencies).repeat(1, 2)
        self.register_buffer("cosines", angles.cos().to(config["dtype"]), persistent=False)
        self.register_buffer("sines", angles.sin().to(config["dtype"]), persistent=False)

    def forward(self, inputs, targets):
        residual = self.model["embed_tokens"](inputs)
        for layer in self.model["layers"]:
            residual = layer(residual, self.cosines, self.sines)
        head = (self.lm_head or self.model["embed_tokens"]).weight
        logits = F.linear(self.model["norm"](residual), head)
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


class Trainer:
    def __init__(self, directory, dtype, compiles):
        experiment = json.loads((directory / "config.json").read_text())
        self.train, model_config = experiment["train"], experiment["model"]
        refuse_other_variants(model_config)
        self.dtype = dtype
        self.model = Decoder({**model_config, "dtype": dtype}, self.train["seq_len"])
        self.model.load_state_dict(load_file(directory / "weights.safetensors"))
        self.optimizer = make_optimizer(self.model, self.train["optimizer"])
        self.forward = torch.compile(self.model) if compiles else self.model
        tokens = load_file(directory / "tokens.safetensors")
        self.batches = list(zip(tokens["inputs"], tokens["targets"]))  # the micro-batches of a step

    def step(self):
        self.optimizer.zero_grad()
        losses = [self.accumulate(inputs, targets) for inputs, targets in self.batches]
        nn.utils.clip_grad_norm_(self.model.parameters(), self.train["max_grad_norm"])
        self.optimizer.step()
        return sum(losses)

    def accumulate(self, inputs, targets):
        """Adds the gradient of a micro-batch; returns its share of the step's loss."""
        with torch.autocast("cpu", self.dtype) if self.dtype != torch.float32 else contextlib.nullcontext():
            loss = self.forward(inputs, targets) / len(self.batches)
        loss.backward()
        return loss.item()


def make_optimizer(model, config):
    """AdamW whose weight decay is for what decays on our side too."""

    def decays(name):
        if "norm" in name:
            return config["decay_norms"]
        return config["decay_embeddings"] if "embed_tokens" in name or "lm_head" in name else True

    named = list(model.named_parameters())
    groups = [
        {"params": [parameter for name, parameter in named if decays(name)], "weight_decay": config["weight_decay"]},
        {"params": [parameter for name, parameter in named if not decays(name)], "weight_decay": 0.0},
    ]
    betas = (config["beta1"], config["beta2"])
    return torch.optim.AdamW(groups, lr=config["learning_rate"], betas=betas, eps=config["epsilon"], fused=True)


def refuse_other_variants(config):
    written = {"hidden_act": "relu2", "attention": "grouped_query", "sub_norms": True}
    written["bit_linear"] = {"weights": "ternary_absmean", "activations": "int8_absmax", "norm": "outside"}
    for key, value in written.items():
        if config[key] != value:
            sys.exit(f"error: pytorch_reference.py has only model.{key}: {value}, not {config[key]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="where config.json, weights.safetensors and tokens.safetensors are")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], required=True)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--threads", type=int, help="libtorch's own choice when absent")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    trainer = Trainer(options.directory, getattr(torch, options.precision), options.compile)
    for line in sys.stdin:
        seconds, losses = [], []
        for _ in range(int(line)):
            begin = time.perf_counter()
            losses.append(trainer.step())
            seconds.append(time.perf_counter() - begin)
        print(json.dumps({"seconds": seconds, "losses": losses}), flush=True)


if __name__ == "__main__":
    main()
