"""Writes gguf_blocks.json and gguf_package.gguf beside this file: blocks and a whole file as the package `gguf` makes them.

    pip install gguf==0.19.0 && python make_gguf_reference.py

Numbers are made of integers alone, so that the files are the same wherever they are made.
"""

import json
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

HERE = Path(__file__).parent


def pattern(count, period, seed):
    """Whole numbers below `period` that look random."""
    return np.array([(index * index * 31 + index * 17 + seed * 101) // 7 % period for index in range(count)], dtype=np.int64)


def block(kind, values):
    data = gguf.quantize(values, kind)
    return {"type": kind.name, "input": values.tolist(), "values": gguf.dequantize(data, kind).tolist(), "bytes": data.tobytes().hex()}


def read_only(kind, num_blocks, seed):
    """Types that the package reads but does not write: bytes at random, with a scale that is a number."""
    _, width = gguf.GGML_QUANT_SIZES[kind]
    data = pattern(num_blocks * width, 256, seed).astype(np.uint8).reshape(num_blocks, width)
    data[:, -2:] = np.array([0.0078125 * (1 + seed)], dtype=np.float16).view(np.uint8)
    return {"type": kind.name, "input": None, "values": gguf.dequantize(data, kind).reshape(-1).tolist(), "bytes": data.tobytes().hex()}


codes = (pattern(1024, 3, 1) - 1).astype(np.float32)
some = (pattern(128, 2001, 2).astype(np.float32) - 1000) / 64
blocks = [
    block(Type.TQ1_0, (codes * np.float32(0.75)).astype(np.float32)),
    block(Type.TQ2_0, (codes * np.float32(0.75)).astype(np.float32)),
    block(Type.F16, some),
    block(Type.BF16, some),
    block(Type.Q8_0, some),
    block(Type.Q4_0, some),
    read_only(Type.Q6_K, 2, 3),
]
(HERE / "gguf_blocks.json").write_text(json.dumps(blocks) + "\n")

writer = gguf.GGUFWriter(HERE / "gguf_package.gguf", "bitnet")
writer.add_uint32("bitnet.block_count", 7)
writer.add_float32("bitnet.rope.freq_base", 10000.5)
writer.add_int8("a.int8", -5)
writer.add_uint64("a.uint64", 1 << 40)
writer.add_int64("a.int64", -(1 << 40))
writer.add_float64("a.float64", 0.1)
writer.add_bool("a.bool", True)
writer.add_array("a.texts", ["", "é☺", "x y"])
writer.add_array("a.numbers", [3, -1, 2])
writer.add_array("a.floats", [0.5, -0.25])
writer.add_tensor("codes", gguf.quantize(codes.reshape(2, 512), Type.TQ2_0), raw_dtype=Type.TQ2_0)
writer.add_tensor("row", np.array([1.5, -2.0, 0.25], dtype=np.float32))
writer.add_tensor("half", np.arange(6, dtype=np.float16).reshape(2, 3))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
