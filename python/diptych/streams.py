"""Answers that come piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc

from diptych.answers import Answer, Delta, Started
from diptych.errors import Cancelled, DiptychError, to_error
from diptych.messages import read
from diptych.v1 import gateway_pb2

if TYPE_CHECKING:
    from typing_extensions import Self


class _Received:
    """The part of a stream that has arrived."""

    def __init__(self, call: Any, target: str) -> None:
        self._call = call
        self._target = target
        self._started: Started | None = None
        self._answer: Answer | None = None
        self._unread: list[Delta] = []
        self._ended_by_us = False

    def cancel(self) -> None:
        """Ends the request on the server; reading on raises `Cancelled`."""
        self._ended_by_us = True
        self._call.cancel()

    def _take(self, message: gateway_pb2.AskStreamResponse) -> None:
        if message.HasField("started"):
            self._started = read(Started, message.started)
        elif message.HasField("finished"):
            self._answer = read(Answer, message.finished)
        else:
            self._unread.append(read(Delta, message.delta))


def _cut_short() -> DiptychError:
    return DiptychError("the stream ended without an answer", code="DATA_LOSS")


class AnswerStream(_Received, Iterator[Delta]):
    """The pieces of an answer. Leaving its `with` block ends the request on the server."""

    @property
    def started(self) -> Started:
        """The budget before the first token. Waits for it."""
        while self._started is None:
            self._read()
        return self._started

    @property
    def answer(self) -> Answer:
        """The whole answer. Waits for it; pieces that were not read yet can still be."""
        while self._answer is None:
            self._read()
        return self._answer

    def __next__(self) -> Delta:
        while not self._unread and self._answer is None:
            self._read()
        if self._unread:
            return self._unread.pop(0)
        raise StopIteration

    def __iter__(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def _read(self) -> None:
        try:
            self._take(next(self._call))
        except grpc.RpcError as error:
            raise to_error(error, self._target) from None
        except StopIteration:
            raise _cut_short() from None


class AsyncAnswerStream(_Received, AsyncIterator[Delta]):
    """The pieces of an answer. Leaving its `async with` block ends the request on the server."""

    async def started(self) -> Started:
        """The budget before the first token."""
        while self._started is None:
            await self._read()
        return self._started

    async def answer(self) -> Answer:
        """The whole answer; pieces that were not read yet can still be."""
        while self._answer is None:
            await self._read()
        return self._answer

    async def __anext__(self) -> Delta:
        while not self._unread and self._answer is None:
            await self._read()
        if self._unread:
            return self._unread.pop(0)
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    async def _read(self) -> None:
        try:
            message = await self._call.read()
        except asyncio.CancelledError:  # the same word for a stream that was ended and for a task that is
            if not self._ended_by_us:
                raise
            raise Cancelled("the stream was cancelled", code="CANCELLED") from None
        except grpc.RpcError as error:
            raise to_error(error, self._target) from None
        if message is grpc.aio.EOF:
            raise _cut_short()
        self._take(message)
