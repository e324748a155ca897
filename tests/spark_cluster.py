"""A real Spark cluster for tests and benchmarks: a master and workers of one core each on this machine, in a folder of their own.

Nothing leaves the loopback interface. Executors are JVMs of their own, and so are their Python workers.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).parents[1]
LOOPBACK = "127.0.0.1"
SECONDS_TO_START = 60.0


def missing() -> str | None:
    """Why there can be no cluster on this machine; None where there can."""
    if importlib.util.find_spec("pyspark") is None:
        return "PySpark is not installed (pip install 'clvforecast[spark]')"
    return None if shutil.which("java") else "Spark needs Java 17 or later, and there is none"


@dataclass
class Cluster:
    """A running master and its workers.  url: for ``SparkSession.builder.master``."""

    folder: Path
    master: subprocess.Popen[bytes]
    url: str
    environment: dict[str, str]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    started: int = 0

    def add_worker(self, processor: int | None = None) -> subprocess.Popen[bytes]:
        """One more worker of one core, bound to this processor where one is given; it is registered when this returns."""
        self.started += 1
        place = self.folder / f"worker-{self.started}"
        place.mkdir()
        command = [
            *([] if processor is None else ["taskset", "-c", str(processor)]),
            *_spark_class("org.apache.spark.deploy.worker.Worker"),
            *("--host", LOOPBACK, "--port", str(_free_port()), "--webui-port", str(_free_port())),
            *("--cores", "1", "--memory", "2g", "--work-dir", str(place), self.url),
        ]
        worker = _started(command, place / "log", self.environment)
        self.workers.append(worker)
        _wait_for(place / "log", "Successfully registered with master", worker)
        return worker

    def executors(self) -> list[int]:
        """Process ids of the executors' JVMs."""
        return [pid for pid in _children([worker.pid for worker in self.workers]) if _runs(pid, "ExecutorBackend")]

    def kill_executor(self, place: int) -> None:
        """End an executor's JVM as the kernel does when memory is short; its worker starts another one."""
        _kill(self.executors()[place])

    def kill_worker(self, worker: subprocess.Popen[bytes]) -> None:
        """End a worker and all that it started, as a machine that goes down does."""
        for pid in [worker.pid, *_children([worker.pid])]:
            _kill(pid)
        worker.wait()
        self.workers.remove(worker)

    def stop(self) -> None:
        for worker in list(self.workers):
            self.kill_worker(worker)
        _kill(self.master.pid)
        self.master.wait()


@contextmanager
def cluster(n_workers: int = 2, bound: bool = False) -> Iterator[Cluster]:
    """A cluster of so many workers of one core each; ``bound``: each to a processor of its own."""
    with TemporaryDirectory(prefix="clvforecast-spark-") as name:
        folder = Path(name)
        environment = {
            **os.environ,
            "SPARK_LOCAL_IP": LOOPBACK,
            "SPARK_LOCAL_DIRS": str(folder / "local"),
            "SPARK_HOME": _spark_home(),
            "PYSPARK_PYTHON": sys.executable,
        }
        port = _free_port()
        command = [
            *_spark_class("org.apache.spark.deploy.master.Master"),
            *("--host", LOOPBACK, "--port", str(port), "--webui-port", str(_free_port())),
        ]
        log = folder / "master.log"
        running = Cluster(folder, _started(command, log, environment), f"spark://{LOOPBACK}:{port}", environment)
        try:
            _wait_for(log, "I have been elected leader", running.master)
            for worker in range(n_workers):
                running.add_worker(worker if bound else None)
            yield running
        finally:
            running.stop()


@contextmanager
def session(running: Cluster, **settings: str) -> Iterator[Any]:
    """A SparkSession on the cluster; workers import the package and the tests as this process does."""
    from pyspark.sql import SparkSession

    os.environ |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": LOOPBACK}
    builder = SparkSession.builder.master(running.url).appName("clvforecast tests")
    said = {
        "spark.driver.host": LOOPBACK,
        "spark.driver.bindAddress": LOOPBACK,
        "spark.driver.memory": "1g",
        "spark.executor.memory": "1g",
        "spark.executor.cores": "1",
        "spark.executorEnv.PYTHONPATH": os.pathsep.join(str(REPOSITORY / part) for part in ("src", "tests")),
        "spark.executorEnv.SPARK_LOCAL_DIRS": str(running.folder / "local"),
        "spark.local.dir": str(running.folder / "local"),
        "spark.sql.warehouse.dir": str(running.folder / "warehouse"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.session.timeZone": "UTC",
        **settings,
    }
    for name, value in said.items():
        builder = builder.config(name, value)
    found = builder.getOrCreate()
    found.sparkContext.setLogLevel("ERROR")
    try:
        yield found
    finally:
        found.stop()


def assert_equal_arrays(mine: Any, theirs: Any, at: str) -> None:
    """Two values of dataclasses, dictionaries and arrays are the same to the bit."""
    assert type(mine) is type(theirs), at
    if is_dataclass(mine):
        for of in fields(mine):
            assert_equal_arrays(getattr(mine, of.name), getattr(theirs, of.name), f"{at}.{of.name}")
    elif isinstance(mine, dict):
        assert list(mine) == list(theirs), at
        for name in mine:
            assert_equal_arrays(mine[name], theirs[name], f"{at}[{name!r}]")
    else:
        np.testing.assert_array_equal(mine, theirs, err_msg=at)


def _spark_home() -> str:
    spec = importlib.util.find_spec("pyspark")
    assert spec is not None and spec.origin is not None
    return str(Path(spec.origin).parent)


def _spark_class(name: str) -> list[str]:
    return [str(Path(_spark_home()) / "bin" / "spark-class"), name]


def _started(command: list[str], log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment, cwd=log.parent)


def _wait_for(log: Path, words: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + SECONDS_TO_START
    while words not in (said := log.read_text(errors="replace")):
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"Spark did not start, it never said {words!r}:\n{said[-2000:]}")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((LOOPBACK, 0))
        return int(found.getsockname()[1])


def _children(parents: list[int]) -> list[int]:
    """Processes that these started, and those that they started, as /proc has them."""
    parent_of = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent_of[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):  # it ended meanwhile
            continue
    found, ahead = [], list(parents)
    while ahead:
        parent = ahead.pop()
        mine = [pid for pid, its in parent_of.items() if its == parent]
        found += mine
        ahead += mine
    return found


def _runs(pid: int, words: str) -> bool:
    try:
        return words in Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:  # it ended meanwhile
        return False


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:  # it ended by itself
        return
