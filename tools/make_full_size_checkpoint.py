"""Writes a checkpoint of BLIP2-OPT-2.7b's size with random bfloat16 weights, for benchmarks: 3.7 billion parameters, 7.5 GB.

    python3 tools/make_full_size_checkpoint.py FOLDER [--seed 0] [--layers N] [--device cuda]

The time of a dense model does not depend on its weights. The tokenizer is the bundled model's, whose ids are within the
larger vocabulary. Needs numpy; with --device torch, which draws the numbers there: seconds on a card, other numbers than numpy's.
"""
import argparse
import json
import pathlib
import shutil
import struct

import numpy

DEMO = pathlib.Path(__file__).resolve().parent.parent / "models" / "demo"
VISION = dict(hidden_size=1408, intermediate_size=6144, num_hidden_layers=39, num_attention_heads=16, image_size=224)
QFORMER = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
               cross_attention_frequency=2, encoder_hidden_size=1408)
TEXT = dict(hidden_size=2560, word_embed_proj_dim=2560, ffn_dim=10240, num_hidden_layers=32, num_attention_heads=32,
            max_position_embeddings=2048, vocab_size=50304)
QUERIES = 32
BLOCK = 1 << 24  # numbers drawn at a time


def linear(name, out_width, in_width):
    return {f"{name}.weight": (out_width, in_width), f"{name}.bias": (out_width,)}


def norm(name, width):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def vision():
    width, inner = VISION["hidden_size"], VISION["intermediate_size"]
    patches = (VISION["image_size"] // 14) ** 2
    shapes = {"vision_model.embeddings.class_embedding": (1, 1, width),
              "vision_model.embeddings.position_embedding": (1, patches + 1, width),
              "vision_model.embeddings.patch_embedding.weight": (width, 3, 14, 14),
              "vision_model.embeddings.patch_embedding.bias": (width,)}
    for number in range(VISION["num_hidden_layers"]):
        layer = f"vision_model.encoder.layers.{number}."
        shapes |= norm(layer + "layer_norm1", width) | norm(layer + "layer_norm2", width)
        shapes |= linear(layer + "self_attn.qkv", 3 * width, width) | linear(layer + "self_attn.projection", width, width)
        shapes |= linear(layer + "mlp.fc1", inner, width) | linear(layer + "mlp.fc2", width, inner)
    return shapes | norm("vision_model.post_layernorm", width)


def attention(name, width, source):
    shapes = linear(f"{name}.attention.query", width, width)
    shapes |= linear(f"{name}.attention.key", width, source) | linear(f"{name}.attention.value", width, source)
    return shapes | linear(f"{name}.output.dense", width, width) | norm(f"{name}.output.LayerNorm", width)


def qformer():
    width, inner = QFORMER["hidden_size"], QFORMER["intermediate_size"]
    shapes = {"query_tokens": (1, QUERIES, width)} | norm("qformer.layernorm", width)
    for number in range(QFORMER["num_hidden_layers"]):
        layer = f"qformer.encoder.layer.{number}."
        shapes |= attention(layer + "attention", width, width)
        if number % QFORMER["cross_attention_frequency"] == 0:
            shapes |= attention(layer + "crossattention", width, QFORMER["encoder_hidden_size"])
        shapes |= linear(layer + "intermediate_query.dense", inner, width)
        shapes |= linear(layer + "output_query.dense", width, inner) | norm(layer + "output_query.LayerNorm", width)
    return shapes | linear("language_projection", TEXT["hidden_size"], width)


def decoder():
    width, inner = TEXT["hidden_size"], TEXT["ffn_dim"]
    model = "language_model.model.decoder."
    shapes = {model + "embed_tokens.weight": (TEXT["vocab_size"], width),
              model + "embed_positions.weight": (TEXT["max_position_embeddings"] + 2, width)}
    for number in range(TEXT["num_hidden_layers"]):
        layer = f"{model}layers.{number}."
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= linear(f"{layer}self_attn.{part}", width, width)
        shapes |= norm(layer + "self_attn_layer_norm", width) | norm(layer + "final_layer_norm", width)
        shapes |= linear(layer + "fc1", inner, width) | linear(layer + "fc2", width, inner)
    return shapes | norm(model + "final_layer_norm", width)


def numbers(name, count, random):
    """Bytes of `count` bfloat16 numbers, a block at a time: gains 1, all else normal with a deviation of 0.02."""
    for begin in range(0, count, BLOCK):
        size = min(BLOCK, count - begin)
        is_gain = "norm" in name.lower() and name.endswith("weight")
        values = numpy.ones(size, numpy.float32) if is_gain else random.standard_normal(size, numpy.float32) * numpy.float32(0.02)
        yield (values.view(numpy.uint32) >> 16).astype("<u2").tobytes()


class TorchNumbers:
    """Draws on a device, as numpy's generator does on the CPU."""

    def __init__(self, seed, device):
        import torch
        self._torch, self._device = torch, device
        self._generator = torch.Generator(device).manual_seed(seed)

    def bfloat16(self, count):
        values = self._torch.randn(count, generator=self._generator, device=self._device).mul_(0.02)
        return values.to(self._torch.bfloat16).view(self._torch.int16).cpu().numpy().tobytes()


def draw(name, count, random):
    """As numbers(), by whatever draws them."""
    if not isinstance(random, TorchNumbers) or ("norm" in name.lower() and name.endswith("weight")):
        return numbers(name, count, random)
    return (random.bfloat16(min(BLOCK, count - begin)) for begin in range(0, count, BLOCK))


def write_weights(file, shapes, random):
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * int(numpy.prod(shape))
        header[name] = dict(dtype="BF16", shape=list(shape), data_offsets=[begin, end])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(file, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for number, (name, shape) in enumerate(shapes.items()):
            for piece in draw(name, int(numpy.prod(shape)), random):
                out.write(piece)
            print(f"\r{100 * (number + 1) // len(shapes)} %", end="", flush=True)
    print(f"\r{file}: {end / 1e9:.1f} GB")


def write_config(folder):
    config = json.loads((DEMO / "config.json").read_text())
    config["num_query_tokens"] = QUERIES
    for part, sizes in (("vision_config", VISION), ("qformer_config", QFORMER), ("text_config", TEXT)):
        config[part] |= sizes
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    preparation = json.loads((DEMO / "preprocessor_config.json").read_text())
    preparation["size"] = dict(height=VISION["image_size"], width=VISION["image_size"])
    (folder / "preprocessor_config.json").write_text(json.dumps(preparation, indent=1))
    processor = json.loads((DEMO / "processor_config.json").read_text()) | dict(num_query_tokens=QUERIES)
    (folder / "processor_config.json").write_text(json.dumps(processor, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", type=int, default=0, help="of each part; 0: as many as the model has")
    parser.add_argument("--device", help="draw with torch, on cpu, cuda or cuda:N; default: with numpy")
    arguments = parser.parse_args()
    for part in (VISION, QFORMER, TEXT) if arguments.layers else ():
        part["num_hidden_layers"] = arguments.layers
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for file in DEMO.iterdir():
        if file.suffix in (".json", ".txt") and file.name not in ("results.json", "samples.json"):
            shutil.copy(file, arguments.folder)
    write_config(arguments.folder)
    write_weights(arguments.folder / "model.safetensors", vision() | qformer() | decoder(),
                  TorchNumbers(arguments.seed, arguments.device) if arguments.device else numpy.random.default_rng(arguments.seed))


if __name__ == "__main__":
    main()
