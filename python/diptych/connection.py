"""How a server is reached: address, TLS, API key."""

from __future__ import annotations

import dataclasses
import math
import numbers
import os
import pathlib
import re
import ssl
from typing import Any, Union

import grpc

DEFAULT_TARGET = "127.0.0.1:7000"
DEFAULT_TIMEOUT = 600.0  # seconds; as the command line's --deadline
_LONGEST_TIMEOUT = 365 * 86400.0  # seconds; gRPC takes a longer one for one that has passed
CLOSED = "this client is closed; make another one"
_MAX_ANSWER_BYTES = 64 << 20
_SCHEMES = ("dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:", "xds:")  # of gRPC's names

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
        """Reads the files. OSError if one cannot be read; ValueError for a certificate or key without the other, and for what
        is not in PEM form."""
        if (self.cert is None) != (self.key is None):  # gRPC would abort the process
            raise ValueError("cert and key (DIPTYCH_TLS_CERT and DIPTYCH_TLS_KEY) are given together")
        ca = _read("ca", self.ca)
        if ca is not None:
            _check_authority(ca)
        return grpc.ssl_channel_credentials(ca, _read("key", self.key), _read("cert", self.cert))


def _read(name: str, pem: Pem | None) -> bytes | None:
    if pem is None:
        return None
    if not isinstance(pem, (str, bytes, os.PathLike)):
        raise TypeError(f"{name} takes a file's path or its bytes, not {type(pem).__name__}")
    content = pem if isinstance(pem, bytes) else pathlib.Path(pem).read_bytes()
    if b"-----BEGIN " not in content:
        raise ValueError(f"{name} is not in PEM form, which begins with -----BEGIN")
    return content


def _check_authority(ca: bytes) -> None:
    """gRPC would only say that nothing answers."""
    try:
        ssl.create_default_context(cadata=ca.decode("ascii", "replace"))
    except ssl.SSLError as error:
        raise ValueError(f"ca holds no certificate that can be read: {error}") from None


def _is_host_and_port(target: str) -> bool:
    """As the command line takes them; a number beyond the ports would reach another port."""
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]+):([0-9]{1,5})", target, re.ASCII)
    return found is not None and 1 <= int(found[2]) <= 65535


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
        """ValueError if the target is not host:port or a name of gRPC's (dns:///…, unix:…), the key is not valid in a header or
        the timeout is not positive; TypeError for what is of another type."""
        key = os.environ.get("DIPTYCH_API_KEY", "") if api_key is None else api_key
        if not isinstance(key, str):
            raise TypeError(f"api_key takes text, not {type(key).__name__}")
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
        if not isinstance(target, str):
            raise TypeError(f"target takes text, not {type(target).__name__}")
        if not target.startswith(_SCHEMES) and not _is_host_and_port(target):
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
