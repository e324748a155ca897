"""Runs of mutations: in this process; re-sealed ones in processes of their own; files of the older schema without a seal."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import clvforecast as clv
from clvforecast import posterior_file
from fuzz.cases import (
    FIXTURES,
    SECONDS_WHOLE,
    cases,
    forbid_running_code,
    loads_the_same,
    mutated,
    random_of,
    refused,
    resealed,
    small_cases,
)
from fuzz.mutations import OF_CONTENT
from kept_numbers import posterior_numbers

BATCH = 500
BATCH_SECONDS = 1200.0
UNCHANGED_CHECKED = 3
"""Mutations that happen to change nothing are loaded so often; they are the same bytes each time."""


def fuzz_here(mutations: int, seed: int) -> Counter[str]:
    """Every changed file is refused with its typed error, by a process that runs nothing and lives on."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        of, path, counts = cases(Path(folder)), Path(folder) / "file", Counter[str]()
        expected = {}
        for case in of:
            path.write_bytes(case.data)
            expected[case.name] = case.numbers(case.load(path))
        ran = forbid_running_code()
        for number in range(mutations):
            case, name, data = mutated(of, seed, number)
            path.write_bytes(data)
            if data != case.data:
                assert refused(case, path), f"mutation {number} ({name} of a {case.kind}, seed {seed}) was loaded"
                counts["refused"] += 1
            else:
                counts["unchanged"] += 1
                if counts["unchanged"] <= UNCHANGED_CHECKED:
                    assert loads_the_same(case, path, expected[case.name], SECONDS_WHOLE), (
                        f"mutation {number} ({name}) changed nothing"
                    )
        assert not ran, ran
    return counts


def fuzz_resealed(mutations: int, seed: int) -> Counter[str]:
    """With a seal that fits: refused or the same numbers.

    A seal is no signature: HDF5 may crash or hang on what was sealed on purpose. That ends a batch and is counted; the same
    file is then refused when it is loaded as untrusted, by a process that lives on.
    """
    counts, first = Counter[str](), 0
    while first < mutations:
        done, outcome = _batch(first, min(first + BATCH, mutations), seed)
        counts.update(done)
        first += sum(done.values())
        if outcome:
            print(f"re-sealed mutation {first} (seed {seed}): {outcome}", flush=True)
            counts[outcome] += 1
            _refused_as_untrusted(first, seed)
            first += 1
    return counts


def _batch(first: int, last: int, seed: int) -> tuple[Counter[str], str]:
    """What came of the mutations up to one that ended the process, and how it ended; the latter empty when all were done."""
    command = [sys.executable, "-m", "fuzz", "--resealed-batch", str(first), str(last), "--seed", str(seed)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path)}
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", env=environment, timeout=BATCH_SECONDS
    )
    counts = Counter(line for line in done.stdout.splitlines() if line in ("refused", "same numbers"))
    if done.returncode == 0:
        assert sum(counts.values()) == last - first, done.stdout
        return counts, ""
    if done.returncode < 0:
        return counts, f"crash by signal {-done.returncode}"
    if "Timeout" in done.stderr:
        return counts, "hang"
    raise AssertionError(f"re-sealed mutation {first + sum(counts.values())}, seed {seed}: {done.stderr[-2000:]}")


def _refused_as_untrusted(number: int, seed: int) -> None:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "file"
        case, name = resealed(small_cases(Path(folder)), seed, number, path)
        assert case.kind == "posterior", f"re-sealed mutation {number} ({name}): only HDF5 is expected to fail so"
        try:
            clv.load_posterior(path, untrusted=True)
        except clv.PosteriorFileError:
            return
    raise AssertionError(f"re-sealed mutation {number} ({name}, seed {seed}) was loaded as untrusted, but not else")


def resealed_batch(first: int, last: int, seed: int) -> None:
    """In the process of a batch: a line for each."""
    _limit_memory()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        of, path, expected = small_cases(Path(folder)), Path(folder) / "file", {}
        for case in of:
            path.write_bytes(case.data)
            expected[case.name] = case.numbers(case.load(path))
        ran = forbid_running_code()
        for number in range(first, last):
            case, _ = resealed(of, seed, number, path)
            print("same numbers" if loads_the_same(case, path, expected[case.name]) else "refused", flush=True)
        assert not ran, ran


def _limit_memory() -> None:
    """A declared size that is believed shows as a MemoryError here, not as a machine without memory."""
    if os.name == "posix":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (16 << 30, resource.getrlimit(resource.RLIMIT_AS)[1]))


def fuzz_unsealed(mutations: int, seed: int) -> Counter[str]:
    """Posteriors of schema 2, whose bytes nothing protects: read in a process of their own by `load_posterior` itself."""
    whole = gzip.decompress((FIXTURES / "posterior-schema-2.nc.gz").read_bytes())
    counts = Counter[str]()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "file.nc"
        path.write_bytes(whole)
        expected = posterior_numbers(clv.load_posterior(path))
        for number in range(mutations):
            random = random_of(seed, number)
            mutation = OF_CONTENT[:3][number % 3]
            path.write_bytes(mutation(whole, whole, random))
            try:
                loaded = clv.load_posterior(path)
            except clv.PosteriorFileError as error:
                assert str(path) in str(error), f"a vague error: {error}"
                ended = "code -" in str(error)
                counts["crash or hang of the second process, refused" if ended else "refused"] += 1
            else:
                assert posterior_numbers(loaded) == expected, f"unsealed mutation {number}: wrong numbers"
                counts["same numbers"] += 1
    return counts


def hurry() -> None:
    """A hang is told sooner than a user's slow machine allows."""
    posterior_file.APART_SECONDS = 60.0


def report(name: str, run: object, mutations: int, seed: int) -> None:
    started = time.perf_counter()
    counts = run(mutations, seed)  # type: ignore[operator]
    said = ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items()))
    print(f"{name}: {mutations:,} mutations in {time.perf_counter() - started:,.0f} s: {said}", flush=True)
