"""What the vision transformer made of an image, and plans of the context window."""

from __future__ import annotations

import dataclasses

import numpy

from diptych.answers import ContextBudget, Grid


def _no_patches() -> Grid:
    return numpy.zeros((0, 0), dtype=numpy.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class AttentionMap:
    """Attention over an image; `patches` and `class_token` sum to 1."""

    patches: Grid = dataclasses.field(default_factory=_no_patches)
    """[patch rows, patch columns], from the top left."""
    class_token: float = 0.0
    """Share of the class token, which represents the whole image."""


@dataclasses.dataclass(frozen=True)
class ImageSize:
    """Pixels."""

    height: int = 0
    width: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Analysis:
    """Shapes, counts and norms of an image's visual tokens, and where the model looked."""

    pixel_shape: tuple[int, ...] = ()
    """Batch, channels, height, width."""
    patch_rows: int = 0
    patch_columns: int = 0
    feature_shape: tuple[int, ...] = ()
    """Batch, visual tokens, width."""
    visual_tokens: int = 0
    """With the class token."""
    visual_width: int = 0
    mean_norm: float = 0.0
    """Mean Euclidean norm of the visual tokens."""
    cls_attention: AttentionMap | None = None
    """The class token's attention in the last vision layer, averaged over heads."""
    query_attention: tuple[AttentionMap, ...] = ()
    """One map for each query token of the Q-Former."""
    mean_query_attention: AttentionMap | None = None
    prepared_image: bytes = b""
    """A PNG file of what the vision transformer saw."""
    image_size: ImageSize = ImageSize()
    """The image as it was sent, after its orientation was applied."""
    request_id: str = ""


@dataclasses.dataclass(frozen=True)
class WindowPlan:
    """How one window would be used."""

    budget: ContextBudget = ContextBudget()
    """`remaining` is negative by the tokens that do not fit."""
    remaining_dense: int = 0
    """Tokens left if every patch were a token."""
    images_that_fit: int = 0
    images_that_fit_dense: int = 0


@dataclasses.dataclass(frozen=True)
class ContextPlan:
    """Token counts of a request, without running it."""

    patch_tokens: tuple[int, ...] = ()
    query_tokens: int = 0
    text_tokens: int = 0
    windows: tuple[WindowPlan, ...] = ()
