"""Runs every step of the bundle and writes out/report.md and out/report.json.

    bash run.sh [--device cuda] [--layers N] [--only STEP…]

Exits with 1 if a step failed. A step that cannot run here is skipped and says why.
"""
import argparse
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
import time

BIN, TESTS, OUT = (pathlib.Path(path) for path in ("build/release/bin", "build/release/tests", "out"))
DEMO, FULL = pathlib.Path("models/demo"), OUT / "full_size"
TOO_LONG = 540  # seconds of one step


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def card():
    """Name, driver and memory as nvidia-smi says them, or None."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,memory.free", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def takes_fp8(device):
    """Whether the card multiplies 8-bit floats, by its compute capability."""
    query = ["nvidia-smi", f"--id={device.partition(':')[2] or 0}", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        return tuple(map(int, subprocess.run(query, capture_output=True, text=True, timeout=60, check=True).stdout.strip().split("."))) >= (8, 9)
    except (OSError, ValueError, subprocess.SubprocessError):
        return False


def figures(text):
    """The Markdown tables of a text, each as a list of rows by column."""
    tables, header = [], None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.strip().startswith("|"):
            header = None
        elif header is None:
            header = cells
            tables.append([])
        elif not set(line) <= set("|-: "):
            tables[-1].append(dict(zip(header, cells)))
    return tables


def shown(output):
    """What a terminal would show in the end: of a line that was written over, the last state."""
    return "\n".join(line.rsplit("\r", 1)[-1] for line in output.decode(errors="replace").split("\n"))


class Steps:
    def __init__(self, device, only):
        self.device, self.only, self.done = device, only, []

    def run(self, name, command, needs=None):
        """`needs`: why it cannot run here, if so."""
        if self.only and name not in self.only:
            return
        if needs:
            return self._add(name, command, "skipped", 0, needs)
        print(f"{name} …", flush=True)
        begin = time.monotonic()
        try:
            done = subprocess.run([str(word) for word in command], capture_output=True, timeout=TOO_LONG,
                                  env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, ("tools", os.environ.get("PYTHONPATH"))))})
            status, text = ("passed" if done.returncode == 0 else "failed"), shown(done.stdout)
            if done.returncode != 0:
                text += shown(done.stderr)[-4000:]
        except subprocess.TimeoutExpired as expired:
            status, text = "failed", f"{shown(expired.stdout or b'')[-4000:]}\nstopped after {TOO_LONG} s"
        except OSError as error:
            status, text = "failed", str(error)
        self._add(name, command, status, time.monotonic() - begin, text)

    def _add(self, name, command, status, seconds, text):
        self.done.append(dict(name=name, command=" ".join(map(str, command)), status=status, seconds=round(seconds, 1),
                              output=text.strip(), figures=figures(text)))
        print(f"  {status}, {seconds:.0f} s", flush=True)


def run_all(steps, layers):
    python, device = sys.executable, steps.device
    on_card = device != "cpu"
    lacks = next((f"{package} is not installed here" for package in ("transformers", "torch", "PIL")
                  if not version({"PIL": "pillow"}.get(package, package))), None)
    drawn_by = ["--device", device] if on_card else []  # with numpy where there is no card
    steps.run("Devices", [BIN / "vision_service", "--show_devices"])
    steps.run("Checkpoint", [python, "tools/make_full_size_checkpoint.py", FULL, "--layers", layers, *drawn_by],
              needs=None if version("numpy") else "numpy is not installed here")
    made = None if (FULL / "model.safetensors").exists() else "there is no checkpoint"
    steps.run("CUDA tests", [TESTS / "gpu_test", "--gtest_filter=CudaTest.*", "--gtest_brief=1"],
              needs=None if on_card else "there is no card")
    steps.run("Kernel tests", [TESTS / "cuda_kernels_test", "--gtest_brief=1"])
    steps.run("Device tests", [TESTS / "gpu_test", "--gtest_filter=-CudaTest.*", "--gtest_brief=1"])
    steps.run("Model tests", [TESTS / "blip2_test", "--gtest_brief=1"])
    steps.run("Engine tests", [TESTS / "language_engine_test", "--gtest_brief=1"])
    steps.run("Parity", [python, "tools/compare.py", "parity", DEMO, device], needs=lacks)
    dtype = "bfloat16" if on_card else "auto"
    lacks_fp8 = None if on_card and takes_fp8(device) else "there is no card that multiplies 8-bit floats"
    decoder = [BIN / "decode_throughput", f"--model={FULL}", f"--device={device}"]
    steps.run("Decoder", [*decoder, f"--dtype={dtype}"], needs=made)
    steps.run("Decoder in fp8", [*decoder, "--dtype=fp8"], needs=made or lacks_fp8)
    for word in ("int8", "int4"):  # the weights alone; a CPU has its own form of these
        steps.run(f"Decoder in {word}", [*decoder, f"--dtype={word}"], needs=made or (None if on_card else "there is no card"))
    steps.run("CUDA graphs", [*decoder, f"--dtype={dtype}", "--cuda_graphs"], needs=made or (None if on_card else "there is no card"))
    vision = [BIN / "vision_times", f"--model={FULL}", f"--device={device}", "--batches=1,8,16" if on_card else "--batches=1"]
    steps.run("Vision transformer", [*vision, f"--dtype={dtype}"], needs=made)
    steps.run("Vision transformer in fp8", [*vision, "--dtype=fp8"], needs=made or lacks_fp8)
    steps.run("Vision CUDA graphs", [*vision, f"--dtype={dtype}", "--cuda_graphs"], needs=made or (None if on_card else "there is no card"))
    tiers = [f"--model={FULL}", "--rounds=100"] if on_card else [f"--model={DEMO}", "--rounds=20"]
    steps.run("Two tiers", [BIN / "two_tiers", f"--device={device}", f"--dtype={dtype}", *tiers], needs=made if on_card else None)
    steps.run("Services", [python, "tools/compare.py", "services", FULL, device], needs=made)
    steps.run("Transformers", [python, "tools/compare.py", "transformers", FULL, device], needs=made or lacks)


def write(report):
    (OUT / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    lines = [f"# GPU bundle, {report['date']}", "", f"- commit: {report['commit']}", f"- machine: {report['machine']}",
             f"- card: {report['card'] or 'none: nothing here says anything about a GPU'}",
             f"- torch {report['torch']}, transformers {report['transformers'] or 'not installed'}",
             f"- model: BLIP2-OPT-2.7b's widths, {report['layers'] or 'all'} layers a part, seeded random weights, on {report['device']}",
             "", "| step | result | s |", "|---|---|---|"]
    lines += [f"| {step['name']} | {step['status']} | {step['seconds']} |" for step in report["steps"]]
    for step in report["steps"]:
        lines += ["", f"## {step['name']}", f"`{step['command']}`", "```", step["output"], "```"]
    (OUT / "report.md").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", help="cpu, cuda or cuda:N; default: cuda where nvidia-smi lists a card")
    parser.add_argument("--layers", type=int, help="of each part of the checkpoint; 0: all, the default on a card; else 1")
    parser.add_argument("--only", nargs="+", metavar="STEP", help="these steps alone")
    arguments = parser.parse_args()
    found = card()
    device = arguments.device or ("cuda" if found else "cpu")
    layers = arguments.layers if arguments.layers is not None else (1 if device == "cpu" else 0)
    OUT.mkdir(exist_ok=True)
    steps = Steps(device, arguments.only)
    run_all(steps, layers)
    write(dict(date=datetime.datetime.now(datetime.timezone.utc).strftime("%F %R UTC"), commit=pathlib.Path("COMMIT").read_text().strip(),
               machine=f"{platform.machine()}, {os.cpu_count()} processors, {platform.platform()}", card=found, device=device,
               torch=version("torch"), transformers=version("transformers"), layers=layers, steps=steps.done))
    failed = [step["name"] for step in steps.done if step["status"] == "failed"]
    print(f"{OUT / 'report.md'} and {OUT / 'report.json'}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
