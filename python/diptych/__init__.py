"""Asks a Diptych server about images.

>>> import diptych
>>> client = diptych.Client()
>>> client.ask("red_circle_blue_star.png", "What color is the circle?").text
'red'

`Client` blocks, `AsyncClient` is the same for asyncio. What they return are frozen dataclasses; what goes wrong is a
`DiptychError` with a stable `reason`.
"""

from diptych.aio import AsyncClient
from diptych.analysis import Analysis, AttentionMap, ContextPlan, ImageSize, WindowPlan
from diptych.answers import (
    Answer,
    CacheHits,
    ContextBudget,
    Delta,
    FinishReason,
    Started,
    StepLogprobs,
    TokenLogprob,
    TokenRelevance,
    Usage,
)
from diptych.client import Client
from diptych.connection import Tls
from diptych.errors import (
    Cancelled,
    DeadlineExceeded,
    DiptychError,
    InvalidRequest,
    NotFound,
    Overloaded,
    PermissionDenied,
    ServerError,
    Unauthenticated,
    Unavailable,
    Unreachable,
)
from diptych.questions import Options
from diptych.serving import CacheLoad, Limits, ModelDescription, ModelPart, ServedModel, TierLoad, TierStatus
from diptych.streams import AnswerStream, AsyncAnswerStream
from diptych.timings import StageTimings

__version__ = "0.1.0"

__all__ = [
    "Analysis",
    "Answer",
    "AnswerStream",
    "AsyncAnswerStream",
    "AsyncClient",
    "AttentionMap",
    "CacheHits",
    "CacheLoad",
    "Cancelled",
    "Client",
    "ContextBudget",
    "ContextPlan",
    "DeadlineExceeded",
    "Delta",
    "DiptychError",
    "FinishReason",
    "ImageSize",
    "InvalidRequest",
    "Limits",
    "ModelDescription",
    "ModelPart",
    "NotFound",
    "Options",
    "Overloaded",
    "PermissionDenied",
    "ServedModel",
    "ServerError",
    "StageTimings",
    "Started",
    "StepLogprobs",
    "TierLoad",
    "TierStatus",
    "Tls",
    "TokenLogprob",
    "TokenRelevance",
    "Unauthenticated",
    "Unavailable",
    "Unreachable",
    "Usage",
    "WindowPlan",
]
