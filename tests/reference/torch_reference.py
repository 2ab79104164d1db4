"""BitNet b1.58 in plain PyTorch, for recording what the Rust code must compute. Owns the quantizers, BitLinear and a small decoder,
written from the formulas and not from our Rust; what is recorded from them is the business of make_references.py.

Everything runs in the type of its input: float32 for the record, float64 to judge how far rounding can move it.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F

SQRT_7 = math.sqrt(7.0)
LATENT_EPS = 1e-6  # of the norms over latents, whatever rms_norm_eps is


class Quantized(NamedTuple):
    codes: torch.Tensor  # whole numbers, in the input's type
    scale: torch.Tensor  # one a matrix, or one a row with the last axis kept
    values: torch.Tensor  # what the codes stand for
    unrounded: torch.Tensor  # what was rounded, before the clamp: says how close a code is to being another


def mean(x, **axis):
    """Summed in float64, so that the record does not depend on the order in which this machine adds."""
    return x.mean(dtype=torch.float64, **axis).to(x.dtype)


def ternary_absmean(weight):
    scale = mean(weight.abs()).clamp(min=1e-5)
    unrounded = weight / scale
    codes = unrounded.round().clamp(-1, 1)
    return Quantized(codes, scale, codes * scale, unrounded)


def sign(weight):
    scale = mean(weight.abs())
    unrounded = weight - mean(weight)
    codes = unrounded.sign()
    return Quantized(codes, scale, codes * scale, unrounded)


def int8_absmax(x):
    largest = x.abs().amax(dim=-1, keepdim=True).clamp(min=1e-5)
    # `127 / largest` in Python is `largest.reciprocal() * 127`, which is one ulp off for a quarter of all rows.
    scale = torch.full_like(largest, 127.0) / largest
    unrounded = x * scale
    codes = unrounded.round().clamp(-128, 127)
    return Quantized(codes, scale, codes / scale, unrounded)


def int4_absmean(x):
    """The scale is the row's mean magnitude. A row whose mean magnitude is 0 gets codes 0, where the formula has 0/0."""
    scale = mean(x.abs(), dim=-1, keepdim=True)
    root = torch.tensor(SQRT_7, dtype=x.dtype)
    unrounded = torch.where(scale == 0, torch.zeros_like(x), root * x / scale)
    codes = unrounded.round().clamp(-8, 7)
    return Quantized(codes, scale, codes * scale / root, unrounded)


WEIGHT_QUANTIZERS = {"ternary_absmean": ternary_absmean, "sign": sign, "none": None}
ACTIVATION_QUANTIZERS = {"int8_absmax": int8_absmax, "int4_absmean": int4_absmean, "none": None}


class Margins:
    """The least distance of any quantized number to the point where its code changes, over all calls."""

    def __init__(self):
        self.weights = math.inf
        self.activations = math.inf

    def note_weights(self, name, unrounded):
        distance = unrounded.abs() if name == "sign" else (unrounded.abs() - 0.5).abs()
        self.weights = min(self.weights, distance.min().item())

    def note_activations(self, name, unrounded):
        lowest, highest = (-128, 127) if name == "int8_absmax" else (-8, 7)
        boundary = (unrounded.floor() + 0.5).clamp(lowest + 0.5, highest - 0.5)
        self.activations = min(self.activations, (unrounded - boundary).abs().min().item())


def straight_through(x, quantized):
    """Exactly the quantized values, with the gradient of the identity."""
    return quantized.values.detach() + (x - x.detach())


