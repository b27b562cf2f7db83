"""``python -m groundswell``: the command line, for processes that start one another."""

from groundswell.cli import main

main()
