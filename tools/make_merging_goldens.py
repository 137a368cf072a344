#!/usr/bin/env python3
"""Makes tests/goldens/token_merging/merged.safetensors: a vision transformer with token merging, in float64 numpy.

    .deps/python/bin/python tools/make_merging_goldens.py

Written from the formulas of Bolya et al., "Token Merging: Your ViT But Faster" (2023), one image and one token at a
time, and of Blip2VisionModel. Reads the checkpoint and the pixels of a golden shape; writes "<thousandths>.vision"
[1, P, Dv] and the margins of the closest decision, so that a tie can't make the golden a matter of rounding.
"""
import json
import math
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_tensors  # numpy knows no bfloat16

GOLDENS = Path(__file__).resolve().parent.parent / "tests" / "goldens"
SHAPE = "small_patches"
CASE = "caption"
MERGINGS = (0, 100, 250, 500)
erf = np.vectorize(math.erf)
CLEAR = 1e-4  # least difference of two scores whose order decides


class Vision:
    def __init__(self, folder: Path):
        config = json.loads((folder / "config.json").read_text())["vision_config"]
        self.w = {name: value.double().numpy() for name, value in load_tensors(folder / "model.safetensors").items()}
        self.heads, self.layers, self.patch = config["num_attention_heads"], config["num_hidden_layers"], config["patch_size"]
        self.eps = config.get("layer_norm_eps", 1e-6)

    def linear(self, name, x):
        bias = self.w.get(f"{name}.bias")
        y = x @ self.w[f"{name}.weight"].T
        return y if bias is None else y + bias

    def norm(self, name, x):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + self.eps) * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def embed(self, pixels):
        """[3, S, S] -> [1 + patches, Dv], at the model's own size."""
        p, kernel = self.patch, self.w["vision_model.embeddings.patch_embedding.weight"]
        tokens = [self.w["vision_model.embeddings.class_embedding"].ravel()]
        for row in range(0, pixels.shape[1], p):
            for column in range(0, pixels.shape[2], p):
                patch = pixels[:, row:row + p, column:column + p]
                tokens.append((kernel * patch).sum((1, 2, 3)) + self.w["vision_model.embeddings.patch_embedding.bias"])
        return np.array(tokens) + self.w["vision_model.embeddings.position_embedding"][0]

    def attend(self, name, x, sizes):
        """Attention in which a token counts as many times as it has patches, and the keys' mean over the heads."""
        q, k, v = np.split(self.linear(f"{name}.qkv", x), 3, -1)
        width = x.shape[1] // self.heads
        outputs, keys = [], []
        for head in range(self.heads):
            part = slice(head * width, (head + 1) * width)
            weights = np.exp(q[:, part] @ k[:, part].T / np.sqrt(width)) * sizes
            outputs.append(weights / weights.sum(-1, keepdims=True) @ v[:, part])
            keys.append(k[:, part])
        return self.linear(f"{name}.projection", np.concatenate(outputs, -1)), np.mean(keys, 0)

    def forward(self, pixels, merging):
        x = self.embed(pixels)
        sizes, margin = np.ones(len(x)), np.inf
        for i in range(self.layers):
            name = f"vision_model.encoder.layers.{i}"
            attended, keys = self.attend(f"{name}.self_attn", self.norm(f"{name}.layer_norm1", x), sizes)
            x = x + attended
            if count := (len(x) - 1) * merging // 1000:
                x, sizes, clear = merge(x, sizes, keys, count)
                margin = min(margin, clear)
            hidden = self.linear(f"{name}.mlp.fc1", self.norm(f"{name}.layer_norm2", x))
            x = x + self.linear(f"{name}.mlp.fc2", hidden * (1 + erf(hidden / np.sqrt(2))) / 2)
        return self.norm("vision_model.post_layernorm", x), margin


def merge(x, sizes, keys, count):
    """Merges the `count` best pairs; returns the closest difference between scores that decided."""
    keys = keys / np.linalg.norm(keys, axis=1, keepdims=True)
    even, odd = list(range(0, len(x), 2)), list(range(1, len(x), 2))
    pairs, margin = [], np.inf
    for i in even[1:]:  # 0 is the class token
        scores = sorted(((keys[i] @ keys[j], j) for j in odd), reverse=True)
        pairs.append((scores[0][0], i, scores[0][1], scores[0][0] - scores[1][0]))
    pairs.sort(reverse=True)
    if count < len(pairs):
        margin = pairs[count - 1][0] - pairs[count][0]
    margin = min([margin] + [pair[3] for pair in pairs[:count]])
    groups = {j: [j] for j in odd}
    for _, i, j, _ in pairs[:count]:
        groups[j].append(i)
    gone = {i for _, i, _, _ in pairs[:count]}
    members = [[i] for i in even if i not in gone] + [groups[j] for j in odd]
    merged = np.array([sum(x[i] * sizes[i] for i in group) / sum(sizes[i] for i in group) for group in members])
    return merged, np.array([sum(sizes[i] for i in group) for group in members]), margin


def main() -> None:
    vision = Vision(GOLDENS / SHAPE / "model")
    golden = load_file(GOLDENS / SHAPE / "golden.safetensors")
    pixels = golden[f"{CASE}.pixels"][0].astype(np.float64)
    tensors = {}
    for merging in MERGINGS:
        tokens, margin = vision.forward(pixels, merging)
        print(f"{merging}: {tokens.shape[0]} tokens, closest decision {margin:.2g}")
        if margin < CLEAR:
            raise SystemExit("a near tie decides: choose another case")
        tensors[f"{merging}.vision"] = tokens[None].astype(np.float32)
    difference = np.abs(tensors["0.vision"] - golden[f"{CASE}.vision"]).max()
    if difference > 1e-4:
        raise SystemExit(f"without merging this differs from transformers by {difference}")
    folder = GOLDENS / "token_merging"
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "merged.safetensors")


if __name__ == "__main__":
    main()
