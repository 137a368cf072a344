"""What affinity brings on the real services: hit rates and balance by the replicas' own metrics, with the demo model.

Usage: replica_affinity.py [FOLDER_OF_BINARIES [QUESTIONS]]. For two and four replicas of each tier, with and without
affinity, four callers ask about images of which some are asked about far more often than others (Zipf, exponent 0.9).
No times: on few cores the replicas are in each other's way.
"""
import concurrent.futures
import pathlib
import random
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "replicas"))

from name_server import NameServer  # noqa: E402
from replicas import ReplicasTestCase, free_port  # noqa: E402

IMAGES = 400
CALLERS = 4


class Stack(ReplicasTestCase):
    def __init__(self, replicas, affinity):
        super().__init__()
        self.processes = []
        self._names = NameServer([f"127.0.0.{i + 1}" for i in range(replicas)])
        flags = []
        self.visions, vision = self._tier("vision_service")
        flags += [f"--vision_target={vision}", f"--affinity={affinity}"]
        self.languages, language = self._tier("language_service", *flags)
        self.front = self.gateway(language, *flags)
        while affinity == "image" and self.front.metric(r'diptych_known_replicas\{tier="language"\}') < replicas:
            time.sleep(0.1)

    def _tier(self, name, *flags):
        port = free_port()
        replicas = [self.tier(name, address, port, "--max_connection_age=10s", *flags)
                    for address in self._names.addresses]
        return replicas, f"dns://127.0.0.1:{self._names.port}/tier.test:{port}"

    def close(self):
        self.tearDown()
        self._names.close()


def ask_all(stack, questions):
    draw = random.Random(7)
    weights = [(image + 1) ** -0.9 for image in range(IMAGES)]
    images = draw.choices(range(IMAGES), weights, k=questions)
    with concurrent.futures.ThreadPoolExecutor(CALLERS) as pool:
        statuses = list(pool.map(lambda image: stack.ask(image=True, cache_breaker=image), images))
    assert set(statuses) == {200}, statuses
    return len(set(images))


def cache(replicas, name):
    """Queries and misses."""
    queries = sum(replica.metric(rf'diptych_cache_queries_total\{{cache="{name}"\}}') for replica in replicas)
    hits = sum(replica.metric(rf'diptych_cache_hits_total\{{cache="{name}"\}}') for replica in replicas)
    return queries, queries - hits


def busiest(replicas):
    requests = [replica.requests() for replica in replicas]
    return max(requests) * len(requests) / sum(requests)


def main(binaries="build/release/bin", questions="1200"):
    ReplicasTestCase.binaries = pathlib.Path(binaries).resolve()
    print("| replicas of each tier | affinity | images | hits in the language tier | encoded | busiest language, vision |")
    print("|---|---|---|---|---|---|")
    for replicas in (2, 4):
        for affinity in ("none", "image"):
            stack = Stack(replicas, affinity)
            try:
                images = ask_all(stack, int(questions))
                queries, misses = cache(stack.languages, "projected_tokens")
                _, encoded = cache(stack.visions, "vision_tokens")
                print(f"| {replicas} | {affinity} | {images} | {1 - misses / queries:.0%} | {encoded:.0f} | "
                      f"{busiest(stack.languages):.2f}, {busiest(stack.visions):.2f} |", flush=True)
            finally:
                stack.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
