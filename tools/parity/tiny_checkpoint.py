"""Makes the tiny checkpoint of one shape, with random weights from a seed."""
import shutil
from pathlib import Path

import torch
from transformers import (AutoTokenizer, Blip2Config, Blip2ForConditionalGeneration, Blip2Processor,
                          BlipImageProcessorPil, GenerationConfig)

from . import checkpoint_files as files
from . import tiny_tokenizer
from .shapes import Shape


def make(shape: Shape, seed: int, folder: Path, eos: list[int] = (files.BOS,)) -> None:
    """Replaces `folder`. `eos` are the ids that end a text."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    vocabulary, merges = tiny_tokenizer.train()
    rows = (len(vocabulary) + 1 + 15) // 16 * 16  # padded, as the hub's embedding is
    config = files.config_of(shape, len(vocabulary), rows, list(eos))
    weights = random_weights(config, seed, shape.dtype)
    if shape.layout == "legacy":
        weights["language_model.lm_head.weight"] = weights["language_model.model.decoder.embed_tokens.weight"].clone()
    files.write_tokenizer(shape, vocabulary, merges, folder)
    files.write_processor(shape, folder)
    if shape.layout == "transformers5":
        _save_with_transformers(config, weights, shape, folder)
        return
    files.write_weights(weights, shape.shards, folder)
    if shape.layout == "legacy":
        files.write_json(folder / "config.json", files.legacy_config(config))
    else:
        files.write_json(folder / "config.json", files.sparse_config(config, shape))
        files.write_generation_config(list(eos), folder)


def tensor_shapes(config: Blip2Config) -> dict[str, torch.Size]:
    """What the checkpoint stores, by name; a tied head is not stored."""
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in Blip2ForConditionalGeneration(config).state_dict().items()}
    if config.text_config.tie_word_embeddings:
        del shapes["language_model.lm_head.weight"]
    return dict(sorted(shapes.items()))


def random_weights(config: Blip2Config, seed: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Every tensor of the checkpoint, large enough that each layer changes the answer."""
    generator = torch.Generator().manual_seed(seed)
    return {name: _random_tensor(name, shape, generator).to(dtype) for name, shape in tensor_shapes(config).items()}


def _random_tensor(name, shape, generator):
    values = torch.randn(shape, generator=generator)
    if name.endswith("bias"):
        if "qkv" in name:
            values.view(3, -1)[1] = 0  # keys have no bias
        return values * 0.1
    if len(shape) == 1:  # layer norm
        return 1 + 0.2 * values
    if "embed" in name and "patch" not in name or name in ("query_tokens", "language_model.lm_head.weight"):
        return values
    fan_in = values[0].numel()
    gain = 3 if "fc2" in name else 2 if any(part in name for part in ("query", "key", "q_proj", "k_proj")) else 1.5
    return values * gain / fan_in**0.5


def _save_with_transformers(config, weights, shape, folder):
    """Reads back what was written for today's repository and lets transformers write the folder anew."""
    model = Blip2ForConditionalGeneration(config)
    model.load_state_dict(weights, strict=False)
    model.to(shape.dtype)
    model.generation_config = GenerationConfig(
        bos_token_id=files.BOS, eos_token_id=config.text_config.eos_token_id, pad_token_id=files.PAD)
    processor = Blip2Processor(BlipImageProcessorPil.from_pretrained(folder), AutoTokenizer.from_pretrained(folder), shape.queries)
    shutil.rmtree(folder)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
