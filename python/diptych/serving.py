"""What a server serves, and its current load."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class ModelPart:
    """Parameters and bytes of "vision", "qformer", "projection" or "language"."""

    name: str = ""
    parameters: int = 0
    bytes: int = 0
    dtype: str = ""


@dataclasses.dataclass(frozen=True)
class ModelDescription:
    """What a tier serves."""

    name: str = ""
    fingerprint: str = ""
    """Tiers with different values hold different models."""
    dtype: str = ""
    device: str = ""
    parts: tuple[ModelPart, ...] = ()
    window_tokens: int = 0
    patch_size: int = 0
    image_size: int = 0
    query_tokens: int = 0
    visual_tokens: int = 0
    visual_width: int = 0
    default_max_new_tokens: int = 0
    max_image_bytes: int = 0
    max_image_pixels: int = 0


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds that the gateway enforces."""

    max_image_bytes: int = 0
    max_image_pixels: int = 0
    max_images: int = 0
    max_prompt_bytes: int = 0
    max_inflight: int = 0


@dataclasses.dataclass(frozen=True)
class CacheLoad:
    """Look-ups and hits of "vision_tokens", "projected_tokens" or "kv_prefix" since the replica started."""

    name: str = ""
    queries: int = 0
    hits: int = 0


@dataclasses.dataclass(frozen=True)
class TierLoad:
    """Current load of a replica."""

    running: int = 0
    waiting: int = 0
    mean_batch_size: float = 0.0
    kv_cache_usage: float = 0.0
    inflight_bytes: int = 0
    caches: tuple[CacheLoad, ...] = ()


@dataclasses.dataclass(frozen=True)
class TierStatus:
    """One tier as the gateway sees it: "language" or "vision"."""

    name: str = ""
    serving: bool = False
    model: ModelDescription = ModelDescription()
    error: str = ""
    load: TierLoad = TierLoad()


@dataclasses.dataclass(frozen=True)
class ServedModel:
    """What is served. Images can be asked about only if both tiers serve."""

    model: ModelDescription = ModelDescription()
    limits: Limits = Limits()
    tiers: tuple[TierStatus, ...] = ()
    version: str = ""
