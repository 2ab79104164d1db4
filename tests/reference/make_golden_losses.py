"""Trains the golden run's steps in PyTorch and records the losses in tests/golden/arithmetic_losses.csv. Where the start comes from
and how to run it, tests/golden/README.md says. Owns the loop; decoder and quantizers are torch_reference.py's.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from torch_reference import Decoder

GOLDEN = Path(__file__).parent.parent / "golden" / "arithmetic_losses.csv"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dump", type=Path, help="the directory that BITNET_GOLDEN_DUMP named")
    dump = parser.parse_args().dump
    torch.set_num_threads(1)
    columns = {name: train_dump(dump / name) for name in ("ternary", "full_precision")}
    rows = [",".join([str(step), *(f"{loss:.9g}" for loss in losses)]) for step, losses in enumerate(zip(*columns.values()), start=1)]
    GOLDEN.write_text("\n".join([",".join(["step", *columns]), *rows]) + "\n")
    print(GOLDEN.read_text(), end="")


def train_dump(dump):
    experiment = json.loads((dump / "experiment.json").read_text())
    weights, given = load_file(dump / "weights.safetensors"), load_file(dump / "batches.safetensors")
    return train(experiment, {name: tensor.requires_grad_() for name, tensor in weights.items()}, given)


def train(experiment, parameters, given):
    decoder, optimizer = Decoder(experiment["model"], parameters), adamw(experiment["train"]["optimizer"], parameters)
    losses = []
    for step, (learning_rate, weight_decay) in enumerate(zip(given["learning_rate"].tolist(), given["weight_decay"].tolist()), start=1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
            group["weight_decay"] = weight_decay if group["decays"] else 0.0
        optimizer.zero_grad()
        loss = decoder.loss(given[f"inputs/{step}"], given[f"targets/{step}"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), experiment["train"]["max_grad_norm"])
        optimizer.step()
        losses.append(loss.item())
    return losses


def adamw(settings, parameters):
    """Norms and embeddings decay only where the config says so."""

    def decays(name):
        if "norm" in name:
            return settings["decay_norms"]
        return settings["decay_embeddings"] if "embed_tokens" in name or "lm_head" in name else True

    groups = [{"params": [tensor for name, tensor in parameters.items() if decays(name) == choice], "decays": choice} for choice in (True, False)]
    return torch.optim.AdamW([group for group in groups if group["params"]], betas=(settings["beta1"], settings["beta2"]), eps=settings["epsilon"])


if __name__ == "__main__":
    main()
