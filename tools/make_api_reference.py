"""Writes docs/api.md from proto/diptych/v1/*.proto and gateway/http/openapi.json: every call, message and field with its comment.

    python3 tools/make_api_reference.py          write the page
    python3 tools/make_api_reference.py --check  exit 1 if the page is not what would be written

Needs protoc and the Python package protobuf (scripts/lint.sh puts it into .deps/protobuf).
"""
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / ".deps" / "protobuf"))

from google.protobuf import descriptor_pb2  # noqa: E402

PAGE = ROOT / "docs" / "api.md"
# In the order in which a caller meets them.
FILES = ("gateway", "inference", "vision", "language")
HEAD = """# API reference

Made from `proto/diptych/v1/` and `gateway/http/openapi.json` by `tools/make_api_reference.py`; do not edit. Callers of gRPC need
[gateway.proto](#gatewayproto) and the nouns of [inference.proto](#inferenceproto); the other two are between the tiers. Over [HTTP](#http) the running
gateway also serves its description at `/openapi.json`. Which error carries which reason: [errors](faq.md#what-does-this-error-mean).

"""

Field = descriptor_pb2.FieldDescriptorProto
SCALARS = {number: name[len("TYPE_"):].lower() for name, number in Field.Type.items()
           if name not in ("TYPE_MESSAGE", "TYPE_ENUM", "TYPE_GROUP")}
# The field numbers that paths of SourceCodeInfo are made of (google/protobuf/descriptor.proto).
IN_FILE = {"message": 4, "enum": 5, "service": 6}
IN_PARENT = 2  # field of a message, value of an enum, method of a service


def describe():
    """The compiled files with their comments, by name."""
    with tempfile.NamedTemporaryFile() as out:
        names = [f"diptych/v1/{name}.proto" for name in FILES]
        subprocess.run(["protoc", "-I.", "--include_source_info", f"--descriptor_set_out={out.name}", *names],
                       cwd=ROOT / "proto", check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(out.name).read_bytes()).file
    return {pathlib.Path(file.name).stem: file for file in files}


def one_line(comment):
    return " ".join(comment.split()).replace("|", "\\|").replace("<", "&lt;")


def link(type_name, homes):
    short = type_name.rsplit(".", 1)[-1]
    return f"[{short}](#{short.lower()})" if short in homes else short


def type_of(field, homes):
    name = SCALARS.get(field.type) or link(field.type_name, homes)
    if field.label == Field.LABEL_REPEATED:
        return f"repeated {name}"
    return f"optional {name}" if field.proto3_optional else name


def section(file, homes):
    comments = {tuple(where.path): one_line(where.leading_comments) for where in file.source_code_info.location}
    stem = pathlib.Path(file.name).stem
    yield f"## {stem}.proto\n"
    for s, service in enumerate(file.service):
        path = (IN_FILE["service"], s)
        yield f"### {service.name}\n\n{comments[path]}\n\n| method | takes | gives | |\n|---|---|---|---|"
        for m, method in enumerate(service.method):
            stream = "stream of " if method.server_streaming else ""
            yield (f"| `{method.name}` | {link(method.input_type, homes)} | {stream}{link(method.output_type, homes)} "
                   f"| {comments[(*path, IN_PARENT, m)]} |")
        yield ""
    for m, message in enumerate(file.message_type):
        path = (IN_FILE["message"], m)
        yield f"### {message.name}\n\n{comments[path]}\n"
        if not message.field:
            continue
        yield "| field | type | |\n|---|---|---|"
        for f, field in enumerate(message.field):
            one_of = field.HasField("oneof_index") and not field.proto3_optional
            kind = type_of(field, homes) + (f", one of `{message.oneof_decl[field.oneof_index].name}`" if one_of else "")
            yield f"| `{field.name}` | {kind} | {comments[(*path, IN_PARENT, f)]} |"
        yield ""
    for e, enum in enumerate(file.enum_type):
        path = (IN_FILE["enum"], e)
        yield f"### {enum.name}\n\n{comments[path]}\n\n| value | number | |\n|---|---|---|"
        for v, value in enumerate(enum.value):
            yield f"| `{value.name}` | {value.number} | {comments[(*path, IN_PARENT, v)]} |"
        yield ""


def schema_type(schema, homes):
    if "$ref" in schema:
        return link(schema["$ref"].replace("/", "."), homes)
    for several in ("allOf", "anyOf", "oneOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(schema_type(one, homes) for one in schema[several]))
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema.get("enum", [schema.get("const")]))
    kinds = schema.get("type", "any")
    if kinds == "array":
        return f"list of {schema_type(schema.get('items', {}), homes)}"
    return " or ".join(kinds) if isinstance(kinds, list) else kinds


def http(document, homes):
    """The paths, and those of their schemas that are no message of proto/."""
    own = {name: schema for name, schema in document["components"]["schemas"].items() if name not in homes}
    names = homes | set(own)
    yield f"## HTTP\n\n{one_line(document['info']['description'])}\n"
    yield "| | takes | gives | |\n|---|---|---|---|"
    for path, item in document["paths"].items():
        for method, call in item.items():
            given = call["responses"]["200"]["content"]
            gives = ", ".join(f"{schema_type(of['schema'], names)} (`{kind}`)" if "$ref" in of.get("schema", {}) else f"`{kind}`"
                              for kind, of in given.items())
            taken = call.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            yield (f"| `{method.upper()} {path}` | {schema_type(taken, names) if taken else '–'} | {gives} "
                   f"| {one_line(call['summary'])} |")
    yield ""
    for name, schema in own.items():
        yield f"### {name}\n"
        if "description" in schema:
            yield one_line(schema["description"]) + "\n"
        fields = schema.get("properties", {})
        if not fields:
            yield f"{schema_type(schema, names)}\n"
            continue
        yield "| field | type | |\n|---|---|---|"
        for field, of in fields.items():
            must = " (required)" if field in schema.get("required", []) else ""
            yield f"| `{field}`{must} | {schema_type(of, names)} | {one_line(of.get('description', ''))} |"
        yield ""


def page():
    files = describe()
    homes = {item.name for file in files.values() for item in (*file.message_type, *file.enum_type)}
    document = json.loads((ROOT / "gateway" / "http" / "openapi.json").read_text(encoding="utf-8"))
    lines = [line for name in FILES for line in section(files[name], homes)]
    return HEAD + "\n".join([*lines, *http(document, homes)])


if __name__ == "__main__":
    text = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        sys.exit("docs/api.md is not what proto/ says; python3 tools/make_api_reference.py writes it anew")
