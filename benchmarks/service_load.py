"""A real ``dgsnet serve`` under load on this machine, beside the engine it runs on: ``python benchmarks/service_load.py``, fifteen minutes.

Engine and service take the same pictures in turn, round by round, so that a busy machine slows both; the client runs on the same
machine. Each model has these stages, `tiny` (random weights, a millisecond or two a picture, so that the service is what costs) all of
them:

* *throughput*: pictures a second of `Detector.detect_many` in this process, and of the service, asked by eight connections.
* *latency*: 95th percentile at 70 % of that throughput, against the time of a request that comes alone. Requests come at even
  distances, and once more at random (Poisson).
* *overload*: four times as many connections as the queue has places.
* *slow clients*: 500 connections that send a byte every two seconds, and a client between them.
* *memory*: of the service and its decoding processes before and after 10,000 requests.
* *stop*: SIGTERM while requests are being worked on.

Every score of every stage is compared with the engine's, all digits. Writes ``benchmarks/results/service_load.json`` and the table in
``docs/service.md``; figures of models that are not asked for stay as they are.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import io
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import http_client
import tiny_model
from dgsnet import __version__
from dgsnet.inference.detector import Detector
from http_client import Connection, Reply
from served import Served, serving

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "benchmarks/results/service_load.json"
PAGE = ROOT / "docs/service.md"
QUEUE, CONNECTIONS, SLOW = 32, 8, 500
SEED = 0


@dataclass(frozen=True)
class Plan:
    """How much of each stage a model gets; 0: none."""

    pictures: int
    side: int
    rounds: int
    seconds: float
    """Of a round, and of each kind of arrival."""
    alone: int
    overload_seconds: float
    slow: int
    requests: int
    """Of the memory stage."""


PLANS = {
    "tiny": Plan(pictures=24, side=1024, rounds=5, seconds=4, alone=40, overload_seconds=5, slow=SLOW, requests=10_000),
    "dgsnet-b16": Plan(pictures=8, side=1024, rounds=3, seconds=8, alone=8, overload_seconds=10, slow=0, requests=0),
}
QUICK = {
    "tiny": Plan(pictures=6, side=512, rounds=2, seconds=1, alone=8, overload_seconds=1, slow=50, requests=200),
    "dgsnet-b16": Plan(pictures=2, side=512, rounds=1, seconds=3, alone=2, overload_seconds=3, slow=0, requests=0),
}


def main() -> int:
    """Run the stages of the models asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=PLANS, default=list(PLANS))
    parser.add_argument("--quick", action="store_true", help="a little of everything, to see that it works; writes nothing")
    parser.add_argument("--out", type=Path, default=OUT)
    told = parser.parse_args()
    kept = json.loads(told.out.read_text())["models"] if told.out.exists() and not told.quick else {}
    result: dict[str, Any] = {"machine": machine(), "queue": QUEUE, "connections": CONNECTIONS, "models": kept}
    for name in told.models:
        with tempfile.TemporaryDirectory() as folder:
            model = str(tiny_model.make(Path(folder))) if name == "tiny" else name
            begun = time.perf_counter()
            found = asyncio.run(Run(model, (QUICK if told.quick else PLANS)[name]).all())
            result["models"][name] = found | {"seconds": round(time.perf_counter() - begun, 1)}
        print(name, json.dumps(result["models"][name]), flush=True)  # should the next one fail
    print(json.dumps(result, indent=1))
    print(table(result))
    if not told.quick:
        told.out.parent.mkdir(parents=True, exist_ok=True)
        told.out.write_text(json.dumps(result, indent=1) + "\n")
        if told.out == OUT:
            put_into_page(table(result))
    return 0


def machine() -> dict[str, Any]:
    """Where this ran."""
    return {"python": platform.python_version(), "processor": platform.machine(), "cores": os.cpu_count(), "dgsnet": __version__}


