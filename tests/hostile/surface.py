"""All that callers may ask of each process, as the protocol's own files name it."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]


def methods(file):
    """"package.Service/Method" of each."""
    text = (ROOT / "proto" / file).read_text()
    package = re.search(r"^package (.*);", text, re.M)[1]
    return [f"{package}.{service}/{method}" for service, body in re.findall(r"^service (\w+) \{(.*?)^\}", text, re.M | re.S)
            for method in re.findall(r"^  rpc (\w+)\(", body, re.M)]


WATCH = "grpc.health.v1.Health/Watch"  # ends when its caller says so
OF_EACH = methods("grpc/health/v1/health.proto") + methods("grpc/reflection/v1/reflection.proto") + methods("grpc/reflection/v1alpha/reflection.proto")
INFERENCE = methods("inference/grpc_service.proto")
KEYLESS = [f"inference.GRPCInferenceService/{name}" for name in ("ServerLive", "ServerReady", "ServerMetadata", "ModelReady")]
KEYED = methods("diptych/v1/gateway.proto") + [method for method in INFERENCE if method not in KEYLESS]
GATEWAY = KEYED + KEYLESS + OF_EACH
LANGUAGE = methods("diptych/v1/language.proto") + OF_EACH
VISION = methods("diptych/v1/vision.proto") + OF_EACH
