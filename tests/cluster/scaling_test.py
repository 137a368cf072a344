"""Each tier grows on its own signal alone: the gauges and targets of the chart's HPAs, under load, with real processes.

Applies the HPA's formula by itself (ceil(sum of the metric / target), bounds, stabilization windows, one pod at a time), with the targets of
tests/cluster/values.yaml. Run by `make rollout-test`, in namespaces of its own.
"""
import collections
import math
import os
import threading
import time
import unittest

from cluster import callers, figure, network, paths
from cluster.replicas import NAMESPACE, TIERS, Replicas, answered, metrics

import yaml  # the package puts it on the path

FIGURE = os.environ.get("DIPTYCH_CLUSTER_FIGURE")
GAUGES = {"waiting": "diptych_requests_waiting", "running": "diptych_requests_running", "busyRatio": "diptych_vision_busy_ratio",
          "kvUsageRatio": "diptych_kv_cache_usage_ratio"}
FLAGS = {"vision": ["--cache_bytes=0", "--image_workers=1", "--drain_delay=12s"], "language": ["--max_batch=4", "--cache_bytes=0", "--drain_delay=12s"]}


def number(target):
    return float(target[:-1]) / 1000 if str(target).endswith("m") else float(target)


class Autoscaler:
    """Looks at one tier every two seconds and adds or takes a pod."""

    def __init__(self, replicas, tier, scaling):
        self._replicas, self._tier, self._scaling = replicas, tier, scaling
        self._recent = collections.deque()  # (when, replicas that the metrics asked for)
        self.waiting = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self):
        self._stopped.set()
        self._thread.join()

    def _run(self):
        while not self._stopped.wait(2):
            pods = self._replicas.ready(self._tier)
            if len(pods) == len(self._replicas.pods[self._tier]):  # else one is starting
                self._move(len(pods), self._wanted(pods))

    def _wanted(self, pods):
        shown = [dict(metrics(pod)) for pod in pods]
        sums = {target: sum(page.get(GAUGES[target], 0) for page in shown) for target in self._scaling["targets"]}
        self.waiting = sums["waiting"]
        wanted = max(math.ceil(sums[target] / number(value) - 0.1) for target, value in self._scaling["targets"].items())
        return min(max(wanted, self._scaling["minReplicas"]), self._scaling["maxReplicas"])

    def _within(self, direction):
        """What was asked for within the stabilization window of a direction; nothing if that has not passed yet."""
        window = self._scaling["behavior"][direction]["stabilizationWindowSeconds"]
        full = self._recent[0][0] <= time.monotonic() - window
        return [wanted for when, wanted in self._recent if when > time.monotonic() - window] if full else []

    def _move(self, now, wanted):
        self._recent.append((time.monotonic(), wanted))
        while self._recent[0][0] < time.monotonic() - 60:
            self._recent.popleft()
        if min(self._within("scaleUp"), default=now) > now:
            self._replicas.start(self._tier)
        elif max(self._within("scaleDown"), default=now) < now:
            self._replicas.stop(self._tier, self._replicas.pods[self._tier][-1])


class Recorder:
    """Notes once a second how many replicas are ready and what waits."""

    def __init__(self, replicas, scalers):
        self.samples, self.load, self.ready_since, self.first_answer = [], None, {}, {}
        self._replicas, self._scalers, self._began, self._stopped = replicas, scalers, time.monotonic(), threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def now(self):
        return time.monotonic() - self._began

    def _run(self):
        while True:
            for tier in ("vision", "language"):
                for pod in self._replicas.ready(tier):
                    self.ready_since.setdefault(pod.name, self.now())
                    if pod.name not in self.first_answer and answered(pod) > 0:
                        self.first_answer[pod.name] = self.now()
            self.samples.append({"time": self.now(), "ready": {tier: len(self._replicas.ready(tier)) for tier in TIERS},
                                 "waiting": {tier: scaler.waiting for tier, scaler in self._scalers.items()},
                                 "p95": self.load.p95() if self.load else None})
            time.sleep(1)


class ScalingTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        network.make()
        values = yaml.safe_load((paths.REPOSITORY / "tests/cluster/values.yaml").read_text(encoding="utf-8"))
        cls.replicas = Replicas(FLAGS)
        cls.replicas.names.kept = 0.0
        for pod in [cls.replicas.start(tier) for tier in TIERS]:
            cls.replicas.wait_until_ready(pod)
        cls.scalers = {tier: Autoscaler(cls.replicas, tier, values[tier]["autoscaling"]) for tier in ("vision", "language")}
        cls.recorder = Recorder(cls.replicas, cls.scalers)
        cls.gateway = callers.Gateway(NAMESPACE)
        cls.marks = []

    @classmethod
    def tearDownClass(cls):
        for scaler in cls.scalers.values():
            scaler.stop()

    def wait_for_one_each(self, seconds=150):
        end = time.monotonic() + seconds
        while any(len(self.replicas.pods[tier]) > 1 for tier in ("vision", "language")):
            self.assertLess(time.monotonic(), end, "the tiers have not shrunk")
            time.sleep(0.5)

    def grow(self, words, question, concurrent, grows, stays):
        """Loads until `grows` has three replicas and 20 s more; `stays` keeps its one. Returns the new pods."""
        self.marks.append((self.recorder.now(), words))
        before = {pod.name for pod in self.replicas.pods[grows]}
        load = self.recorder.load = callers.Load(question, concurrent)
        end = time.monotonic() + 120
        while len(self.replicas.ready(grows)) < 3:
            self.assertLess(time.monotonic(), end, f"{grows} has not grown")
            self.assertEqual(len(self.replicas.pods[stays]), 1, f"{stays} has grown, too")
            time.sleep(0.5)
        time.sleep(20)
        self.assertEqual(len(self.replicas.pods[stays]), 1, f"{stays} has grown, too")
        new = {pod.name for pod in self.replicas.pods[grows]} - before
        self.marks.append((self.recorder.now(), "no load"))
        count, failures = load.stop()
        self.recorder.load = None
        print(f"    {count} answered", {name: round(self.recorder.first_answer[name] - self.recorder.ready_since[name], 1) for name in new}, flush=True)
        self.assertEqual(failures, {})
        return new

    def test_1_images_grow_the_vision_tier_alone(self):
        new = self.grow("12 callers with images", callers.image_question(self.gateway), 12, "vision", "language")
        for name in new:
            self.assertLessEqual(self.recorder.first_answer[name] - self.recorder.ready_since[name], 12, name)
        self.wait_for_one_each()

    def test_2_text_grows_the_language_tier_alone(self):
        new = self.grow("14 callers with text", callers.text_question(self.gateway), 14, "language", "vision")
        for name in new:
            self.assertLessEqual(self.recorder.first_answer[name] - self.recorder.ready_since[name], 12, name)

    def test_3_shrinking_under_light_load_loses_nothing(self):
        self.marks[-1] = (self.recorder.now(), "1 caller with text")
        load = callers.Load(callers.text_question(self.gateway, 12), 1)
        self.wait_for_one_each()
        time.sleep(15)  # until the last ones have drained
        count, failures = load.stop()
        self.assertEqual(failures, {})
        self.assertGreater(count, 10)
        if FIGURE:
            figure.draw(self.recorder.samples, self.marks, FIGURE)


if __name__ == "__main__":
    paths.made(paths.RUN)
    unittest.main(verbosity=2, failfast=True)
