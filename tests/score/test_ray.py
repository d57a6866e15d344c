"""`dgsnet score --engine ray` on real clusters: the rows of one process to the last bit, whoever is killed.

Workers score an exported model, so none of them imports torch. Every test has a time limit, since a cluster that waits does so for ever.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.console import Console

from dgsnet.core.errors import ScoringError
from dgsnet.inference.asked import Asked
from dgsnet.inference.detector import Detector
from dgsnet.provenance import TrustAnchors
from dgsnet.score.cluster import Cluster
from dgsnet.score.dedup_cache import SqliteDedupCache
from dgsnet.score.run import Summary, score
from dgsnet.score.settings import Settings
from tests.support.credentials import Authority, created, sign

pytestmark = pytest.mark.xdist_group("ray")  # one cluster at a time

PART_ROWS, SECONDS = 25, 600
INPUTS = Summary(inputs=64, scored=62, failed=2, duplicates=2, parts=3)


@pytest.fixture(autouse=True)
def _limit() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"no end after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 images, two copies of the first of them, two equal files that are no images; one name is no Unicode."""
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number in range(60):
        name = os.fsdecode(b"%02d-\xff.png" % number) if number == 30 else f"{number:02d}.png"
        Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(root / name)
    for name in ("00-copy.png", "zz-copy.png"):
        shutil.copy(root / "00.png", root / name)
    for name in ("07-broken.png", "50-broken.png"):
        (root / name).write_bytes(b"no picture")
    return root


@pytest.fixture(scope="module")
def model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from dgsnet.export import export

    return export(Detector.from_pretrained(tiny_model), tmp_path_factory.mktemp("exported") / "tiny")


def scored(data: Path, out: Path, model: Path, cluster: Cluster | None) -> Summary:
    return score(data, out, Settings(str(model), part_rows=PART_ROWS, cluster=cluster), Console(file=io.StringIO()))[0]


def contents(out: Path) -> dict[str, bytes]:
    """What a finished run leaves; no unfinished file is among it."""
    return {str(file.relative_to(out)): file.read_bytes() for file in sorted(out.rglob("*")) if file.is_file() and "lock" not in file.name}


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [row for part in sorted(out.glob("part*.parquet")) for row in pq.read_table(part).to_pylist()]


@pytest.fixture(scope="module")
def whole(pictures: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process that nothing stopped."""
    out = tmp_path_factory.mktemp("whole")
    assert scored(pictures, out, model, None) == INPUTS
    return out


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A cluster of two machines, each of one CPU, that this process is connected to from one of them."""
    patch = pytest.MonkeyPatch()
    for name, value in (("USAGE_STATS_ENABLED", "0"), ("ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")):
        patch.setenv(f"RAY_{name}", value)
    from ray.cluster_utils import Cluster as Machines

    with tempfile.TemporaryDirectory(prefix="dgsnet-", dir="/tmp") as temp:  # sockets need short names
        patch.setenv("RAY_TMPDIR", temp)  # where Ray notes which cluster is the last
        (Path(temp) / "ray").mkdir()
        each = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False}
        cluster = Machines(initialize_head=True, connect=True, head_node_args=each | {"temp_dir": temp}, shutdown_at_exit=False)
        yield SimpleNamespace(cluster=cluster, second=cluster.add_node(**each))
        import ray

        ray.shutdown()
        cluster.shutdown()
    patch.undo()


def kill_at_work(kill: Callable[[psutil.Process], None], among: Callable[[], Iterator[psutil.Process]]) -> Callable[[], int]:
    """Kill the first process that is found scoring; the result waits for that and gives its id."""
    killed: list[int] = []

    def at_work(process: psutil.Process) -> bool:
        try:
            return " ".join(process.cmdline()).strip() == "ray::MapWorker(MapBatches(Worker)).submit"  # Ray's name for one that scores
        except psutil.Error:
            return False

    def look() -> None:
        end = time.monotonic() + SECONDS / 2
        while not killed and time.monotonic() < end:
            for process in filter(at_work, among()):
                process.suspend()
                if at_work(process):  # still, and now it cannot end what it is at
                    kill(process)
                    killed.append(process.pid)
                    return
                process.resume()
            time.sleep(0.002)

    thread = threading.Thread(target=look)
    thread.start()

    def result() -> int:
        thread.join()
        assert killed, "no worker was found at work"
        return killed[0]

    return result


