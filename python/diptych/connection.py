"""How a server is reached: address, TLS, API key."""

from __future__ import annotations

import dataclasses
import math
import numbers
import os
import pathlib
from typing import Any, Union

import grpc

DEFAULT_TARGET = "127.0.0.1:7000"
DEFAULT_TIMEOUT = 600.0  # seconds; as the command line's --deadline
_LONGEST_TIMEOUT = 365 * 86400.0  # seconds; gRPC takes a longer one for one that has passed
_MAX_ANSWER_BYTES = 64 << 20

Pem = Union[str, "os.PathLike[str]", bytes]


@dataclasses.dataclass(frozen=True)
class Tls:
    """Files in PEM form, or their bytes. Without `ca` the system's authorities are trusted."""

    ca: Pem | None = None
    """The authority that signed the server's certificate."""
    cert: Pem | None = None
    """The caller's own certificate, for servers that ask for one."""
    key: Pem | None = dataclasses.field(default=None, repr=False)
    """The key of `cert`."""
    server_name: str | None = None
    """The name in the server's certificate, if it differs from the address."""

    def credentials(self) -> grpc.ChannelCredentials:
        """Reads the files. OSError if one cannot be read; ValueError for a certificate or key without the other."""
        if (self.cert is None) != (self.key is None):  # gRPC would abort the process
            raise ValueError("cert and key (DIPTYCH_TLS_CERT and DIPTYCH_TLS_KEY) are given together")
        return grpc.ssl_channel_credentials(_read(self.ca), _read(self.key), _read(self.cert))


def _read(pem: Pem | None) -> bytes | None:
    return pem if pem is None or isinstance(pem, bytes) else pathlib.Path(pem).read_bytes()


def _seconds(timeout: float) -> float:
    """As gRPC counts them: a numpy.float32 would round the hour of the deadline. TypeError or ValueError for no number."""
    if not isinstance(timeout, numbers.Real):
        raise TypeError(f"timeout takes a number of seconds, not {type(timeout).__name__}; math.inf is for no limit")
    if math.isnan(timeout):
        raise ValueError("timeout takes a number of seconds, not NaN")
    return min(float(timeout), _LONGEST_TIMEOUT)


@dataclasses.dataclass(frozen=True)
class Connection:
    """Settings of a client; settings left out come from the environment, as on the command line.

    `target` from DIPTYCH_SERVER, else 127.0.0.1:7000; `api_key` from DIPTYCH_API_KEY; the authority, certificate
    and key from DIPTYCH_TLS_CA, DIPTYCH_TLS_CERT and DIPTYCH_TLS_KEY.
    """

    target: str
    api_key: str = dataclasses.field(repr=False)
    tls: Tls | None
    timeout: float

    @staticmethod
    def of(
        target: str | None, api_key: str | None, tls: Tls | bool | str | os.PathLike[str] | None, timeout: float
    ) -> Connection:
        """ValueError if the target is a web address, the key is not valid in a header or the timeout is not positive."""
        key = os.environ.get("DIPTYCH_API_KEY", "") if api_key is None else api_key
        if not all(" " < letter <= "~" for letter in key):
            raise ValueError("api_key takes printable ASCII characters; was it copied with a line break?")
        if not _seconds(timeout) > 0:
            raise ValueError("timeout takes a positive number of seconds")
        if tls is None and "DIPTYCH_TLS_CA" in os.environ:
            tls = Tls(os.environ["DIPTYCH_TLS_CA"], os.environ.get("DIPTYCH_TLS_CERT"), os.environ.get("DIPTYCH_TLS_KEY"))
        if isinstance(tls, (str, os.PathLike)):
            tls = Tls(ca=tls)
        chosen = Tls() if tls is True else tls or None
        target = target or os.environ.get("DIPTYCH_SERVER") or DEFAULT_TARGET
        if target.lower().startswith(("http://", "https://")):
            raise ValueError(f"the server is host:port of its gRPC port, such as {DEFAULT_TARGET}, not {target!r}; tls=True is for TLS")
        return Connection(target, key, chosen, timeout)

    def terms(self, timeout: float | None) -> dict[str, Any]:
        """What each call is made with."""
        metadata = (("authorization", f"Bearer {self.api_key}"),) if self.api_key else ()
        return {"timeout": _seconds(self.timeout if timeout is None else timeout), "metadata": metadata}

    def channel_options(self) -> list[tuple[str, str | int]]:
        options: list[tuple[str, str | int]] = [
            ("grpc.max_receive_message_length", _MAX_ANSWER_BYTES),
            ("grpc.max_send_message_length", -1),  # the server says what it takes
            ("grpc.compression_enabled_algorithms_bitset", 1),  # none: a small message must not grow
        ]
        if self.tls and self.tls.server_name:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        return options
