"""The exceptions of the client."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2


class DiptychError(Exception):
    """A call that failed.

    `code` is gRPC's name of the status ("INVALID_ARGUMENT"), `reason` a stable word to switch on ("IMAGE_FORMAT"; empty
    if the server gave none), `field` the part of the request that is at fault, if one is, and `retry_after` the seconds
    after which the same call may succeed, or None.
    """

    def __init__(
        self, message: str, *, code: str, reason: str = "", field: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.field = field
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:  # copied, or sent to another process
        return _rebuild, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        field = f" ({self.field})" if self.field else ""
        return f"{self.reason or self.code}: {self.args[0]}{field}"


def _rebuild(kind: type[DiptychError], args: tuple[str], state: dict[str, Any]) -> DiptychError:
    error = kind(*args, code="")
    error.__dict__.update(state)
    return error


class InvalidRequest(DiptychError, ValueError):
    """The request is invalid; trying again does not help."""


class Unauthenticated(DiptychError):
    """No API key, or a wrong one."""


class PermissionDenied(DiptychError):
    """The key does not allow this."""


class NotFound(DiptychError):
    """No such model."""


class Overloaded(DiptychError):
    """A queue or memory is full, or the key is over its limit; `retry_after` says when to try again."""


class DeadlineExceeded(DiptychError, TimeoutError):
    """The call's timeout passed."""


class Cancelled(DiptychError):
    """The call was cancelled."""


class Unavailable(DiptychError):
    """The server is shutting down, or one of its tiers is down."""


class Unreachable(Unavailable, ConnectionError):
    """No gateway answered at the address."""


class ServerError(DiptychError):
    """The server's own fault."""


_CLASSES: dict[str, type[DiptychError]] = {
    "INVALID_ARGUMENT": InvalidRequest,
    "OUT_OF_RANGE": InvalidRequest,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": PermissionDenied,
    "NOT_FOUND": NotFound,
    "RESOURCE_EXHAUSTED": Overloaded,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "CANCELLED": Cancelled,
    "UNAVAILABLE": Unavailable,
    "FAILED_PRECONDITION": Unavailable,
}


class FailedCall(Protocol):
    """What the errors of grpc and grpc.aio share."""

    def code(self) -> grpc.StatusCode: ...
    def details(self) -> str | None: ...
    def trailing_metadata(self) -> Any: ...


@dataclasses.dataclass
class _Details:
    reason: str = ""
    field: str = ""
    retry_after: float | None = None


def to_error(call: FailedCall, target: str) -> DiptychError:
    """The exception for a failed call to `target`."""
    code = call.code().name
    details = _details(call.trailing_metadata())
    kind = _CLASSES.get(code, ServerError)
    message = call.details() or code
    if code == "RESOURCE_EXHAUSTED" and not details.reason and "larger than max" in message:  # gRPC's own words
        kind, message = InvalidRequest, f"the request, or its answer, is larger than a message may be ({message})"
    if kind is Unavailable and code == "UNAVAILABLE" and not details.reason:
        kind, message = Unreachable, _unreachable(target, message)
    if code == "UNIMPLEMENTED":  # it has no such method
        kind, message = Unreachable, f"what answers at {target} is not a gateway, or is one of another version; {_PORT}"
    return kind(message, code=code, **dataclasses.asdict(details))


_PORT = "give the gateway's gRPC port, 7000 by default"


def _unreachable(target: str, message: str) -> str:
    if "http1.x server" in message:  # gRPC's own words
        return f"{target} speaks HTTP, not gRPC; {_PORT}"
    return f"nothing answers at {target} ({message}); is `diptych serve` running there?"


def _details(metadata: Iterable[tuple[str, Any]] | None) -> _Details:
    details = _Details()
    for key, value in metadata or ():
        if key == "grpc-status-details-bin":
            try:
                _read_details(value, details)
            except DecodeError:
                pass  # of a server that is not ours
    return details


def _read_details(status: bytes, details: _Details) -> None:
    for part in status_pb2.Status.FromString(status).details:
        info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if part.Unpack(info):
            details.reason = info.reason
        elif part.Unpack(bad) and bad.field_violations:
            details.field = bad.field_violations[0].field
        elif part.Unpack(retry):
            details.retry_after = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
