"""``python -m clvforecast``: the command line."""

from clvforecast.cli import main

main()
