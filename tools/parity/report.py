"""The table that `make parity` prints and keeps."""
import json
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import transformers


@dataclass
class Row:
    """One line: what was compared, the figure, what it must be, and whether it is."""
    what: str
    figure: str
    wanted: str
    ok: bool
    note: str = ""


class Report:
    def __init__(self, seed: int):
        self.rows: list[Row] = []
        self.lines: list[str] = []  # what went wrong, and measurements that have no target
        self.head = dict(seed=seed, date=time.strftime("%Y-%m-%d %H:%M"), transformers=transformers.__version__,
                         torch=torch.__version__, machine=_processor())

    def add(self, what: str, figure: str, wanted: str, ok: bool, note: str = "") -> None:
        self.rows.append(Row(what, figure, wanted, bool(ok), note))  # numpy has bools of its own
        print(f"{'ok  ' if ok else 'FAIL'} {what}: {figure} (wanted: {wanted}){'; ' + note if note else ''}", flush=True)

    def say(self, line: str) -> None:
        self.lines.append(line)
        print(f"     {line}", flush=True)

    @property
    def ok(self) -> bool:
        return bool(self.rows) and all(row.ok for row in self.rows)

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        table = ["| | compared | figure | wanted | note |", "|---|---|---|---|---|"]
        table += [f"| {'✓' if r.ok else '✗'} | {r.what} | {r.figure} | {r.wanted} | {r.note} |" for r in self.rows]
        head = ", ".join(f"{name} {value}" for name, value in self.head.items())
        path = folder / "report.md"
        path.write_text("\n".join(["# Parity with transformers", "", head, "", *table, "", *self.lines]) + "\n")
        (folder / "report.json").write_text(json.dumps(dict(
            self.head, ok=self.ok, rows=[asdict(r) for r in self.rows], lines=self.lines), indent=1) + "\n")
        return path


def _processor() -> str:
    try:
        names = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    except OSError:
        names = []
    return f"{len(names)} × {names[0]}" if names else platform.machine()
