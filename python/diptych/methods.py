"""The gateway's calls with the types of their messages."""

from __future__ import annotations

import dataclasses
from typing import Callable, Generic, TypeVar

from google.protobuf.message import Message

from diptych.v1 import gateway_pb2

Response_co = TypeVar("Response_co", covariant=True)


@dataclasses.dataclass(frozen=True)
class Method(Generic[Response_co]):
    """One call: its path, and how its messages are written and read."""

    path: str
    parse: Callable[[bytes], Response_co]

    @staticmethod
    def serialize(request: Message) -> bytes:
        return request.SerializeToString()


_SERVICE = "/diptych.v1.GatewayService/"

ASK = Method(_SERVICE + "Ask", gateway_pb2.AskResponse.FromString)
ASK_STREAM = Method(_SERVICE + "AskStream", gateway_pb2.AskStreamResponse.FromString)
ANALYZE = Method(_SERVICE + "AnalyzeImage", gateway_pb2.AnalyzeImageResponse.FromString)
PLAN = Method(_SERVICE + "PlanContext", gateway_pb2.PlanContextResponse.FromString)
GET_MODEL = Method(_SERVICE + "GetModel", gateway_pb2.GetModelResponse.FromString)
