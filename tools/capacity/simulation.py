"""A discrete-event simulation of a deployment: gateways, language replicas, vision replicas.

It knows no formula: questions arrive, go to replicas as callers choose them (--affinity), wait in queues, share passes and
steps as the engines plan them, and are timed. `diptych plan-capacity` is checked against it (docs/scaling.md).
"""
import dataclasses
import heapq
import itertools
import math
import random
from collections import deque


@dataclasses.dataclass(frozen=True)
class Scenario:
    """Names and units are those of `diptych plan-capacity`; times in seconds."""
    vision_replicas: int
    language_replicas: int
    questions_per_second: float
    gateways: int = 2
    images: int = 1
    text_share: float = 0
    hit_rate: float = 0
    text_tokens: int = 12
    query_tokens: int = 32
    new_tokens: int = 32
    length_variation: float = 0
    image_seconds: float = 0.9
    pass_seconds: float = 0
    vision_batch: int = 2  # on two cores: decision 70
    token_seconds: float = 0.006
    step_seconds: float = 0.094
    qformer_seconds: float = 0.1
    language_batch: int = 32
    other_seconds: float = 0.01
    batched_tokens: int = 256  # --max_batched_tokens of language_service
    affinity: str = "image"  # --affinity
    connection_age: float = 8  # --max_connection_age


IMAGES_AT_ONCE = 8  # of the Q-Former, between two steps: language_service/engine/engine.cc
VISION_CALLS_AT_EASE, LANGUAGE_CALLS_AT_EASE = 1, 4  # common/tiers/tier_defaults.h


class Question:
    __slots__ = ("arrival", "missing", "prompt", "left", "first_token", "end_call")

    def __init__(self, arrival, images, missing, scenario, tokens):
        self.arrival = arrival
        self.missing = missing
        self.prompt = scenario.text_tokens + images * scenario.query_tokens
        self.left = tokens
        self.first_token = None


