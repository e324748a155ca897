"""``python -m speed growth | peers | report``, with benchmarks/ on PYTHONPATH; `make bench` and `make bench-peers` call it."""

import argparse
import signal
import sys
from pathlib import Path

from speed.bench import Bench
from speed.store import RESULTS, ROOT, Store, origin


def main(arguments: list[str] | None = None) -> None:
    chosen = parsed(arguments)
    if chosen.what == "report":
        from speed.report import write_report

        write_report(chosen.results)
        return
    # Ending as Ctrl-C does stops the measured process too, which is in a process group of its own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    store = Store(chosen.results / f"{chosen.what}.json", chosen.again)
    bench = Bench(store, origin(), chosen.work, chosen.limit)
    sizes = sorted(int(float(size)) for size in chosen.sizes)
    print(f"{'what':<44}{'accounts':>11}{'time':>11}{'peak':>10}  seconds of each step", flush=True)
    if chosen.what == "growth":
        from speed.growth import measure_growth

        floor_accounts, floor_draws = (int(float(number)) for number in chosen.floor)
        scored, states = int(float(chosen.scored)), tuple(chosen.states)
        measure_growth(bench, sizes, scored, chosen.draws, states, (floor_accounts, floor_draws))
    else:
        from speed.peers import measure_peers

        measure_peers(bench, sizes, chosen.draws, chosen.python, tuple(chosen.samplers))


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="speed", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    growth = commands.add_parser("growth", help="this package's stages at growing sizes")
    peers = commands.add_parser("peers", help="other packages on the same data")
    report = commands.add_parser("report", help="tables and plot from the results")
    for command, sizes, limit in (
        (growth, ["1e3", "1e4", "1e5", "1e6"], 1200.0),
        (peers, ["1e3", "1e4", "1e5", "1e6"], 5400.0),
    ):
        command.add_argument("--sizes", nargs="+", default=sizes, metavar="N", help="numbers of accounts")
        command.add_argument("--limit", type=float, default=limit, help="most seconds of one measured process")
        command.add_argument("--draws", type=int, default=1000, help="draws an account is scored with")
        command.add_argument("--again", action="store_true", help="measure what is kept from an earlier run too")
        command.add_argument(
            "--work", type=Path, default=ROOT / "bench-output", help="companies, posteriors, machine code"
        )
    growth.add_argument("--scored", default="1e5", metavar="N", help="score companies of up to so many accounts")
    growth.add_argument(
        "--states", nargs="+", default=["cold", "warm"], choices=["cold", "warm"], help="of compiled code"
    )
    growth.add_argument(
        "--floor", nargs=2, default=["2000", "500"], metavar="N", help="accounts and draws of the floor"
    )
    peers.add_argument("--python", type=Path, help="interpreter that has the other packages; by default one is made")
    peers.add_argument(
        "--samplers",
        nargs="+",
        default=["nutpie", "pymc"],
        choices=["nutpie", "pymc"],
        help="that PyMC-Marketing's sBG is sampled with; pymc is what it installs",
    )
    for command in (growth, peers, report):
        command.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    chosen = parser.parse_args(arguments)
    if "work" in chosen:
        chosen.work = chosen.work.resolve()
    return chosen


if __name__ == "__main__":
    main()
