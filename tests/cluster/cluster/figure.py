"""Draws how replicas, queues and waiting times went, by gnuplot."""
import json
import subprocess

from . import paths

_SCRIPT = """set terminal svg size 900,640 font 'sans-serif,13' background '#ffffff'
set output '{output}'
set multiplot layout 3,1 margins 0.08,0.97,0.1,0.94 spacing 0,0.09
set grid ytics lc '#dddddd'
set xrange [0:{end}]
set yrange [0:*]
set key at graph 1,1.16 right top horizontal samplen 2
set border 3
set tics nomirror
set format x ''
{labels}
set ylabel 'ready replicas'
set yrange [0:{most}]
set ytics 1
plot '{data}' using 1:2 with steps lw 3 lc '#c2410c' title 'vision', '' using 1:3 with steps lw 3 lc '#1d4ed8' title 'language'
unset label
set yrange [0:*]
set ytics autofreq
set ylabel 'waiting'
plot '{data}' using 1:4 with lines lw 2 lc '#c2410c' title 'images', '' using 1:5 with lines lw 2 lc '#1d4ed8' title 'requests of the language tier'
set format x '%g'
set xlabel 'seconds'
set ylabel 'p95 in seconds'
plot '{data}' using 1:6 with lines lw 2 lc '#111111' title 'of the callers'
"""


def draw(samples, marks, output):
    """Writes `output`, an SVG. `marks` are (second, words) beside the first graph; it begins a little before the first one."""
    begin = marks[0][0] - 5
    samples = [s for s in samples if s["time"] >= begin]
    data = paths.RUN / "scaling.dat"
    rows = [[s["time"] - begin, s["ready"]["vision"], s["ready"]["language"], s["waiting"]["vision"], s["waiting"]["language"],
             "NaN" if s["p95"] is None else s["p95"]] for s in samples]
    data.write_text("\n".join(" ".join(str(round(v, 3)) if v != "NaN" else v for v in row) for row in rows) + "\n", encoding="ascii")
    most = max(max(row[1], row[2]) for row in rows) + 1.6
    labels = "\n".join(f"set label {json.dumps(words)} at {second - begin + 1:.0f},{most - 0.3 - 0.5 * (index % 2):.1f} left font ',11'"
                       for index, (second, words) in enumerate(marks))
    script = _SCRIPT.format(output=output, data=data, end=round(rows[-1][0]), labels=labels, most=most)
    subprocess.run(["gnuplot"], input=script, text=True, check=True)
