"""Compares replies with what gateway/http/openapi.json says of them.

Needs the packages in .deps/openapi (scripts/setup.sh --tests); `why_not` says so where they are missing, and nothing is compared.
"""
import json
import sys

from http_stack import ROOT

sys.path.insert(0, str(ROOT / ".deps" / "openapi"))
try:
    import jsonschema
    import openapi_spec_validator
    why_not = None
except ImportError as error:
    why_not = f"{error}; scripts/setup.sh --tests installs it"

DOCUMENT = json.loads((ROOT / "gateway" / "http" / "openapi.json").read_text(encoding="utf-8"))


def check_document():
    openapi_spec_validator.validate(DOCUMENT)


def _operation(method, path):
    for route, item in DOCUMENT["paths"].items():
        prefix, brace, _ = route.partition("{")
        matches = path.startswith(prefix) and len(path) > len(prefix) if brace else path == route
        if matches and method.lower() in item:
            return item[method.lower()]
    return None


def _validate(schema, value):
    jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(value)


def check_request(method, path, body):
    """For bodies that the server takes."""
    if why_not is None:
        _validate(_operation(method, path)["requestBody"]["content"]["application/json"]["schema"], body)


def check_reply(method, path, status, content_type, body):
    """`body`: parsed, where it is JSON."""
    if why_not is not None:
        return
    operation = _operation(method, path.partition("?")[0])
    if operation is None:
        assert status in (400, 404, 405), f"{status} for {method} {path}, which is not documented"
        return _validate({"$ref": "#/components/schemas/Error"}, body)
    assert str(status) in operation["responses"], f"{status} of {method} {path} is not documented"
    response = operation["responses"][str(status)]
    if "$ref" in response:
        response = DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
    if "content" not in response:
        assert body == "", f"{status} of {method} {path} has a body, which is not documented"
        return
    kind = content_type.partition(";")[0]
    assert kind in response["content"], f"{kind} of {method} {path} is not documented"
    described = response["content"][kind]
    if kind != "text/event-stream":
        return _validate(described["schema"], body)
    for event in body.split("\n\n"):
        data = event[event.find("data: ") + len("data: "):] if "data: " in event else ""
        if data and data != "[DONE]":
            _validate({"anyOf": [described["x-event"], {"$ref": "#/components/schemas/Error"}]}, json.loads(data))