class Caller:
    """Of a tier. What is about an image goes by common/replicas/replica_affinity.h; each image is new, so its order of the replicas
    is any. The rest goes by gRPC's round_robin: one replica after the other, from a random one again whenever a connection
    is renewed.
    """

    def __init__(self, simulation, replicas, calls_at_ease):
        self.simulation, self.replicas, self.next = simulation, replicas, 0
        self.calls_at_ease, self.calls = calls_at_ease, [0] * len(replicas)
        self.renewal = 0.0

    def call(self, with_image):
        """The replica, and what is called when the call has ended."""
        if not with_image or self.simulation.scenario.affinity == "none":
            return self.by_turns(), lambda: None
        chosen = self.by_affinity()
        self.calls[chosen] += 1
        return self.replicas[chosen], lambda: self.end(chosen)

    def end(self, chosen):
        self.calls[chosen] -= 1

    def by_affinity(self):
        calls, replicas = sum(self.calls) + 1, len(self.replicas)
        most = max(self.calls_at_ease, -(-calls // replicas), 5 * calls // (4 * replicas))
        return self.simulation.random.choice([i for i, inside in enumerate(self.calls) if inside < most])

    def by_turns(self):
        if self.simulation.now >= self.renewal:
            renewals = len(self.replicas) / self.simulation.scenario.connection_age
            self.renewal = self.simulation.now + self.simulation.random.expovariate(renewals)
            self.next = self.simulation.random.randrange(len(self.replicas))
        self.next = (self.next + 1) % len(self.replicas)
        return self.replicas[self.next]


class Vision:
    """Takes all images that wait, up to a batch, whenever a pass has ended."""

    def __init__(self, simulation):
        self.simulation, self.waiting, self.busy = simulation, deque(), False

    def add(self, question, language, end_call):
        self.waiting.append((self.simulation.now, question, language, end_call))
        if not self.busy:
            self.busy = True
            self.simulation.after(0, self.start)  # images that arrive at the same moment share the pass

    def start(self):
        scenario = self.simulation.scenario
        batch = [self.waiting.popleft() for _ in range(min(len(self.waiting), scenario.vision_batch))]
        seconds = scenario.pass_seconds + scenario.image_seconds * len(batch)
        self.simulation.after(seconds, self.end, batch)

    def end(self, batch):
        for since, question, language, end_call in batch:
            end_call()
            self.simulation.note_image(self.simulation.now - since)
            language.project(question)
        self.busy = bool(self.waiting)
        if self.busy:
            self.start()


class Language:
    """Between two steps it projects the images that wait; a step has a row for each answer and chunks of prompts."""

    def __init__(self, simulation):
        self.simulation = simulation
        self.projecting, self.waiting = deque(), deque()  # before the Q-Former, once an image, and before a place in the batch
        self.prefilling, self.decoding = [], []
        self.busy = False
        self.vision = Caller(simulation, simulation.vision, VISION_CALLS_AT_EASE)

    def add(self, question):
        self.waiting.append(question)
        self.wake()

    def project(self, question):
        """One of its images has come."""
        self.projecting.append(question)
        self.wake()

    def wake(self):
        if not self.busy:
            self.busy = True
            self.simulation.after(0, self.gap)  # images of one pass of the vision transformer come together

    def gap(self):
        scenario = self.simulation.scenario
        readable = scenario.batched_tokens // max(scenario.query_tokens, 1)
        images = min(max(1, min(readable, IMAGES_AT_ONCE)), len(self.projecting))
        if images:
            self.simulation.after(images * scenario.qformer_seconds, self.projected, images)
        else:
            self.step()

    def projected(self, images):
        for question in [self.projecting.popleft() for _ in range(images)]:
            question.missing -= 1
            if question.missing == 0:
                self.waiting.append(question)
        self.step()

    def step(self):
        scenario = self.simulation.scenario
        budget, chunks = scenario.batched_tokens - len(self.decoding), []
        while self.waiting and len(self.decoding) + len(self.prefilling) < scenario.language_batch:
            self.prefilling.append(self.waiting.popleft())
        for question in self.prefilling:
            chunk = min(question.prompt, budget)
            budget -= chunk
            chunks.append(chunk)
        rows = len(self.decoding) + sum(chunks)
        if rows == 0:
            if self.projecting:
                self.gap()
            else:
                self.busy = False
            return
        self.simulation.after(scenario.step_seconds + scenario.token_seconds * rows, self.stepped, chunks)

    def stepped(self, chunks):
        now, began = self.simulation.now, []
        decoding = []
        for question in self.decoding:
            question.left -= 1
            if question.left > 0:
                decoding.append(question)
            else:
                self.simulation.note_answer(question, now)
        for question, chunk in zip(self.prefilling, chunks):
            question.prompt -= chunk
            if question.prompt == 0:
                began.append(question)
        for question in began:
            self.prefilling.remove(question)
            question.first_token = now
            question.left -= 1
            if question.left > 0:
                decoding.append(question)
            else:
                self.simulation.note_answer(question, now)
        self.decoding = decoding
        self.gap()


class Simulation:
    """`run` returns what `diptych plan-capacity --json` states, measured. The same seed gives the same numbers."""

    def __init__(self, scenario, seed=1):
        self.scenario, self.random = scenario, random.Random(seed)
        self.now, self.events, self.order = 0.0, [], itertools.count()
        self.vision = [Vision(self) for _ in range(scenario.vision_replicas)]
        self.language = [Language(self) for _ in range(scenario.language_replicas)]
        self.gateways = [Caller(self, self.language, LANGUAGE_CALLS_AT_EASE) for _ in range(scenario.gateways)]
        self.images, self.first_tokens, self.answers = [], [], []
        self.noted_from, self.noted_until = 0.0, math.inf  # arrivals whose times count

    def after(self, seconds, call, *arguments):
        heapq.heappush(self.events, (self.now + seconds, next(self.order), call, arguments))

    def note_image(self, seconds):
        if self.now >= self.noted_from:
            self.images.append(seconds)

    def note_answer(self, question, now):
        question.end_call()
        if self.noted_from <= question.arrival < self.noted_until:
            other = self.scenario.other_seconds
            self.first_tokens.append(question.first_token - question.arrival + other)
            self.answers.append(now - question.arrival + other)

    def tokens(self):
        variation = self.scenario.length_variation
        if variation == 0:
            return self.scenario.new_tokens
        shape = 1 / variation**2
        return max(1, round(self.random.gammavariate(shape, self.scenario.new_tokens / shape)))

    def arrive(self):
        self.ask(self.random.choice(self.gateways))
        self.after(self.random.expovariate(self.scenario.questions_per_second), self.arrive)

    def ask(self, gateway):
        """A question comes to a gateway."""
        scenario = self.scenario
        images = scenario.images if self.random.random() >= scenario.text_share else 0
        missing = sum(self.random.random() >= scenario.hit_rate for _ in range(images))
        question = Question(self.now, images, missing, scenario, self.tokens())
        language, question.end_call = gateway.call(with_image=images > 0)
        if missing == 0:
            language.add(question)
        for _ in range(missing):
            vision, end_call = language.vision.call(with_image=True)
            vision.add(question, language, end_call)

    def run(self, answers):
        """Until so many questions were answered, after a fifth as many that are not counted."""
        self.noted_from = answers / 5 / self.scenario.questions_per_second
        self.after(0, self.arrive)
        return self.run_until(answers)

    def replay(self, arrivals, counted):
        """The same for questions that come at given (seconds, gateway); the times of those from counted[0] to counted[1] are told."""
        first, end = counted
        self.noted_from = arrivals[first][0]
        self.noted_until = arrivals[end][0] if end < len(arrivals) else math.inf
        for seconds, gateway in arrivals:
            self.after(seconds, self.ask, self.gateways[gateway])
        return self.run_until(end - first)

    def run_until(self, answers):
        while len(self.answers) < answers:
            self.now, _, call, arguments = heapq.heappop(self.events)
            call(*arguments)
        return {"image_seconds": summary(self.images), "first_token_seconds": summary(self.first_tokens),
                "answer_seconds": summary(self.answers)}


def summary(seconds):
    if not seconds:
        return {"mean": 0.0, "p50": 0.0, "p95": 0.0, "p99": 0.0}
    ordered = sorted(seconds)
    at = lambda share: ordered[min(int(share * len(ordered)), len(ordered) - 1)]
    return {"mean": sum(ordered) / len(ordered), "p50": at(0.5), "p95": at(0.95), "p99": at(0.99)}