def rms_norm(x, weight, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def bit_linear(x, weight, weights="ternary_absmean", activations="int8_absmax", norm_weight=None, eps=1e-5, margins=None):
    """`x` [..., in], `weight` [out, in] -> [..., out]; with `norm_weight` [in] the input is normed first."""
    margins = margins or Margins()
    if norm_weight is not None:
        x = rms_norm(x, norm_weight, eps)
    if activations != "none":
        quantized = ACTIVATION_QUANTIZERS[activations](x.detach())
        margins.note_activations(activations, quantized.unrounded)
        x = straight_through(x, quantized)
    if weights != "none":
        quantized = WEIGHT_QUANTIZERS[weights](weight.detach())
        margins.note_weights(weights, quantized.unrounded)
        weight = straight_through(weight, quantized)
    return F.linear(x, weight)


def rotary(sequence, head_dim, theta, dtype):
    """Cosines and sines [sequence, head_dim] for split halves; the first position is 0."""
    frequencies = theta ** -(torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    angles = torch.outer(torch.arange(sequence, dtype=torch.float32), frequencies)
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x, cosines, sines):
    first, second = x.chunk(2, dim=-1)
    return x * cosines + torch.cat([-second, first], dim=-1) * sines


ACTIVATIONS = {"relu2": lambda x: F.relu(x).square(), "silu": F.silu}


class Decoder:
    """A decoder over a dictionary of parameters under Hugging Face names. `config` has the keys of our ModelConfig."""

    def __init__(self, config, parameters):
        self.config = config
        self.parameters = parameters
        self.margins = Margins()

    def loss(self, ids, targets):
        """Mean cross entropy where the target is not -100; targets[b, s] belongs to logits[b, s]."""
        return F.cross_entropy(self.logits(ids).flatten(0, 1), targets.flatten(), ignore_index=-100)

    def logits(self, ids):
        embedding = self.parameters["model.embed_tokens.weight"]
        hidden = embedding[ids]
        for layer in range(self.config["num_hidden_layers"]):
            hidden = self.block(hidden, f"model.layers.{layer}.")
        head = embedding if self.config["tie_word_embeddings"] else self.parameters["lm_head.weight"]
        return F.linear(self.norm(hidden, "model.norm"), head)

    def block(self, hidden, path):
        hidden = hidden + self.attention(self.outer_norm(hidden, path + "input_layernorm"), path + "self_attn.")
        return hidden + self.feed_forward(self.outer_norm(hidden, path + "post_attention_layernorm"), path + "mlp.")

    def attention(self, x, path):
        if self.config["attention"] != "grouped_query":
            return self.latent_attention(x, path, **self.config["attention"]["latent"])
        cosines, sines = rotary(x.shape[1], self.head_dim, self.config["rope_theta"], x.dtype)
        query = rotate(self.heads(self.project(x, path + "q_proj")), cosines, sines)
        key = rotate(self.heads(self.project(x, path + "k_proj")), cosines, sines)
        value = self.heads(self.project(x, path + "v_proj"))
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
        return self.attend(query, key, value, path)

    def latent_attention(self, x, path, q_lora_rank, kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim):
        """DeepSeek V2, section 2.1: queries, keys and values through latents, positions in a part of their own."""
        cosines, sines = rotary(x.shape[1], qk_rope_head_dim, self.config["rope_theta"], x.dtype)
        if q_lora_rank is None:
            query = self.project(x, path + "q_proj")
        else:
            squeezed = rms_norm(self.project(x, path + "q_a_proj"), self.parameters[path + "q_a_layernorm.weight"], LATENT_EPS)
            query = self.project(squeezed, path + "q_b_proj")
        query = query.unflatten(-1, (-1, qk_nope_head_dim + qk_rope_head_dim)).transpose(1, 2)
        query = torch.cat([query[..., :qk_nope_head_dim], rotate(query[..., qk_nope_head_dim:], cosines, sines)], dim=-1)
        compressed = self.project(x, path + "kv_a_proj_with_mqa")
        turned = rotate(compressed[..., kv_lora_rank:], cosines, sines)[:, None]
        latent = rms_norm(compressed[..., :kv_lora_rank], self.parameters[path + "kv_a_layernorm.weight"], LATENT_EPS)
        expanded = self.project(latent, path + "kv_b_proj").unflatten(-1, (-1, qk_nope_head_dim + v_head_dim)).transpose(1, 2)
        key = torch.cat([expanded[..., :qk_nope_head_dim], turned.expand(-1, query.shape[1], -1, -1)], dim=-1)
        return self.attend(query, key, expanded[..., qk_nope_head_dim:], path)

    def attend(self, query, key, value, path):
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        mixed = scores.masked_fill(future, -math.inf).softmax(-1) @ value
        mixed = mixed.transpose(1, 2).flatten(2)  # [batch, sequence, heads * size]
        return self.project(self.sub_norm(mixed, path + "attn_sub_norm"), path + "o_proj")

    def feed_forward(self, x, path):
        gate = ACTIVATIONS[self.config["hidden_act"]](self.project(x, path + "gate_proj"))
        inner = gate * self.project(x, path + "up_proj")
        return self.project(self.sub_norm(inner, path + "ffn_sub_norm"), path + "down_proj")

    @property
    def head_dim(self):
        return self.config["hidden_size"] // self.config["num_attention_heads"]

    def heads(self, x):
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # [batch, heads, sequence, head_dim]

    def project(self, x, path):
        quantizers = self.config["bit_linear"]
        norm_weight = self.parameters[path + ".norm.weight"] if quantizers["norm"] == "inside" else None
        weight, eps = self.parameters[path + ".weight"], self.config["rms_norm_eps"]
        return bit_linear(x, weight, quantizers["weights"], quantizers["activations"], norm_weight, eps, self.margins)

    def outer_norm(self, x, path):
        return self.norm(x, path) if self.config["bit_linear"]["norm"] == "outside" else x

    def sub_norm(self, x, path):
        return self.norm(x, path) if self.config["sub_norms"] else x

    def norm(self, x, path):
        return rms_norm(x, self.parameters[path + ".weight"], self.config["rms_norm_eps"])


def parameter_shapes(config):
    """Name -> shape of every parameter that the decoder of `config` has."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    head_dim = hidden // config["num_attention_heads"]
    narrow = config["num_key_value_heads"] * head_dim
    inside = config["bit_linear"]["norm"] == "inside"
    attention = {"q_proj": (hidden, hidden), "k_proj": (narrow, hidden), "v_proj": (narrow, hidden), "o_proj": (hidden, hidden)}
    projections = {f"self_attn.{name}": shape for name, shape in attention.items()}
    projections |= {"mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden), "mlp.down_proj": (hidden, inner)}
    block = {f"{name}.weight": shape for name, shape in projections.items()}
    if inside:
        block |= {f"{name}.norm.weight": (shape[1],) for name, shape in projections.items()}
    else:
        block |= {"input_layernorm.weight": (hidden,), "post_attention_layernorm.weight": (hidden,)}
    if config["sub_norms"]:
        block |= {"self_attn.attn_sub_norm.weight": (hidden,), "mlp.ffn_sub_norm.weight": (inner,)}
    shapes = {"model.embed_tokens.weight": (config["vocab_size"], hidden), "model.norm.weight": (hidden,)}
    for layer in range(config["num_hidden_layers"]):
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in block.items()}
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], hidden)
    return shapes
