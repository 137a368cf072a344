"""The files of a checkpoint folder, in each layout that parity/shapes.py names."""
import json
from pathlib import Path

from safetensors.torch import save_file
from transformers import Blip2Config

from . import tiny_tokenizer
from .shapes import Shape

BOS, PAD = 2, 1
IMAGE_MEAN = [0.48145466, 0.4578275, 0.40821073]
IMAGE_STD = [0.26862954, 0.26130258, 0.27577711]
_SPECIAL = dict(bos_token="</s>", eos_token="</s>", unk_token="</s>", pad_token="<pad>")


def image_token_id(vocabulary_size: int) -> int:
    """<image> follows the vocabulary."""
    return vocabulary_size


def config_of(shape: Shape, vocabulary_size: int, rows: int, eos: list[int]) -> Blip2Config:
    """`rows` is the height of the embedding, of which `vocabulary_size` and one for <image> are in use."""
    return Blip2Config(
        vision_config=shape.vision, qformer_config=shape.qformer, num_query_tokens=shape.queries,
        text_config=dict(model_type="opt", vocab_size=rows, bos_token_id=BOS, pad_token_id=PAD,
                         eos_token_id=eos[0] if len(eos) == 1 else eos) | shape.text,
        image_token_index=image_token_id(vocabulary_size))


def write_weights(weights: dict, shards: int, folder: Path) -> None:
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
    write_json(folder / "model.safetensors.index.json", dict(metadata=dict(total_size=size), weight_map=weight_map))


def sparse_config(config: Blip2Config, shape: Shape) -> dict:
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


def legacy_config(config: Blip2Config) -> dict:
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


def write_generation_config(eos: list[int], folder: Path) -> None:
    write_json(folder / "generation_config.json", dict(
        _from_model_config=True, bos_token_id=BOS, eos_token_id=eos[0] if len(eos) == 1 else list(eos), pad_token_id=PAD))


def write_tokenizer(shape: Shape, vocabulary: dict[str, int], merges: list, folder: Path) -> None:
    if shape.layout != "slow_tokenizer":
        tokenizer = tiny_tokenizer.assemble(vocabulary, merges)
        stored = json.loads(tokenizer.to_str())
        if shape.layout == "legacy":  # tokenizers before 0.20 wrote a merge as one string
            stored["model"]["merges"] = [" ".join(m) for m in merges]
        write_json(folder / "tokenizer.json", stored)
    added = {"1": ("<pad>", True), "2": ("</s>", True), str(image_token_id(len(vocabulary))): ("<image>", False)}
    write_json(folder / "tokenizer_config.json", dict(
        _SPECIAL, tokenizer_class="GPT2Tokenizer", processor_class="Blip2Processor", add_bos_token=True, add_prefix_space=False,
        errors="replace", model_max_length=10**30, added_tokens_decoder={
            id: dict(content=content, special=True, normalized=normalized, lstrip=False, rstrip=False, single_word=False)
            for id, (content, normalized) in added.items()}))
    write_json(folder / "special_tokens_map.json", _SPECIAL)
    write_json(folder / "vocab.json", vocabulary)
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(m) for m in merges)]) + "\n")
    if shape.layout != "legacy":
        write_json(folder / "added_tokens.json", {"<image>": image_token_id(len(vocabulary))})


def write_processor(shape: Shape, folder: Path) -> None:
    write_json(folder / "preprocessor_config.json", dict(
        do_convert_rgb=True, do_normalize=True, do_rescale=True, do_resize=True, image_mean=IMAGE_MEAN, image_std=IMAGE_STD,
        image_processor_type="BlipImageProcessor", processor_class="Blip2Processor", resample=3,
        rescale_factor=0.00392156862745098, size=dict(height=shape.image_size, width=shape.image_size)))
    if shape.layout != "legacy":
        write_json(folder / "processor_config.json", dict(num_query_tokens=shape.queries, processor_class="Blip2Processor"))


def write_json(path: Path, value) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")
