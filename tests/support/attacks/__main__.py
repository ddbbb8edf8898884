"""Prints the table."""

from tests.support.attacks import table

print(table(), end="")
