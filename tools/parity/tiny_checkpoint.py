"""Writes the checkpoint folder of one shape, with random weights from a seed."""
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (AutoTokenizer, Blip2Config, Blip2ForConditionalGeneration, Blip2Processor,
                          BlipImageProcessorPil, GenerationConfig)

from . import tiny_tokenizer
from .shapes import Shape

BOS, PAD = 2, 1
IMAGE_MEAN = [0.48145466, 0.4578275, 0.40821073]
IMAGE_STD = [0.26862954, 0.26130258, 0.27577711]
_SPECIAL = dict(bos_token="</s>", eos_token="</s>", unk_token="</s>", pad_token="<pad>")


def make(shape: Shape, seed: int, folder: Path, eos: list[int] = (BOS,)) -> None:
    """Replaces `folder`. `eos` are the ids that end a text."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    vocabulary, merges = tiny_tokenizer.train()
    config = _config(shape, len(vocabulary), list(eos))
    weights = random_weights(config, seed, shape.dtype)
    if shape.layout == "legacy":
        weights["language_model.lm_head.weight"] = weights["language_model.model.decoder.embed_tokens.weight"].clone()
    _write_tokenizer(shape, vocabulary, merges, folder)
    _write_processor(shape, folder)
    if shape.layout == "transformers5":
        _save_with_transformers(config, weights, shape, folder)
        return
    _write_weights(weights, shape.shards, folder)
    _write_json(folder / "config.json", _legacy_config(config) if shape.layout == "legacy" else _sparse_config(config, shape))
    if shape.layout != "legacy":
        _write_json(folder / "generation_config.json", dict(
            _from_model_config=True, bos_token_id=BOS, eos_token_id=eos[0] if len(eos) == 1 else list(eos), pad_token_id=PAD))


def image_token_id(vocabulary_size: int) -> int:
    """<image> follows the vocabulary."""
    return vocabulary_size


def _config(shape, vocabulary_size, eos) -> Blip2Config:
    rows = (vocabulary_size + 1 + 15) // 16 * 16  # padded, as the hub's embedding is
    return Blip2Config(
        vision_config=shape.vision, qformer_config=shape.qformer, num_query_tokens=shape.queries,
        text_config=dict(model_type="opt", vocab_size=rows, bos_token_id=BOS, pad_token_id=PAD,
                         eos_token_id=eos[0] if len(eos) == 1 else eos) | shape.text,
        image_token_index=image_token_id(vocabulary_size))


def random_weights(config: Blip2Config, seed: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Every tensor of the checkpoint (a tied head is not one), large enough that each layer changes the answer."""
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in Blip2ForConditionalGeneration(config).state_dict().items()}
    if config.text_config.tie_word_embeddings:
        del shapes["language_model.lm_head.weight"]
    generator = torch.Generator().manual_seed(seed)
    return {name: _random_tensor(name, shape, generator).to(dtype) for name, shape in sorted(shapes.items())}


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
    gain = 3 if any(part in name for part in ("query.weight", "key.weight", "q_proj", "k_proj", "fc2")) else 1.5
    return values * gain / fan_in**0.5


