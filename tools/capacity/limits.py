"""What breaks first as replicas grow: waiting times by simulation, and the sizes of what every replica adds to.

Usage: limits.py [REPLICAS...]; prints a table of docs/scaling.md. Ten thousand replicas of each tier take some minutes.
"""
import math
import sys

from simulation import Scenario, Simulation

LOAD = 0.75  # of both tiers
LANGUAGE_SHARE = 0.72  # language replicas for each vision replica, so that both are used alike
LANGUAGE_TOKENS = 32 / 0.286  # a second, of a replica with a full batch (steps of docs/benchmarks/2026-11-28.md)
GATEWAY_TOKENS = 9_500  # a second, on two busy cores: decision 51
# Idle, renewed every 8 s, measured as docs/scaling.md says: memory and processor time of a second at the caller.
CONNECTION_BYTES, CONNECTION_CORES = 91e3, 0.104e-3
# An answer of DNS: head, the question for a name of 46 characters, 16 bytes a record.
DNS_HEAD_BYTES, DNS_RECORD_BYTES, DNS_MOST_BYTES = 12 + 52, 16, 65_535
RENEWAL_SECONDS, LEAST_LOOKUP_SECONDS = 8, 0.5
SERIES = {"gateway": 460, "language": 453, "vision": 175}  # with the demo model, after twenty questions
SCRAPE_SECONDS = 15


def waits(replicas):
    """p95 of first token and whole answer, of a deployment whose tiers are used alike."""
    scenario = Scenario(replicas, math.ceil(replicas * LANGUAGE_SHARE), LOAD * replicas / 0.9, gateways=gateways(replicas), affinity="none")
    result = Simulation(scenario).run(max(20_000, 100 * replicas))
    return result["first_token_seconds"]["p95"], result["answer_seconds"]["p95"]


def gateways(replicas):
    return max(2, math.ceil(replicas * LANGUAGE_SHARE * LANGUAGE_TOKENS / GATEWAY_TOKENS))


def row(replicas):
    language, front = math.ceil(replicas * LANGUAGE_SHARE), gateways(replicas)
    mesh = front * (language + replicas) + language * replicas
    dns = DNS_HEAD_BYTES + DNS_RECORD_BYTES * replicas
    lookups = (language + front) / max(LEAST_LOOKUP_SECONDS, RENEWAL_SECONDS / replicas)
    series = sum(SERIES[tier] * count for tier, count in (("gateway", front), ("language", language), ("vision", replicas)))
    first, answer = waits(replicas)
    return [f"{replicas:,}", f"{front:,}", f"{first:.1f}, {answer:.1f} s", f"{mesh:,}",
            f"{replicas * CONNECTION_BYTES / 1e6:,.0f} MB, {100 * replicas * CONNECTION_CORES:.3g} %",
            f"{dns:,}" + (" (too long)" if dns > DNS_MOST_BYTES else ""), f"{lookups:,.0f}, {lookups * dns / 1e6:,.1f} MB",
            f"{series:,}, {series / SCRAPE_SECONDS:,.0f}"]


def main():
    print("| vision replicas | gateways | p95 first token, answer | connections | a language replica's to vision: memory, of a core "
          "| DNS answer, bytes | lookups of vision a second | series, samples a second |")
    print("|---" * 8 + "|")
    for replicas in [int(text) for text in sys.argv[1:]] or [10, 100, 1000, 10_000]:
        print("| " + " | ".join(row(replicas)) + " |", flush=True)


if __name__ == "__main__":
    main()
