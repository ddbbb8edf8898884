"""Measurements of the system beside a peer or a limit: `python -m benchmarks.NAME`; `--help` lists the options."""