def _write_weights(weights, shards, folder):
    if shards == 1:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names, weight_map = sorted(weights), {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = names[i::shards]
        save_file({name: weights[name] for name in part}, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    size = sum(t.numel() * t.element_size() for t in weights.values())
    _write_json(folder / "model.safetensors.index.json", dict(metadata=dict(total_size=size), weight_map=weight_map))


def _sparse_config(config, shape):
    """What the hub repository of today stores: fields that differ from the defaults."""
    text = dict(shape.text)
    for name in ("vocab_size", "eos_token_id"):
        text[name] = getattr(config.text_config, name)
    return dict(
        architectures=["Blip2ForConditionalGeneration"], model_type="blip-2", image_text_hidden_size=256,
        image_token_index=config.image_token_index, initializer_factor=1.0, initializer_range=0.02,
        num_query_tokens=shape.queries, use_decoder_only_language_model=True, torch_dtype=str(shape.dtype)[6:],
        transformers_version="4.47.0.dev0",
        vision_config=dict(shape.vision, model_type="blip_2_vision_model", num_channels=3, dropout=0.0, projection_dim=512),
        qformer_config=dict(shape.qformer, model_type="blip_2_qformer", encoder_hidden_size=shape.vision["hidden_size"]),
        text_config=dict(text, model_type="opt", prefix="</s>", activation_dropout=0.0, torch_dtype="float16",
                         _name_or_path="facebook/opt-2.7b"))


def _legacy_config(config):
    """What the hub repository stored before November 2024: every field, and none for the image token."""
    generic = dict(
        add_cross_attention=False, bad_words_ids=None, chunk_size_feed_forward=0, cross_attention_hidden_size=None,
        diversity_penalty=0.0, do_sample=False, early_stopping=False, is_decoder=False, is_encoder_decoder=False,
        length_penalty=1.0, max_length=20, min_length=0, no_repeat_ngram_size=0, num_beams=1, num_return_sequences=1,
        output_attentions=False, output_hidden_states=False, pruned_heads={}, repetition_penalty=1.0, return_dict=True,
        temperature=1.0, tf_legacy_loss=False, top_k=50, top_p=1.0, torchscript=False, use_bfloat16=False,
        torch_dtype=None)
    stored = config.to_dict()
    del stored["image_token_index"]
    for part in ("vision_config", "qformer_config", "text_config"):
        stored[part] = generic | stored[part]
        stored[part].pop("transformers_version", None)
    stored["vision_config"] |= dict(dropout=0.0, num_channels=3, projection_dim=512, initializer_factor=1.0)
    return stored | dict(architectures=["Blip2ForConditionalGeneration"], torch_dtype="bfloat16",
                         transformers_version=None, tie_word_embeddings=False, is_encoder_decoder=False)


def _write_tokenizer(shape, vocabulary, merges, folder):
    if shape.layout != "slow_tokenizer":
        tokenizer = tiny_tokenizer.assemble(vocabulary, merges)
        stored = json.loads(tokenizer.to_str())
        if shape.layout == "legacy":  # tokenizers before 0.20 wrote a merge as one string
            stored["model"]["merges"] = [" ".join(m) for m in merges]
        _write_json(folder / "tokenizer.json", stored)
    added = {"1": ("<pad>", True), "2": ("</s>", True), str(image_token_id(len(vocabulary))): ("<image>", False)}
    _write_json(folder / "tokenizer_config.json", dict(
        _SPECIAL, tokenizer_class="GPT2Tokenizer", processor_class="Blip2Processor", add_bos_token=True, add_prefix_space=False,
        errors="replace", model_max_length=10**30, added_tokens_decoder={
            id: dict(content=content, special=True, normalized=normalized, lstrip=False, rstrip=False, single_word=False)
            for id, (content, normalized) in added.items()}))
    _write_json(folder / "special_tokens_map.json", _SPECIAL)
    _write_json(folder / "vocab.json", vocabulary)
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(m) for m in merges)]) + "\n")
    if shape.layout != "legacy":
        _write_json(folder / "added_tokens.json", {"<image>": image_token_id(len(vocabulary))})


def _write_processor(shape, folder):
    _write_json(folder / "preprocessor_config.json", dict(
        do_convert_rgb=True, do_normalize=True, do_rescale=True, do_resize=True, image_mean=IMAGE_MEAN, image_std=IMAGE_STD,
        image_processor_type="BlipImageProcessor", processor_class="Blip2Processor", resample=3,
        rescale_factor=0.00392156862745098, size=dict(height=shape.image_size, width=shape.image_size)))
    if shape.layout != "legacy":
        _write_json(folder / "processor_config.json", dict(num_query_tokens=shape.queries, processor_class="Blip2Processor"))


def _save_with_transformers(config, weights, shape, folder):
    """Reads back what was written for today's repository and lets transformers write the folder anew."""
    model = Blip2ForConditionalGeneration(config)
    model.load_state_dict(weights, strict=False)
    model.to(shape.dtype)
    model.generation_config = GenerationConfig(
        bos_token_id=BOS, eos_token_id=config.text_config.eos_token_id, pad_token_id=PAD)
    processor = Blip2Processor(BlipImageProcessorPil.from_pretrained(folder), AutoTokenizer.from_pretrained(folder), shape.queries)
    shutil.rmtree(folder)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")
