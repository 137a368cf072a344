"""What --image_decode=scaled changes: time, pixels and answers, by the services' own figures, with the demo model.

Usage: image_decode.py [SCENES [PHOTOGRAPH…]] from the repository's root, with the packages of tools/parity. Held-out scenes are drawn in
several sizes, kept as JPEGs, and asked about by both ways of decoding; photographs are prepared by both, but nothing is asked about them.
"""
import base64
import io
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "tools"), str(ROOT / "tools" / "train_demo")]

import held_out  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from services import Services  # noqa: E402

DIPTYCH = ROOT / "build/release/bin/diptych"
SIDES = (448, 896, 1792, 3584)
STAGES = ("image_decode", "image_resize")


def write_jpegs(folder, side, count):
    """The questions about each file."""
    held_out.PICTURE_SIZE = side
    scenes = held_out.make(count, kinds_per_scene=4)
    asked = {}
    for name, image in scenes.images.items():
        file = folder / f"{side}_{pathlib.Path(name).stem}.jpg"
        image.save(file, quality=90)
        asked[file] = [question.question for question in scenes.questions if question.image == name]
    return asked


def lines_of(stack, file, prompts):
    told = subprocess.run([DIPTYCH, "ask", "--server", f"127.0.0.1:{stack.grpc_port}", "--json", "--image", file,
                           *(word for prompt in prompts for word in ("--prompt", prompt))], capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in told.splitlines()]


def alone(stack, file):
    """Milliseconds of both stages of a question that finds the image in no cache and joins no other."""
    timings = lines_of(stack, file, ["Question: what is this? Answer:"])[0]["timings"]
    return [1000 * seconds(timings.get(stage, 0)) for stage in STAGES]


def ask(stack, file, prompts):
    return [line["answer"] for line in lines_of(stack, file, prompts)]


def seconds(duration):
    return float(duration.rstrip("s")) if isinstance(duration, str) else float(duration)


def prepared(stack, file):
    """The pixels that the model sees."""
    reply = stack.post("/v1/diptych/analyze", dict(image=base64.b64encode(file.read_bytes()).decode(), prepared_image=True))
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(reply["prepared_image"])))).astype(int)


def measure(decode, asked):
    with Services(ROOT / "models/demo", vision_flags=(f"--image_decode={decode}",)) as stack:
        return {file: (alone(stack, file), ask(stack, file, prompts) if prompts else [], prepared(stack, file)) for file, prompts in asked.items()}


def row(name, files, asked, exact, scaled):
    off = np.concatenate([np.abs(exact[file][2] - scaled[file][2]).ravel() for file in files])
    same = sum(a == b for file in files for a, b in zip(exact[file][1], scaled[file][1], strict=True))
    count = sum(len(asked[file]) for file in files)
    median = [[statistics.median(way[file][0][stage] for file in files) for stage in range(len(STAGES))] for way in (exact, scaled)]
    print(f"| {name} | {len(files)} | {median[0][0]:.1f} + {median[0][1]:.1f} | {median[1][0]:.1f} + {median[1][1]:.1f} | "
          f"{off.mean():.2f}, {np.percentile(off, 99):.0f}, {off.max()} | {f'{same} of {count} the same' if count else '–'} |", flush=True)


def main(count="40", *photographs):
    with tempfile.TemporaryDirectory() as folder:
        groups = {f"scenes of {side} × {side}": write_jpegs(pathlib.Path(folder), side, int(count)) for side in SIDES}
        for path in map(pathlib.Path, photographs):
            groups[f"photograph of {' × '.join(map(str, Image.open(path).size))}"] = {path: []}
        asked = {file: prompts for group in groups.values() for file, prompts in group.items()}
        exact, scaled = measure("exact", asked), measure("scaled", asked)
    print("| images | number | exact: decode + resize, ms | scaled, ms | pixels differ by (of 255): mean, 99 % within, most | answers |\n|---|---|---|---|---|---|")
    for name, group in groups.items():
        row(name, list(group), asked, exact, scaled)


if __name__ == "__main__":
    main(*sys.argv[1:])
