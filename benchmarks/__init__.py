"""Measurements of the system beside a peer or a limit: `python -m benchmarks.NAME [--quick] [--json FILE]`."""
