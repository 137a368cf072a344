"""The shapes of BLIP-2 that are compared: small models that differ in every way that a checkpoint may differ."""
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Shape:
    """A tiny model. `vision`, `qformer` and `text` are the fields of those parts of config.json that differ
    from transformers' defaults; `layout` is how the folder looks:

    current        what the hub repository holds today: only fields that differ, <image> as an added token
    legacy         what it held before November 2024: every field, none for the image token (which only
                   tokenizer.json names here; the hub's has none), lm_head.weight stored
    transformers5  what save_pretrained of transformers 5 writes: one processor_config.json, tokenizer.json alone
    slow_tokenizer as current, but vocab.json and merges.txt in place of tokenizer.json
    """
    name: str
    about: str
    vision: dict
    qformer: dict
    text: dict
    queries: int
    layout: str = "current"
    dtype: torch.dtype = torch.bfloat16
    shards: int = 1
    eos_ids: int = 1  # how many ids end the text; with more than one, config.json holds a list

    @property
    def image_size(self) -> int:
        return self.vision["image_size"]


def _shape(name, about, *, vision=None, qformer=None, text=None, queries=6, **other):
    """Fills in the sizes that `name` is not about."""
    return Shape(
        name, about, queries=queries,
        vision=dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2,
                    image_size=28, patch_size=7) | (vision or {}),
        qformer=dict(vocab_size=16, hidden_size=24, intermediate_size=36, num_hidden_layers=2,
                     num_attention_heads=3) | (qformer or {}),
        text=dict(hidden_size=32, ffn_dim=56, num_hidden_layers=2, num_attention_heads=4,
                  max_position_embeddings=80) | (text or {}),
        **other)


SHAPES = (
    _shape("current", "the hub repository of today; two ids end the text", eos_ids=2, dtype=torch.float32),
    _shape("legacy", "the hub repository before November 2024", layout="legacy"),
    _shape("transformers5", "as save_pretrained of transformers 5 writes it", layout="transformers5"),
    _shape("sharded", "four shards and an index", shards=4, dtype=torch.float16),
    _shape("small_patches", "25 patches of 8 × 8 pixels, 3 queries", queries=3, layout="slow_tokenizer",
           vision=dict(image_size=40, patch_size=8)),
    _shape("wide_heads", "heads of 40, 16 and 12; patches of 14; 17 queries", queries=17,
           vision=dict(hidden_size=40, num_attention_heads=1, image_size=42, patch_size=14), qformer=dict(hidden_size=32, num_attention_heads=2),
           text=dict(hidden_size=36, num_attention_heads=3)),
    _shape("cross_every_layer", "every Q-Former layer reads the image",
           qformer=dict(num_hidden_layers=3, cross_attention_frequency=1)),
    _shape("cross_every_third", "Q-Former layers 0 and 3 read the image",
           qformer=dict(num_hidden_layers=5, cross_attention_frequency=3)),
    _shape("no_qkv_bias", "no bias in the vision transformer's qkv; layer_norm_eps 1e-5",
           vision=dict(qkv_bias=False, layer_norm_eps=1e-5)),
    _shape("opt_350m", "post-layer-norm decoder with project_in and project_out",
           text=dict(word_embed_proj_dim=20, do_layer_norm_before=False)),
    _shape("bare_decoder", "decoder without biases, layer-norm weights and final layer norm",
           text=dict(enable_bias=False, layer_norm_elementwise_affine=False, _remove_final_layer_norm=True)),
    _shape("untied", "an lm_head of its own", text=dict(tie_word_embeddings=False)),
)


def shape_named(name: str) -> Shape:
    return next(shape for shape in SHAPES if shape.name == name)
