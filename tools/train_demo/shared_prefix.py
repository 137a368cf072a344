"""Language-model logits of many texts about each image, with the image's tokens computed once and shared.

Twelve questions an image would otherwise run the same visual tokens twelve times; and the last layer runs only
where an answer token is predicted.
"""
from dataclasses import dataclass

import torch
import torch.nn.functional as F

_FIRST_POSITION = 2  # row of OPT's position table that belongs to position 0


@dataclass
class TextGroup:
    """R texts of similar length, padded on the right to L tokens.

    `ids` [R, L]; `image` [R] is the image each text is about; logits are wanted at (`rows`, `columns`).
    """

    ids: torch.Tensor
    image: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor


@dataclass
class _Span:
    """Where a group's hidden states lie in the flat batch, and its causal mask [L, Q + L]."""

    start: int
    group: TextGroup
    mask: torch.Tensor

    @property
    def end(self):
        return self.start + self.group.ids.numel()


def _spans(groups, images, queries):
    spans, start = [], images * queries
    for group in groups:
        length = group.ids.shape[1]
        mask = torch.zeros(length, queries + length)
        mask[:, queries:] = torch.full((length, length), float("-inf")).triu(1)
        spans.append(_Span(start, group, mask))
        start = spans[-1].end
    return spans


def _attention(layer, x, images, queries, spans, heads):
    """Self-attention output before its output projection, [tokens, D], for the flat batch x [tokens, D]."""
    width = x.shape[-1]

    def by_head(t, rows):
        return t.view(rows, -1, heads, width // heads).transpose(1, 2)

    def flat(t):
        return t.transpose(1, 2).reshape(-1, width)

    weight = torch.cat([layer.q_proj.weight, layer.k_proj.weight, layer.v_proj.weight])
    bias = torch.cat([layer.q_proj.bias, layer.k_proj.bias, layer.v_proj.bias])
    q, k, v = F.linear(x, weight, bias).split(width, -1)
    q, visual = q * layer.scaling, slice(0, images * queries)
    visual_k, visual_v = by_head(k[visual], images), by_head(v[visual], images)
    outputs = [flat(F.scaled_dot_product_attention(
        by_head(q[visual], images), visual_k, visual_v, is_causal=True, scale=1.0))]
    for span in spans:
        text, image, rows = slice(span.start, span.end), span.group.image, len(span.group.ids)
        keys = torch.cat([visual_k.index_select(0, image), by_head(k[text], rows)], 2)
        values = torch.cat([visual_v.index_select(0, image), by_head(v[text], rows)], 2)
        scores = by_head(q[text], rows) @ keys.transpose(-1, -2) + span.mask
        outputs.append(flat(scores.softmax(-1) @ values))
    return torch.cat(outputs)


def answer_logits(model, visual: torch.Tensor, groups: list[TextGroup]) -> torch.Tensor:
    """Projected visual tokens [B, Q, D] and text groups -> logits [wanted positions, V], group after group."""
    decoder = model.language_model.model.decoder
    positions = decoder.embed_positions.weight[_FIRST_POSITION:]
    images, queries, width = visual.shape
    spans = _spans(groups, images, queries)
    hidden = [(visual + positions[:queries]).reshape(-1, width)]
    for group in groups:
        length = group.ids.shape[1]
        hidden.append((decoder.embed_tokens(group.ids) + positions[queries:queries + length]).reshape(-1, width))
    hidden = torch.cat(hidden)
    wanted = torch.cat([s.start + s.group.rows * s.group.ids.shape[1] + s.group.columns for s in spans])
    heads = model.language_model.config.num_attention_heads
    for layer in decoder.layers:
        attended = _attention(layer.self_attn, layer.self_attn_layer_norm(hidden), images, queries, spans, heads)
        if layer is decoder.layers[-1]:
            attended, hidden = attended.index_select(0, wanted), hidden.index_select(0, wanted)
        hidden = hidden + layer.self_attn.out_proj(attended)
        hidden = hidden + layer.fc2(F.relu(layer.fc1(layer.final_layer_norm(hidden))))
    return F.linear(decoder.final_layer_norm(hidden), model.language_model.lm_head.weight)
