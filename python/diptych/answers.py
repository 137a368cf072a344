"""What an answer holds."""

from __future__ import annotations

import dataclasses
import enum

import numpy
import numpy.typing

from diptych.timings import CacheHits, StageTimings

__all__ = [
    "Answer",
    "CacheHits",
    "ContextBudget",
    "Delta",
    "FinishReason",
    "Grid",
    "StageTimings",
    "Started",
    "StepLogprobs",
    "TokenLogprob",
    "TokenRelevance",
    "Usage",
]

Grid = numpy.typing.NDArray[numpy.float32]


class FinishReason(enum.Enum):
    """Why generation ended; the values are those of the protocol."""

    UNSPECIFIED = 0
    STOP = 1
    """The model chose its end-of-sequence token."""
    LENGTH = 2
    """`max_new_tokens`, or the end of the window, was reached."""
    STOP_STRING = 3
    """One of the request's stop strings appeared."""
    CANCELLED = 4
    DEADLINE = 5

    @classmethod
    def _missing_(cls, value: object) -> FinishReason:
        return cls.UNSPECIFIED  # of a newer server


@dataclasses.dataclass(frozen=True)
class Usage:
    """Token counts, in the usual form of inference APIs."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens that were found in a cache."""


@dataclasses.dataclass(frozen=True)
class ContextBudget:
    """How the model's window is used, in tokens.

    `window = image_tokens + text_tokens + history_tokens + generated + remaining`.
    """

    window: int = 0
    image_tokens: int = 0
    text_tokens: int = 0
    history_tokens: int = 0
    reserved_output: int = 0
    """Positions reserved for the answer: max_new_tokens."""
    generated: int = 0
    remaining: int = 0
    turns_dropped: int = 0
    """Earlier turns that did not fit and were left out, oldest first."""
    dense_patch_tokens: int = 0
    """What the same images would take without the Q-Former."""


@dataclasses.dataclass(frozen=True)
class TokenLogprob:
    """A token and the natural logarithm of its probability, before temperature and filters."""

    token_id: int = 0
    logprob: float = 0.0
    text: bytes = b""
    """The token's bytes; a character may span several tokens."""


@dataclasses.dataclass(frozen=True)
class StepLogprobs:
    """The chosen token of one step with the most likely alternatives, best first."""

    chosen: TokenLogprob = TokenLogprob()
    top: tuple[TokenLogprob, ...] = ()


@dataclasses.dataclass(frozen=True)
class TokenRelevance:
    """Which patches one generated token looked at. A hint only: attention is not an explanation."""

    images: tuple[Grid, ...] = ()
    """For each image an array [patch rows, patch columns] that sums to at most 1."""
    image_share: float = 0.0
    """Share of the decoder's attention that the images had."""


@dataclasses.dataclass(frozen=True)
class Started:
    """What is known before the first token."""

    context_budget: ContextBudget = ContextBudget()
    request_id: str = ""
    model: str = ""


@dataclasses.dataclass(frozen=True)
class Delta:
    """A piece of the answer; `str(delta)` is its text."""

    text: str = ""
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[StepLogprobs, ...] = ()
    prompt_logprobs: tuple[StepLogprobs, ...] = ()

    def __str__(self) -> str:
        return self.text


@dataclasses.dataclass(frozen=True)
class Answer:
    """A complete answer and what was measured about it; `str(answer)` is its text."""

    text: str = ""
    token_ids: tuple[int, ...] = ()
    prompt_token_ids: tuple[int, ...] = ()
    finish_reason: FinishReason = FinishReason.UNSPECIFIED
    usage: Usage = Usage()
    timings: StageTimings = StageTimings()
    context_budget: ContextBudget = ContextBudget()
    model: str = ""
    request_id: str = ""
    logprobs: tuple[StepLogprobs, ...] = ()
    prompt_logprobs: tuple[StepLogprobs, ...] = ()
    relevance: tuple[TokenRelevance, ...] = ()

    def __str__(self) -> str:
        return self.text
