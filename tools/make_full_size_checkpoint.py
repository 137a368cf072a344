#!/usr/bin/env python3
"""Writes a checkpoint of blip2-opt-2.7b's full size (3.74 billion parameters, 7.5 GB in bfloat16) with random weights.

    .deps/python/bin/python tools/make_full_size_checkpoint.py OUT [--tokenizer DIR] [--seed 0]

For speed, memory and parity at the real size; its answers are noise. DIR holds OPT's vocab.json and merges.txt;
without it a made-up vocabulary of the same size stands in. Needs 10 GB of disk and 4 GB of memory.
"""
import argparse
import hashlib
import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import pre_tokenizers

from parity import checkpoint_files as files
from parity.shapes import Shape
from parity.tiny_checkpoint import tensor_shapes

ROWS, NEWLINE = 50304, 50118  # BLIP-2 ends a text at the newline
SHARD_BYTES = 2 << 30
SHAPE = Shape(
    "blip2-opt-2.7b-random", "the published model's size", queries=32,
    vision=dict(hidden_size=1408, intermediate_size=6144, num_hidden_layers=39, num_attention_heads=16, image_size=224, patch_size=14),
    qformer=dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12),
    text=dict(hidden_size=2560, word_embed_proj_dim=2560, ffn_dim=10240, num_hidden_layers=32, num_attention_heads=32))


def random_tensor(name: str, shape: torch.Size, seed: int) -> torch.Tensor:
    """bfloat16, the same for a name and a seed in any order."""
    generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8], "little") >> 1)
    values = torch.randn(shape, generator=generator)
    if name.endswith("bias"):
        if "qkv" in name:
            values.view(3, -1)[1] = 0  # keys have no bias
        return (values * 0.02).bfloat16()
    if len(shape) == 1:  # layer norm
        return (1 + 0.02 * values).bfloat16()
    if name == "query_tokens":
        return values.bfloat16()
    if "embed" in name and "patch" not in name:
        return (values * (0.04 if "positions" in name else 0.02)).bfloat16()
    # Attention without training averages all tokens: were it strong, they would become alike layer by layer, and the
    # answer would be one token for ever.
    attention_output = name.endswith(("out_proj.weight", "self_attn.projection.weight"))
    values *= (0.36 if attention_output else 1.2) / values[0].numel() ** 0.5
    if name.endswith(("fc2.weight", "output_query.dense.weight")):
        # The same would come of what activations have for a mean, unless rows sum to zero.
        values -= values.mean(1, keepdim=True)
    return values.bfloat16()


def write_weights(shapes: dict[str, torch.Size], seed: int, folder: Path) -> None:
    shards, size = [[]], 0
    for name, shape in shapes.items():
        if size + 2 * shape.numel() > SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += 2 * shape.numel()
    weight_map = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file({name: random_tensor(name, shapes[name], seed) for name in names}, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(names, file)
        print(f"{file}: {len(names)} tensors", flush=True)
    parameters = sum(shape.numel() for shape in shapes.values())
    files.write_json(folder / "model.safetensors.index.json", dict(metadata=dict(total_size=2 * parameters), weight_map=weight_map))
    print(f"{parameters:,} parameters")


def opt_vocabulary(folder: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
    return vocabulary, [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]


def made_up_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """50265 tokens like OPT's, of which 50000 are pairs of bytes; "\\n" has the id that ends BLIP-2's texts."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [(a, b) for a in alphabet for b in alphabet][:50_000]
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *alphabet, *("".join(m) for m in merges),
              "<|endoftext|>", "madeupword0000", "madeupword0001", "madeupword0002", "<mask>"]
    newline = tokens.index("Ċ")
    tokens[newline], tokens[NEWLINE] = tokens[NEWLINE], tokens[newline]
    return {token: id for id, token in enumerate(tokens)}, merges


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(args.out).free < 10e9:
        sys.exit(f"{args.out}: less than 10 GB of disk are free")
    vocabulary, merges = opt_vocabulary(args.tokenizer) if args.tokenizer else made_up_vocabulary()
    config = files.config_of(SHAPE, len(vocabulary), ROWS, [NEWLINE])
    write_weights(tensor_shapes(config), args.seed, args.out)
    files.write_json(args.out / "config.json", files.sparse_config(config, SHAPE))
    files.write_generation_config([NEWLINE], args.out)
    files.write_processor(SHAPE, args.out)
    files.write_tokenizer(SHAPE, vocabulary, merges, args.out)


if __name__ == "__main__":
    main()
