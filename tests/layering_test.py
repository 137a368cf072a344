"""Enforces who may include and link whom (docs/architecture.md, "Folders").

Reads every #include line and every CMakeLists.txt; run by ctest as `layering_test`.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# What each folder may include from the project, besides itself. A trailing .h names one header.
# Generated headers of proto/ are "diptych", "google", "grpc", "inference" and "opentelemetry".
PROTO = {"diptych", "google", "grpc", "inference", "opentelemetry"}
LAYERS = {
    "common": PROTO,
    # The headers of diptych_status, which knows neither gRPC nor Protobuf.
    "blip2": {f"common/{name}.h" for name in ("files", "hash", "images/gif_frame", "images/image_header", "images/jpeg_segments",
                                              "models/hub_name", "models/model_family", "status", "text/strict_json", "text/utf8",
                                              "text/white_space")},
    "vision_service": PROTO | {"blip2", "common"},
    "language_service": PROTO | {"blip2", "common"},
    "gateway": PROTO | {"common"},
    "cli": PROTO | {"common"},
}
# Rooms inside a folder, and what each may include of the folder's other rooms; "" is the folder itself. A trailing .h
# names one header.
ROOMS = {
    "common": {
        "": set(),
        "containers": {""},
        "grpc": {"", "containers", "logging", "network", "process", "text"},
        "images": {""},
        "logging": {""},
        "metrics": {"", "network", "process"},
        "models": {"", "text"},
        "network": {"", "logging", "process"},
        "process": {"", "logging", "text"},
        "replicas": {"", "grpc", "logging", "metrics", "process"},
        "requests": {"", "grpc", "images", "text"},
        "text": {""},
        "tiers": {"", "grpc", "images", "models", "process", "text", "tracing"},
        "tracing": {"", "grpc", "logging", "metrics", "network", "process"},
    },
    "blip2": {
        "": {"checkpoint", "cuda", "device", "kernels", "matrices", "tokenizer"},
        "checkpoint": {"blip2/json_reader.h", "device", "kernels", "matrices"},
        "cuda": set(),
        "decoding": {"checkpoint", "device"},
        "device": {"blip2/json_reader.h", "kernels"},
        "images": {"checkpoint"},
        "kernels": set(),
        "matrices": {"kernels"},
        "tokenizer": {"blip2/json_reader.h"},
    },
    "language_service": {
        "": {"engine", "images"},
        "images": {"engine"},
        "engine": {"language_service/served_model.h"},
    },
    "gateway": {
        "": {"admission", "image_urls", "tiers", "http", "kserve"},
        "admission": {"image_urls", "gateway/deadline_timer.h"},
        "image_urls": {"gateway/deadline_timer.h"},
        "tiers": {"gateway/options.h"},
        "http": {"gateway/deadline_timer.h", "gateway/generated_text.h", "gateway/request_id.h"},
        "kserve": {"gateway/generated_text.h"},
    },
    "cli": {
        "": {"command_line", "commands", "connection", "terminal"},
        "commands": {"capacity", "charts", "command_line", "connection", "images", "measurements", "pull", "questions", "stack", "terminal"},
        "measurements": {"capacity", "charts", "images", "terminal"},
        "capacity": set(),
        "questions": {"command_line", "connection", "images", "terminal"},
        "charts": {"command_line", "connection", "terminal"},
        "connection": {"command_line", "terminal"},
        "command_line": {"terminal"},
        "images": {"connection", "terminal"},
        "pull": {"connection", "terminal"},
        "stack": set(),
        "terminal": set(),
    },
}
# Libraries that only blip2 and what is built on it may include.
TENSOR_HEADERS = re.compile(r"^(ATen|torch|c10|opencv2)/")
TENSOR_FOLDERS = {"blip2", "vision_service", "language_service"}
# Targets of the project that each folder may link, besides its own.
LINKS = {
    "proto": set(),
    "common": {"diptych_proto"},
    "blip2": {"diptych_status", "diptych_torch", "diptych_opencv"},
    "vision_service": {"diptych_blip2", "diptych_brief_waits", "diptych_common", "diptych_tier_process"},
    "language_service": {"diptych_blip2", "diptych_brief_waits", "diptych_common", "diptych_tier_process"},
    "gateway": {"diptych_common", "diptych_message_json", "diptych_url"},
    "cli": {"diptych_common", "diptych_message_json", "diptych_model_folder", "diptych_url"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)
# The wall clock may be set at any moment: it is for dates, and nothing may last by it (common/steady_clock.h).
WALL_CLOCK = re.compile(r"system_clock|absl::Now\b|absl::GetCurrentTime|(Await|Wait\w*|Lock\w*)With(Timeout|Deadline)|CLOCK_REALTIME|"
                        r"gettimeofday|\btime\((nullptr|NULL|0)\)|\bcontext\w*(\.|->)deadline\(\)")
# What damaged bytes could end by an assertion.
GRPC_REACTOR = re.compile(r"public (grpc::Client\w*Reactor)\b")
DATES = {
    "common/metrics/metrics.cc": "of an exemplar",
    "common/metrics/process_metrics.cc": "of the start of the process",
    "common/tracing/span.cc": "of a span",
    "gateway/http/http_api.cc": "`created` of an answer",
}
HEAVY = {"torch/torch.h": "21 s to parse", "torch/nn.h": "21 s to parse"}


def include_errors(folder, allowed):
    for path in sorted((ROOT / folder).rglob("*")):
        if path.suffix not in {".h", ".cc"}:
            continue
        where = path.relative_to(ROOT)
        for header in INCLUDE.findall(path.read_text(encoding="utf-8")):
            top = header.split("/")[0]
            if header in HEAVY:
                yield f"{where} includes {header} ({HEAVY[header]})"
            if path.suffix == ".h" and header == "ATen/ATen.h":
                yield f"{where} includes ATen/ATen.h in a header (9 s for each user); use ATen/core/Tensor.h"
            if TENSOR_HEADERS.match(header) and folder not in TENSOR_FOLDERS:
                yield f"{where} includes {header}: {folder}/ holds no tensor"
            if top in {"tests", "bench"}:
                yield f"{where} includes {header}: nothing may depend on {top}/"
            ours = (top in LAYERS or top == "diptych" or header.startswith(("google/rpc/", "inference/"))) and "/" in header
            if ours and top != folder and top not in allowed and header not in allowed:
                yield f"{where} includes {header}: {folder}/ may not use it"


def clock_errors(folder):
    for path in sorted((ROOT / folder).rglob("*")):
        where = path.relative_to(ROOT)
        if path.suffix not in {".h", ".cc"} or str(where) in DATES:
            continue
        if found := WALL_CLOCK.search(path.read_text(encoding="utf-8")):
            yield f"{where} uses {found[0]}: what lasts is measured by SteadyClock; add a file that shows dates to DATES"


def reactor_errors(folder):
    for path in sorted((ROOT / folder).rglob("*")):
        if path.suffix in {".h", ".cc"} and (found := GRPC_REACTOR.search(path.read_text(encoding="utf-8"))):
            yield f"{path.relative_to(ROOT)} derives from {found[1]}: derive from ClientReactor of it (common/grpc/client_reactor.h)"


def room_of(parts):
    return parts[1] if len(parts) > 2 else ""


def room_errors(folder, rooms):
    for path in sorted((ROOT / folder).rglob("*")):
        if path.suffix not in {".h", ".cc"}:
            continue
        where = path.relative_to(ROOT)
        room = room_of(where.parts)
        if room not in rooms:
            yield f"{where} lies in a room that {pathlib.Path(__file__).name} does not know"
            continue
        for header in INCLUDE.findall(path.read_text(encoding="utf-8")):
            parts = header.split("/")
            if parts[0] != folder or room_of(parts) in rooms[room] | {room} or header in rooms[room]:
                continue
            yield f"{where} includes {header}: {folder}/{room} may not use it"


def link_errors(folder, allowed):
    files = sorted((ROOT / folder).rglob("CMakeLists.txt"))
    text = "\n".join(re.sub(r"#.*", "", path.read_text(encoding="utf-8")) for path in files)
    own = set(re.findall(r"(?:NAME|add_library\()\s*(diptych_\w+)", text))
    for target in sorted(set(re.findall(r"\bdiptych_\w+", text)) - own):
        if target in {"diptych_library", "diptych_binary", "diptych_test", "diptych_choose_options", "diptych_compile_options"}:
            continue
        if target not in allowed:
            yield f"{folder}/ links {target}: {folder}/ may not"


def main():
    errors, files = [], 0
    for folder, allowed in LAYERS.items():
        sources = [p for p in (ROOT / folder).rglob("*") if p.suffix in {".h", ".cc"}]
        if not sources:
            errors.append(f"{folder}/ holds no source: is the folder gone?")
        files += len(sources)
        errors += include_errors(folder, allowed)
        errors += clock_errors(folder)
        errors += reactor_errors(folder)
        errors += room_errors(folder, ROOMS.get(folder, {"": set()}))
    for folder, allowed in LINKS.items():
        errors += link_errors(folder, allowed)
    for error in errors:
        print("layering:", error)
    print(f"layering: {files} files in {len(LAYERS)} folders, {len(errors)} violations")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
