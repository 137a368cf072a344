"""Load over HTTP from one thread: closed loops, Poisson arrivals, and callers that trickle."""
import asyncio
import json
import random
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    key: str
    status: int  # 0: the connection ended without one
    seconds: float
    retry_after: bool
    came: float  # monotonic, when it was there
    late: float = 0.0  # seconds that the load generator was behind when it asked


async def exchange(port, body, key=""):
    """(status, headers, content) of one question to 127.0.0.1:port, on a connection of its own; status 0 if it ended without one."""
    content = json.dumps(body).encode()
    head = (f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nconnection: close\r\n"
            f"content-length: {len(content)}\r\n" + (f"authorization: Bearer {key}\r\n" if key else "") + "\r\n")
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + content)
        reply = await reader.read(-1)
        writer.close()
    except OSError:
        reply = b""
    top, _, content = reply.partition(b"\r\n\r\n")
    line, *fields = top.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    if headers.get("transfer-encoding") == "chunked":
        content = b"".join(chunks(content))
    return int(line.split(" ", 2)[1]) if line.startswith("HTTP/1.1 ") else 0, headers, content


def chunks(content):
    """Of a chunked body, as far as it came."""
    while content:
        size, _, content = content.partition(b"\r\n")
        yield content[:int(size, 16)]
        content = content[int(size, 16) + 2:]


class Load:
    """Questions to 127.0.0.1:port, each on a connection of its own."""

    def __init__(self, port, seed=1):
        self._port, self._random = port, random.Random(seed)

    async def ask(self, body, key="", late=0.0):
        begin = time.monotonic()
        status, headers, _ = await exchange(self._port, body, key)
        came = time.monotonic()
        return Outcome(key, status, came - begin, "retry-after" in headers, came, late)

    async def closed(self, callers, seconds, body, key=""):
        """Each caller asks again as soon as it is answered; the outcomes, and answers a second."""
        outcomes, begin = [], time.monotonic()

        async def caller():
            while time.monotonic() < begin + seconds:
                outcomes.append(await self.ask(body(), key))

        await asyncio.gather(*(caller() for _ in range(callers)))
        return outcomes, sum(outcome.status == 200 for outcome in outcomes) / (time.monotonic() - begin)

    async def open(self, rates, seconds, body):
        """Poisson arrivals: rates[key] a second of each key, whatever becomes of them. All outcomes, when all have ended."""
        async def arrive(key, rate):
            due, asked = time.monotonic(), []
            end = due + seconds
            while (due := due + self._random.expovariate(rate)) < end:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                asked.append(asyncio.create_task(self.ask(body(), key, time.monotonic() - due)))
            return await asyncio.gather(*asked)

        return [outcome for outcomes in await asyncio.gather(*(arrive(*item) for item in rates.items())) for outcome in outcomes]

    async def trickle(self, count, stopped):
        """`count` connections that say a byte a second, each begun again when it was ended, until `stopped`; how often that was."""
        head = "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        ended = 0

        async def one(number):
            nonlocal ended
            while not stopped.is_set():
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self._port)
                    writer.write((head + ("content-length: 9000\r\n\r\n{" if number % 2 else "x-slow: ")).encode())
                    while not stopped.is_set() and not writer.is_closing():
                        await asyncio.sleep(1)
                        writer.write(b" ")
                        await writer.drain()
                    writer.close()
                except OSError:
                    pass
                ended += 1
                await asyncio.sleep(0.2)

        await asyncio.gather(*(one(number) for number in range(count)))
        return ended


def steady_rate(outcomes, begin, seconds):
    """Answers a second under a load that lasts from `begin` for so long, without its first quarter, in which it builds up."""
    return sum(outcome.status == 200 and begin + seconds / 4 < outcome.came < begin + seconds for outcome in outcomes) / (0.75 * seconds)


def percentile(seconds, share):
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")
