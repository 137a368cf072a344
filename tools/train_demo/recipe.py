"""The recipe: which stages train the demo model, in which order, for how long."""
from dataclasses import dataclass, field

from data import RELATION_MIX, TextMix


@dataclass(frozen=True)
class Perception:
    """ViT and Q-Former learn what is where, through throw-away heads; no text.

    `dense_share` of the batches show 4-9 objects; of the rest, `other_sizes` as in a joint stage.
    """

    name: str
    steps: int
    learning_rate: float = 1.2e-3
    batch: int = 48
    dense_share: float = 0.0
    other_sizes: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Language:
    """OPT and projection learn to answer from cached Q-Former outputs; the vision half does not run.

    `layer_sources`, if given, first deepens OPT (see model.deepened).
    """

    name: str
    steps: int
    learning_rate: float
    batch: int = 32
    mix: TextMix = field(default_factory=TextMix)
    layer_sources: tuple[int, ...] = ()


@dataclass(frozen=True)
class Joint:
    """Everything together, answers plus a little of the perception loss, on fresh images.

    `other_sizes` maps a resolution to the share of the batches that use it; the rest is at the native one. The
    weights that are kept are a moving average of the steps.
    """

    name: str
    steps: int
    learning_rate: float = 6e-4
    batch: int = 32
    mix: TextMix = field(default_factory=TextMix)
    other_sizes: tuple[tuple[int, float], ...] = ()


Stage = Perception | Language | Joint

_SOME_SIZES = ((84, 0.04), (140, 0.045), (168, 0.04))
FIRST_TEXT_LAYERS = 4
RECIPE: list[Stage] = [
    Perception("perception", steps=2400, other_sizes=_SOME_SIZES),
    Perception("perception_dense", steps=3000, dense_share=0.75, other_sizes=_SOME_SIZES),
    Language("language", steps=1700, learning_rate=1.5e-3),
    Language("language_again", steps=2800, learning_rate=1.2e-3),
    Joint("joint", steps=400, other_sizes=_SOME_SIZES),
    Language("relations", steps=1440, learning_rate=1.2e-3, layer_sources=(0, 1, 1, 2, 2, 3),
             mix=TextMix(RELATION_MIX, caption_share=0.25)),
]
