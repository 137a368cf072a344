"""The client knows every field of the protocol: a new one wants a line in python/diptych/.

Usage: protocol_test.py FOLDER_OF_THE_PACKAGE; run by ctest as `python_protocol_test`.
"""
import dataclasses
import sys
import unittest

import client_environment

client_environment.enter(sys.argv.pop(1), "python_newest")

import diptych  # noqa: E402
from diptych import messages  # noqa: E402
from diptych.v1 import gateway_pb2, inference_pb2  # noqa: E402

# Dataclasses, and the messages that they are read from.
READ = {
    diptych.Answer: inference_pb2.Answer, diptych.Started: inference_pb2.Started, diptych.Delta: inference_pb2.Delta,
    diptych.StageTimings: inference_pb2.StageTimings, diptych.CacheHits: inference_pb2.CacheHits,
    diptych.ContextBudget: inference_pb2.ContextBudget, diptych.Usage: inference_pb2.Usage,
    diptych.StepLogprobs: inference_pb2.StepLogprobs, diptych.TokenLogprob: inference_pb2.TokenLogprob,
    diptych.TokenRelevance: inference_pb2.TokenRelevance, diptych.AttentionMap: inference_pb2.AttentionMap,
    diptych.ImageSize: inference_pb2.ImageSize, diptych.Analysis: gateway_pb2.AnalyzeImageResponse,
    diptych.ContextPlan: gateway_pb2.PlanContextResponse, diptych.WindowPlan: gateway_pb2.WindowPlan,
    diptych.ServedModel: gateway_pb2.GetModelResponse, diptych.TierStatus: gateway_pb2.TierStatus,
    diptych.Limits: gateway_pb2.Limits, diptych.TierLoad: inference_pb2.TierLoad,
    diptych.CacheLoad: inference_pb2.CacheLoad, diptych.ModelDescription: inference_pb2.ModelDescription,
    diptych.ModelPart: inference_pb2.ModelPart,
}
OPTIONS = (inference_pb2.GenerationOptions, inference_pb2.ImageOptions, inference_pb2.Question)
ARGUMENTS = {"images", "turns", "prompt", "generation", "image_options"}  # of Client.ask, by other names


def fields(message):
    return [field.name for field in message.DESCRIPTOR.fields]


class ProtocolTest(unittest.TestCase):
    def test_every_field_is_read(self):
        for cls, message in READ.items():
            known = {field.name for field in dataclasses.fields(cls)}
            self.assertEqual(set(fields(message)), known, f"fields of {message.DESCRIPTOR.name} and of {cls.__name__}")

    def test_every_option_is_known(self):
        names = [name for message in OPTIONS for name in fields(message) if name not in ARGUMENTS]
        self.assertEqual(sorted(names), sorted(diptych.Options.__annotations__))

    def test_every_finish_reason_is_known(self):
        values = {name.removeprefix("FINISH_REASON_"): value for name, value in inference_pb2.FinishReason.items()}
        self.assertEqual(values, {reason.name: reason.value for reason in diptych.FinishReason})

    def test_every_dataclass_of_the_package_is_compared(self):
        public = {value for value in vars(diptych).values() if dataclasses.is_dataclass(value)}
        self.assertEqual(public - {diptych.Tls}, set(READ))

    def test_what_a_newer_server_says_is_taken(self):
        newer = inference_pb2.Answer(text="red")
        newer.MergeFromString(b"\x20\x63" + b"\xf8\x06\x01")  # finish_reason = 99, field 111 = 1
        answer = messages.read(diptych.Answer, newer)
        self.assertEqual((answer.text, answer.finish_reason), ("red", diptych.FinishReason.UNSPECIFIED))


if __name__ == "__main__":
    unittest.main()