def test_workers_trust_whom_the_driver_trusts(model: Path, tmp_path: Path, machines: SimpleNamespace) -> None:
    home, data = Authority("Home"), tmp_path / "signed"
    data.mkdir()
    for number in range(4):
        stream = io.BytesIO()
        Image.fromarray(np.random.default_rng(number % 3).integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(stream, "PNG")
        (data / f"{number}.png").write_bytes(sign(stream.getvalue(), "image/png", [created()], by=home.signer()))
    (data / "copy.png").write_bytes((data / "0.png").read_bytes())
    for cluster in (None, Cluster(workers=2)):
        settings = Settings(str(model), part_rows=PART_ROWS, cluster=cluster, asked=Asked(provenance=True, anchors=TrustAnchors(home.pem)))
        score(data, tmp_path / str(bool(cluster)), settings, Console(file=io.StringIO()))
    assert contents(tmp_path / "True") == contents(tmp_path / "False")
    rows = pq.read_table(tmp_path / "True" / "part-00000.parquet").column("provenance").to_pylist()
    assert {(row["signature"], row["signer"]) for row in rows} == {("intact", "trusted")}


def test_two_machines_give_the_bytes_of_one_process(whole, pictures, model, machines, tmp_path):
    assert scored(pictures, tmp_path, model, Cluster()) == INPUTS
    assert contents(tmp_path) == contents(whole)  # two rows of broken files and their reasons among it


def test_a_worker_that_is_killed_at_work_costs_nothing(whole, pictures, model, machines, tmp_path):
    children = psutil.Process().children
    killed = kill_at_work(lambda process: process.kill(), lambda: iter(children(recursive=True)))
    assert scored(pictures, tmp_path, model, Cluster(workers=2)) == INPUTS
    assert not psutil.pid_exists(killed()) or psutil.Process(killed()).status() == psutil.STATUS_ZOMBIE
    assert contents(tmp_path) == contents(whole)


def test_a_driver_that_is_killed_goes_on(whole, pictures, model, machines, tmp_path):
    """The first run starts a cluster of its own, the second uses the one this process is connected to."""
    out = tmp_path / "out"
    arguments = ["--data", pictures, "--out", out, "--model", model, "--part-rows", PART_ROWS, "--engine", "ray", "--ray-workers", 2]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [sys.executable, "-c", "from dgsnet.cli import main; main()", "score", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, text=True) as process:
        while process.poll() is None and not (out / "part-00000.parquet").exists():
            time.sleep(0.01)
        process.kill()
        assert process.wait() == -signal.SIGKILL, process.stderr.read()
    left = Path((out / ".ray.work").read_text())
    assert left.is_dir()
    assert left.stat().st_mode & 0o077 == 0  # nobody else's business
    assert not (out / "summary.json").exists()
    written = (out / "part-00000.parquet").stat().st_mtime_ns
    assert scored(pictures, out, model, Cluster()) == INPUTS
    assert contents(out) == contents(whole)
    assert (out / "part-00000.parquet").stat().st_mtime_ns == written
    assert not left.exists()


def test_another_model_on_a_worker_ends_the_run_with_what_the_worker_said(pictures, model, machines, tmp_path, monkeypatch):
    load = Settings.load

    def other(settings: Settings) -> Any:
        detector = load(settings)
        detector.fingerprint = "another"
        return detector

    monkeypatch.setattr(Settings, "load", other)  # of this process, not of the workers
    with pytest.raises(ScoringError, match=r"the cluster gave up: .* is another model on .* than where the run was begun"):
        scored(pictures, tmp_path, model, Cluster())


def test_the_cache_is_shared_by_all_workers_and_can_be_lost(machines, tmp_path):
    import ray
    from ray.exceptions import RayActorError

    from dgsnet.inference.verdict import COLUMNS
    from dgsnet.score.ray_worker import Coordinator, SharedDedupCache, Worker

    row: dict[str, Any] = dict.fromkeys(COLUMNS) | {"path": "a.png", "sha256": "0" * 64, "logit": 0.1 + 0.2, "error": "a.png: is tiny"}
    before = SqliteDedupCache(tmp_path / "known")
    before.put(row | {"sha256": "1" * 64})
    before.close()
    coordinator = ray.remote(num_cpus=0)(Coordinator).remote(str(tmp_path / "known"), COLUMNS)
    one, other, late = (SharedDedupCache(coordinator) for _ in range(3))
    assert other.get("0" * 64, "b.png") is None
    one.put(row)
    assert other.get("0" * 64, "b.png") == row | {"path": "b.png", "error": "b.png: is tiny"}
    assert other.get("1" * 64, "a.png") == row | {"sha256": "1" * 64}
    worker: Any = object.__new__(Worker)
    worker._coordinator = coordinator
    assert [worker._count_start(0, 0, alone=False) for _ in range(3)] == [0, 1, 2]
    assert [worker._count_start(0, 0, alone=True) for _ in range(2)] == [0, 1]
    ray.get(coordinator.forget_start.remote(0, 0))
    assert worker._count_start(0, 0, alone=True) == 0
    ray.kill(coordinator)
    with suppress(RayActorError):  # `kill` does not wait
        while True:
            ray.get(coordinator.get.remote("0" * 64))
    assert worker._count_start(0, 0, alone=False) == 0
    assert other.get("0" * 64, "c.png")  # has been told already
    assert late.get("0" * 64, "c.png") is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"version": "0"}, "install the same on all machines"),
        ({"folder": "/no/such/folder"}, "does not see /no/such/folder"),
        ({"worklist": Path("/no/inputs")}, "does not see /no/inputs: --out, --data and --model must lie where all machines see them"),
    ],
)
def test_a_machine_that_cannot_do_says_why(model, tmp_path, changed, said):
    from dgsnet.score.ray_worker import Job, Worker

    (tmp_path / "list").touch()
    job = {"fingerprint": "", "worklist": tmp_path / "list", "root": tmp_path, "folder": None} | changed
    with pytest.raises(ScoringError, match=said):
        Worker(Job(Settings(str(model)), **job), None)


