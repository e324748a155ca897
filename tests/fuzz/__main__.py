"""The command line of the runs."""

import argparse

from fuzz.run import fuzz_here, fuzz_resealed, fuzz_unsealed, hurry, report, resealed_batch

parser = argparse.ArgumentParser(
    prog="fuzz", description="Load damaged and foreign files; exit 1 when one is not refused."
)
parser.add_argument("--mutations", type=int, default=100_000, help="of sealed files, read in this process")
parser.add_argument("--resealed", type=int, default=300, help="of contents with a new seal that fits")
parser.add_argument("--unsealed", type=int, default=20, help="of files of schema 2, some seconds each")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--resealed-batch", type=int, nargs=2, metavar=("FIRST", "LAST"), help=argparse.SUPPRESS)
asked = parser.parse_args()
if asked.resealed_batch:
    resealed_batch(*asked.resealed_batch, asked.seed)
else:
    hurry()
    report("sealed files", fuzz_here, asked.mutations, asked.seed)
    report("re-sealed contents", fuzz_resealed, asked.resealed, asked.seed)
    report("files without a seal", fuzz_unsealed, asked.unsealed, asked.seed)
