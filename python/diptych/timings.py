"""Where the time of a request went."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclasses.dataclass(frozen=True)
class CacheHits:
    """What was found in a cache and not computed again."""

    vision_tokens: int = 0
    """Images whose visual tokens were in the vision tier's cache."""
    projected_tokens: int = 0
    """Images whose projected query tokens were in the language tier's cache."""
    kv_prefix: int = 0
    """Prompt tokens whose keys and values were in the language tier's KV cache."""


def _stage() -> float:
    """A disjoint segment of the request's time."""
    field: float = dataclasses.field(default=0.0, metadata={"stage": True})
    return field


@dataclasses.dataclass(frozen=True)
class StageTimings:
    """Seconds. The stages are disjoint, and their sum is `total`.

    >>> import diptych
    >>> timings = diptych.Client().ask("red_circle_blue_star.png").timings
    >>> abs(sum(timings.stages().values()) - timings.total) < 1e-6
    True
    """

    gateway: float = _stage()
    image_decode: float = _stage()
    image_resize: float = _stage()
    vision_queue: float = _stage()
    vit: float = _stage()
    token_transfer: float = _stage()
    language_queue: float = _stage()
    tokenize: float = _stage()
    qformer: float = _stage()
    prefill: float = _stage()
    detokenize: float = _stage()
    delivery: float = _stage()
    decode_queue: float = _stage()
    decode: float = _stage()
    relevance: float = _stage()
    unattributed: float = _stage()
    total: float = 0.0
    """From the request's arrival at the gateway to its last token."""
    time_to_first_token: float = 0.0
    """From the request's arrival to its first piece of text; overlaps the stages."""
    first_token: float = 0.0
    """From the request's arrival to the choice of its first token."""
    decode_tokens_per_second: float = 0.0
    """Tokens after the first, divided by the seconds from the first to the last; 0 when there was one token or none."""
    cache_hits: CacheHits = CacheHits()
    resumed: int = 0
    """How often the answer was continued by another replica, because the previous one was lost."""

    def stages(self) -> dict[str, float]:
        """The seconds of each stage, in the order in which a request meets them."""
        return {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.metadata.get("stage")
        }

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draws the stages as one bar, in milliseconds, and returns its axes. ImportError without matplotlib."""
        try:
            from matplotlib import colormaps, pyplot
        except ImportError as error:
            raise ImportError("timings.plot() draws with matplotlib: pip install matplotlib") from error
        if axes is None:
            axes = pyplot.subplots(figsize=(9, 1.8), layout="constrained")[1]
        start = 0.0
        for index, (name, seconds) in enumerate(self.stages().items()):
            label = name.replace("_", " ") if seconds >= 0.02 * self.total else None
            axes.barh([""], [seconds * 1e3], left=start, label=label, color=colormaps["tab20"](index))
            start += seconds * 1e3
        axes.set_xlabel("ms")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.7), ncols=5, frameon=False, fontsize="small")
        return axes
