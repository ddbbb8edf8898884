"""Prints the table."""

from attacks import table

print(table(), end="")
