"""The client for asyncio."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import grpc
import grpc.aio
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
from diptych.streams import AsyncAnswerStream
from diptych.v1 import gateway_pb2

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from diptych.questions import Options

Response = TypeVar("Response")


class AsyncClient:
    """`Client` for asyncio: the same arguments, options and errors. Confined to one event loop.

    >>> import asyncio
    >>> async def main():
    ...     async with AsyncClient() as client:
    ...         return await client.ask("red_circle_blue_star.png", "What color is the circle?")
    >>> asyncio.run(main()).text
    'red'
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
        self._opened: grpc.aio.Channel | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # to which the channel belongs
        self._closed = False

    async def ask(
        self,
        image: ImagesInput,
        question: str | None = None,
        *,
        prompt: str | None = None,
        history: History = (),
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Answer:
        """See Client.ask."""
        asked = questions.make_question(image, question, prompt, history, options)
        return read(Answer, (await self._call(ASK, gateway_pb2.AskRequest(question=asked), timeout)).answer)

    def stream(
        self,
        image: ImagesInput,
        question: str | None = None,
        *,
        prompt: str | None = None,
        history: History = (),
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> AsyncAnswerStream:
        """See Client.stream. Begins at once; needs a running event loop."""
        asked = questions.make_question(image, question, prompt, history, options)
        call = self._channel().unary_stream(ASK_STREAM.path, ASK_STREAM.serialize, ASK_STREAM.parse)
        request = gateway_pb2.AskStreamRequest(question=asked)
        started = call(request, **self._connection.terms(timeout))
        return AsyncAnswerStream(started, self._connection.target)

    async def analyze(
        self,
        image: ImageInput,
        *,
        attention: bool = True,
        prepared_image: bool = False,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Analysis:
        """See Client.analyze."""
        request = questions.make_analysis(image, attention, prepared_image, options)
        return read(Analysis, await self._call(ANALYZE, request, timeout))

    async def plan(
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
        """See Client.plan."""
        request = questions.make_plan(
            images, patch_size, question, prompt, history, max_new_tokens, cut_max_new_tokens, windows
        )
        return read(ContextPlan, await self._call(PLAN, request, timeout))

    async def model(self, *, timeout: float | None = None) -> ServedModel:
        """See Client.model."""
        return read(ServedModel, await self._call(GET_MODEL, gateway_pb2.GetModelRequest(), timeout))

    async def wait_until_ready(self, timeout: float = 60.0) -> ServedModel:
        """See Client.wait_until_ready."""
        now = asyncio.get_running_loop().time
        end = now() + timeout
        while True:
            try:
                served = await self.model(timeout=max(0.1, end - now()))
                if all(tier.serving for tier in served.tiers):
                    return served
                error = Unavailable("not all tiers serve", code="UNAVAILABLE")
            except Unavailable as failure:
                error = failure
            if now() >= end:
                raise error
            await asyncio.sleep(0.2)

    async def close(self) -> None:
        """Closes the connection; calls that run are cancelled."""
        self._closed = True
        if self._opened is not None and self._loop is asyncio.get_running_loop():
            await self._opened.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _channel(self) -> grpc.aio.Channel:
        """Opened at the first call, because a channel belongs to the loop in which it was made."""
        if self._closed:
            raise RuntimeError(CLOSED)
        if self._loop not in (None, asyncio.get_running_loop()):
            raise RuntimeError("this client was used in another event loop; make one in each asyncio.run")
        if self._opened is None:
            self._loop = asyncio.get_running_loop()
            options = self._connection.channel_options()
            if self._connection.tls is None:
                self._opened = grpc.aio.insecure_channel(self._connection.target, options)
            else:
                credentials = self._connection.tls.credentials()
                self._opened = grpc.aio.secure_channel(self._connection.target, credentials, options)
        return self._opened

    async def _call(self, method: Method[Response], request: Message, timeout: float | None) -> Response:
        call = self._channel().unary_unary(method.path, method.serialize, method.parse)
        try:
            response: Response = await call(
                request, **self._connection.terms(timeout)
            )
        except grpc.aio.AioRpcError as error:
            raise to_error(error, self._connection.target) from None
        return response
