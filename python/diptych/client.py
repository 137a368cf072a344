"""The client that blocks."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Callable, TypeVar

import grpc
from google.protobuf.message import Message

from diptych import questions
from diptych.analysis import Analysis, ContextPlan, ImageSize
from diptych.answers import Answer
from diptych.connection import CLOSED, DEFAULT_TIMEOUT, Connection, Tls
from diptych.errors import Unavailable, to_error
from diptych.messages import read
from diptych.methods import ANALYZE, ASK, ASK_STREAM, GET_MODEL, PLAN, Method
from diptych.questions import History, ImageInput, ImagesInput
from diptych.serving import ServedModel
from diptych.streams import AnswerStream
from diptych.v1 import gateway_pb2

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from diptych.questions import Options

Response = TypeVar("Response")


class Client:
    """A client of one server. Thread-safe; connects at the first call.

    `target` is the gateway's host:port. `tls` is True (the system's authorities), the PEM file of an authority, or a
    `Tls`. `timeout` is the seconds that one call may take, unless it says otherwise; the server gets it as the deadline.
    Arguments left out come from DIPTYCH_SERVER, DIPTYCH_API_KEY, and DIPTYCH_TLS_CA, _CERT and _KEY. ValueError for
    arguments that cannot be used.

    >>> client = Client()
    >>> answer = client.ask("red_circle_blue_star.png", "What color is the circle?")
    >>> answer.text, answer.finish_reason.name, answer.context_budget.image_tokens
    ('red', 'STOP', 16)
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        api_key: str | None = None,
        tls: Tls | bool | str | os.PathLike[str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self._connection = Connection.of(target, api_key, tls, timeout)
        self._closed = False
        options = self._connection.channel_options()
        if self._connection.tls is None:
            self._opened = grpc.insecure_channel(self._connection.target, options)
        else:
            credentials = self._connection.tls.credentials()
            self._opened = grpc.secure_channel(self._connection.target, credentials, options)

    def ask(
        self,
        image: ImagesInput,
        question: str | None = None,
        *,
        prompt: str | None = None,
        history: History = (),
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Answer:
        """The answer to a question about an image, several, or none.

        `question` is asked in BLIP-2's own form, after the (question, answer) pairs of `history`; `prompt` is text that
        the model continues as it is; with neither the answer is a caption.

        >>> Client().ask("red_circle_blue_star.png", "And the star?",
        ...              history=[("What color is the circle?", "red")], max_new_tokens=8).context_budget.history_tokens > 0
        True
        """
        asked = questions.make_question(image, question, prompt, history, options)
        return read(Answer, self._call(ASK, gateway_pb2.AskRequest(question=asked), timeout).answer)

    def stream(
        self,
        image: ImagesInput,
        question: str | None = None,
        *,
        prompt: str | None = None,
        history: History = (),
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> AnswerStream:
        """The same, piece by piece.

        >>> stream = Client().stream("red_circle_blue_star.png")
        >>> "".join(piece.text for piece in stream) == stream.answer.text
        True
        """
        asked = questions.make_question(image, question, prompt, history, options)
        call = self._channel().unary_stream(ASK_STREAM.path, ASK_STREAM.serialize, ASK_STREAM.parse)
        request = gateway_pb2.AskStreamRequest(question=asked)
        started = call(request, **self._connection.terms(timeout))
        return AnswerStream(started, self._connection.target)

    def analyze(
        self,
        image: ImageInput,
        *,
        attention: bool = True,
        prepared_image: bool = False,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Analysis:
        """Shapes, counts and norms of the visual tokens, and with `attention` where the model looks, as arrays.

        >>> analysis = Client().analyze("red_circle_blue_star.png")
        >>> analysis.feature_shape, analysis.mean_query_attention.patches.shape
        ((1, 65, 128), (8, 8))
        """
        request = questions.make_analysis(image, attention, prepared_image, options)
        return read(Analysis, self._call(ANALYZE, request, timeout))

    def plan(
        self,
        images: Sequence[ImageSize | int] = (),
        question: str | None = None,
        *,
        prompt: str | None = None,
        history: History = (),
        patch_size: int = 0,
        max_new_tokens: int = 0,
        cut_max_new_tokens: bool = False,
        windows: Sequence[int] = (),
        timeout: float | None = None,
    ) -> ContextPlan:
        """Counts the tokens of a request without running it. Image sizes are in pixels; a number means a square.

        `patch_size` plans for patches of that side and for the sizes given; 0 for the served model's own.

        >>> Client().plan([224, 448], patch_size=14, windows=[2048]).patch_tokens
        (256, 1024)
        """
        request = questions.make_plan(
            images, patch_size, question, prompt, history, max_new_tokens, cut_max_new_tokens, windows
        )
        return read(ContextPlan, self._call(PLAN, request, timeout))

    def model(self, *, timeout: float | None = None) -> ServedModel:
        """What is served, and its limits.

        >>> Client().model().model.name
        'demo'
        """
        return read(ServedModel, self._call(GET_MODEL, gateway_pb2.GetModelRequest(), timeout))

    def wait_until_ready(self, timeout: float = 60.0) -> ServedModel:
        """Waits until all tiers serve. The last call's error if they do not within `timeout` seconds."""
        end = time.monotonic() + timeout
        while True:
            try:
                served = self.model(timeout=max(0.1, end - time.monotonic()))
                if all(tier.serving for tier in served.tiers):
                    return served
                error = Unavailable("not all tiers serve", code="UNAVAILABLE")
            except Unavailable as failure:
                error = failure
            if time.monotonic() >= end:
                raise error
            time.sleep(0.2)

    def close(self) -> None:
        """Closes the connection; calls that run are cancelled."""
        self._closed = True
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _channel(self) -> grpc.Channel:
        if self._closed:
            raise RuntimeError(CLOSED)
        return self._opened

    def _call(self, method: Method[Response], request: Message, timeout: float | None) -> Response:
        call: Callable[..., Response] = self._channel().unary_unary(method.path, method.serialize, method.parse)
        try:
            return call(request, **self._connection.terms(timeout))
        except grpc.RpcError as error:
            raise to_error(error, self._connection.target) from None
