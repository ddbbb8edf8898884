"""Tests: `unit/ROOM` needs no other process, `integration/ROOM` starts real ones, `support` is what they share."""