def photograph(number: int, side: int, kind: str = "JPEG") -> bytes:
    """A picture of 4:3 with smooth parts and noise, so that it compresses like one: 150 KB of JPEG at 1024 x 768."""
    rng = np.random.default_rng(number)
    size = (side, side * 3 // 4)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    pixels = np.clip(np.asarray(coarse, np.int16) + rng.integers(-8, 9, (size[1], size[0], 3)), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **({"quality": 85} if kind == "JPEG" else {}))
    return stream.getvalue()


class Run:
    """All stages of one model."""

    def __init__(self, model: str, plan: Plan) -> None:
        self.model, self.plan = model, plan
        self.detector = Detector.from_pretrained(model)
        self.pictures = [photograph(number, plan.side) for number in range(plan.pictures)]
        self.small = [photograph(number, 96, "PNG") for number in range(plan.pictures)] if plan.requests else []
        self.requests = [http_client.detection(picture) for picture in self.pictures]
        self.scores = {picture: told(self.detector, picture) for picture in [*self.pictures, *self.small]}
        self.compared, self.unlike = 0, 0

    async def all(self) -> dict[str, Any]:
        """Every stage the plan has."""
        plan = self.plan
        found: dict[str, Any] = {}
        options = ("--rate", "0", "--queue", str(QUEUE), "--request-seconds", "60")
        with serving(self.model, *options) as service:
            found["throughput"] = await self.throughput(service)
            found["latency"] = await self.latency(service, found["throughput"]["service_per_second"])
            if plan.slow:
                found["slow_clients"] = await self.slow_clients(service)
            if plan.requests:
                found["memory"] = await self.memory(service)
        with serving(self.model, "--rate", "0", "--queue", str(QUEUE)) as service:  # with the time limit a service has by default
            found["overload"] = await self.overload(service)
            found["stop"] = await self.stop(service)
        return found | {"scores": {"compared": self.compared, "unlike_the_engine": self.unlike}}

    def check(self, picture: bytes, reply: Reply) -> None:
        """Compare the score of an answer with the engine's."""
        if reply.status == 200:
            row = reply.row()
            self.compared += 1
            self.unlike += repr((row["score"], row["logit"])) != self.scores[picture]

    async def throughput(self, service: Served) -> dict[str, Any]:
        """Engine and service in turn."""
        start = time.perf_counter()
        count = 0
        while time.perf_counter() - start < 1 or count < 4:  # how many pictures a round can have; also warms both
            list(self.detector.detect_many(self.pictures[:2]))
            count += 2
        number = max(CONNECTIONS, round(count / (time.perf_counter() - start) * self.plan.seconds))
        await self.closed(service, CONNECTIONS, number // 4 + 1)
        rounds = []
        for _ in range(self.plan.rounds):
            start, used = time.perf_counter(), time.process_time()
            for _ in self.detector.detect_many(self.pictures[one % len(self.pictures)] for one in range(number)):
                pass
            engine, engine_used = time.perf_counter() - start, time.process_time() - used
            used = service.processor_seconds()
            start = time.perf_counter()
            replies = await self.closed(service, CONNECTIONS, number)
            took, service_used = time.perf_counter() - start, service.processor_seconds() - used
            assert all(reply.status == 200 for reply in replies), collections.Counter(reply.status for reply in replies)
            rounds.append(
                {"engine_per_second": number / engine, "service_per_second": number / took, "ratio": engine / took,
                 "engine_processor_ms": 1000 * engine_used / number, "service_processor_ms": 1000 * service_used / number}
            )  # fmt: skip
        middle = {name: round(statistics.median(one[name] for one in rounds), 3) for name in rounds[0]}
        return {"pictures_a_round": number, **middle, "ratios": [round(one["ratio"], 3) for one in rounds]}

    async def closed(self, service: Served, connections: int, number: int, until: float | None = None, small: bool = False) -> list[Reply]:
        """Connections that each ask again when they are answered: `number` requests, or until a time."""
        pictures = self.small if small else self.pictures
        requests = [http_client.detection(one) for one in self.small] if small else self.requests
        asked, replies = iter(range(number)), list[Reply]()

        async def one() -> None:
            connection = Connection(service.host, service.port)
            try:
                for index in asked:
                    if until and time.perf_counter() > until:
                        return
                    reply = await connection.ask(requests[index % len(requests)])
                    self.check(pictures[index % len(pictures)], reply)
                    replies.append(reply)
            finally:
                connection.close()

        await asyncio.gather(*(one() for _ in range(connections)))
        return replies

    async def latency(self, service: Served, throughput: float) -> dict[str, Any]:
        """A request alone; then at 70 % of what the service can do."""
        alone = statistics.median(reply.seconds for reply in await self.closed(service, 1, self.plan.alone))
        rate = 0.7 * throughput
        number = max(20, round(rate * self.plan.seconds * 2))
        gaps = {"even": np.full(number, 1 / rate), "random": np.random.default_rng(SEED).exponential(1 / rate, number)}
        found: dict[str, Any] = {"alone_ms": round(1000 * alone, 1), "requests_per_second": round(rate, 2), "requests": number}
        for name, gap in gaps.items():
            p95 = percentile([reply.seconds for reply in await self.opened(service, np.cumsum(gap).tolist())], 95)
            found[name] = {"p95_ms": round(1000 * p95, 1), "times_alone": round(p95 / alone, 2)}
        return found

    async def opened(self, service: Served, times: Sequence[float]) -> list[Reply]:
        """Requests that come at given seconds, whether earlier ones have been answered or not."""
        idle, start = list[Connection](), time.perf_counter()

        async def one(index: int, at: float) -> Reply:
            await asyncio.sleep(max(0.0, start + at - time.perf_counter()))
            connection = idle.pop() if idle else Connection(service.host, service.port)
            reply = await connection.ask(self.requests[index % len(self.requests)])
            idle.append(connection)
            self.check(self.pictures[index % len(self.pictures)], reply)
            return reply

        replies = await asyncio.gather(*(one(index, at) for index, at in enumerate(times)))
        for connection in idle:
            connection.close()
        return list(replies)

    async def overload(self, service: Served) -> dict[str, Any]:
        """More than there are places for."""
        until = time.perf_counter() + self.plan.overload_seconds
        replies = await self.closed(service, 4 * QUEUE, 10**9, until)
        refused = [reply for reply in replies if reply.status == 429]
        return {
            "connections": 4 * QUEUE,
            "answers": {str(status): count for status, count in sorted(collections.Counter(reply.status for reply in replies).items())},
            "refused_without_retry_after": sum(int(reply.headers.get("retry-after", 0)) < 1 for reply in refused),
            "slowest_answer_seconds": round(max(reply.seconds for reply in replies if reply.status == 200), 2),
        }

    async def slow_clients(self, service: Served) -> dict[str, Any]:
        """Clients that never end their request; another one between them, in turn with and without them."""
        alone, among = list[float](), list[float]()
        statuses = collections.Counter[int]()
        for _ in range(2):
            alone += [reply.seconds for reply in await self.closed(service, 2, self.plan.alone)]
            slow = [
                asyncio.create_task(http_client.dribble(service.host, service.port, http_client.begun(10**6) + b"--picture\r\n", 2.0))
                for _ in range(self.plan.slow)
            ]
            await asyncio.sleep(2)
            replies = await self.closed(service, 2, self.plan.alone)
            still = sum(not task.done() for task in slow)
            among += [reply.seconds for reply in replies]
            statuses.update(reply.status for reply in replies)
            for task in slow:
                task.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
        ratio = statistics.median(among) / statistics.median(alone)
        return {
            "clients": still, "answers": {str(status): count for status, count in statuses.items()},
            "median_ms_without": round(1000 * statistics.median(alone), 1), "median_ms_with": round(1000 * statistics.median(among), 1),
            "times": round(ratio, 2),
        }  # fmt: skip

    async def memory(self, service: Served) -> dict[str, Any]:
        """Held before and after many requests, once a tenth of them has warmed everything."""
        number = self.plan.requests
        await self.closed(service, CONNECTIONS, number // 10, small=True)
        before = service.memory()
        replies = await self.closed(service, CONNECTIONS, number, small=True)
        after = service.memory()
        assert all(reply.status == 200 for reply in replies)
        return {
            "requests": number,
            "before_mb": round(before / 1e6, 1),
            "after_mb": round(after / 1e6, 1),
            "growth": round(after / before - 1, 4),
        }

    async def stop(self, service: Served) -> dict[str, Any]:
        """SIGTERM while as many requests as there are connections are being worked on."""
        connections = [Connection(service.host, service.port) for _ in range(CONNECTIONS)]
        asked = [asyncio.create_task(one.ask(request)) for one, request in zip(connections, self.requests * CONNECTIONS, strict=False)]
        await until(lambda: waiting(service), sum)
        service.process.send_signal(signal.SIGTERM)
        replies = await asyncio.gather(*asked, return_exceptions=True)
        ended = await asyncio.to_thread(service.process.wait, 60)
        answers = collections.Counter(str(reply.status) if isinstance(reply, Reply) else type(reply).__name__ for reply in replies)
        return {"in_work": CONNECTIONS, "answers": dict(answers), "exit_code": ended}


def waiting(service: Served) -> Coroutine[Any, Any, list[int]]:
    """How many images the service says it has."""

    async def ask() -> list[int]:
        connection = Connection(service.host, service.port)
        text = (await connection.ask(b"GET /metrics HTTP/1.1\r\nHost: load\r\n\r\n")).body.decode()
        connection.close()
        return [int(float(line.split()[1])) for line in text.splitlines() if line.startswith("dgsnet_images_waiting ")]

    return ask()


async def until(ask: Callable[[], Coroutine[Any, Any, list[int]]], enough: Callable[[list[int]], int]) -> None:
    """Ask until the answer is something, for at most ten seconds."""
    for _ in range(1000):
        if enough(await ask()):
            return
        await asyncio.sleep(0.01)


def told(detector: Detector, picture: bytes) -> str:
    """Score and logit of a picture, all digits."""
    verdict = detector.detect(picture)
    assert verdict.error is None, verdict.error
    return repr((verdict.score, verdict.logit))


def percentile(values: Sequence[float], percent: float) -> float:
    """Of some seconds."""
    return float(np.percentile(values, percent))


def table(result: dict[str, Any]) -> str:
    """The figures as Markdown, a column a model."""
    models: dict[str, dict[str, Any]] = result["models"]

    def line(what: str, wanted: str, figure: Callable[[dict[str, Any]], str]) -> str:
        cells = []
        for found in models.values():
            try:
                cells.append(figure(found))
            except KeyError:
                cells.append("")
        return f"| {what} | {wanted} | {' | '.join(cells)} |"

    def counts(answers: dict[str, int]) -> str:
        return ", ".join(f"{count:,} x {status}" for status, count in answers.items())

    lines = [
        f"| | wanted | {' | '.join(f'`{name}`' for name in models)} |",
        f"|---|---|{'---|' * len(models)}",
        line("engine alone, pictures a second", "", lambda one: f"{one['throughput']['engine_per_second']:.1f}"),
        line("service, pictures a second", "", lambda one: f"{one['throughput']['service_per_second']:.1f}"),
        line("service / engine, median of rounds", ">= 0.85", lambda one: f"{one['throughput']['ratio']:.2f}"),
        line("one request alone, ms", "", lambda one: f"{one['latency']['alone_ms']:.0f}"),
        line("95 % of requests at 70 % load, even / alone", "< 2.5", lambda one: f"{one['latency']['even']['times_alone']:.2f}"),
        line("the same, requests at random", "", lambda one: f"{one['latency']['random']['times_alone']:.2f}"),
        line(
            f"{4 * result['queue']} connections, queue of {result['queue']}", "200 and 429", lambda one: counts(one["overload"]["answers"])
        ),
        line("memory after 10,000 requests", "< +5 %", lambda one: f"{100 * one['memory']['growth']:+.1f} %"),
        line(f"median latency beside {SLOW} slow clients", "", lambda one: f"x {one['slow_clients']['times']:.2f}"),
        line("SIGTERM with 8 requests in work", "8 x 200", lambda one: counts(one["stop"]["answers"])),
        line("scores unlike the engine's", "0", lambda one: f"{one['scores']['unlike_the_engine']} of {one['scores']['compared']:,}"),
    ]
    return "\n".join(lines)


def put_into_page(text: str) -> None:
    """Replace the table in the documentation."""
    begin, end = "<!-- load: benchmarks/service_load.py -->\n", "<!-- /load -->"
    before, _, rest = PAGE.read_text().partition(begin)
    PAGE.write_text(before + begin + text + "\n" + end + rest.partition(end)[2])


if __name__ == "__main__":
    sys.exit(main())