@pytest.mark.parametrize("end", ["raises", "dies"])
def test_an_input_that_a_worker_raises_at_or_dies_of_costs_its_row(whole, pictures, model, machines, tmp_path, monkeypatch, end):
    from dgsnet.score import ray_worker

    class Dying(ray_worker.Worker):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            detector, detect_many = self._detector, self._detector.detect_many

            def watched(sources: Any, batch_size: int, **options: Any) -> Any:
                def each() -> Any:
                    for source in sources:
                        if source.name.endswith("20.png"):
                            if end == "dies":
                                os.kill(os.getpid(), signal.SIGKILL)
                            raise KeyError("twenty")
                        yield source

                return detect_many(each(), batch_size, **options)

            detector.detect_many = watched  # type: ignore[method-assign, assignment]

    monkeypatch.setattr(ray_worker, "Worker", Dying)
    summary = scored(pictures, tmp_path, model, Cluster(workers=1))
    assert (summary.inputs, summary.failed) == (INPUTS.inputs, INPUTS.failed + 1)
    expected = {row["key"]: row for row in rows_of(whole)}
    for row in rows_of(tmp_path):
        if row["key"] == "20.png":
            said = "cannot be scored (KeyError: 'twenty')" if end == "raises" else "the process that scores it dies of it"
            assert row["error"] == f"{pictures / '20.png'}: {said}; leave it out"
        else:
            assert row == expected[row["key"]]


def test_without_ray_the_extra_is_named(run, pictures, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    code, _, err = run("score", "--data", pictures, "--out", tmp_path / "out", "--engine", "ray")
    assert code == 2
    assert "pip install 'dgsnet[cluster]'" in err
    assert not (tmp_path / "out").exists()


def test_an_address_of_the_client_is_refused(run, pictures, tmp_path):
    code, _, err = run("score", "--data", pictures, "--out", tmp_path / "out", "--engine", "ray", "--ray-address", "ray://head:10001")
    assert code == 2
    assert "start dgsnet on a machine of the cluster" in " ".join(err.split())


def test_a_machine_that_is_lost_costs_nothing(whole, pictures, model, machines, tmp_path):
    """The last test, since the machine stays lost."""
    second = psutil.Process(machines.second.all_processes["raylet"][0].process.pid)

    def lose(_: psutil.Process) -> None:
        processes = second.children(recursive=True)
        machines.cluster.remove_node(machines.second, allow_graceful=False)
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    lost = kill_at_work(lose, lambda: iter(second.children(recursive=True)))
    assert scored(pictures, tmp_path, model, Cluster(workers=2)) == INPUTS
    assert lost()
    assert contents(tmp_path) == contents(whole)
