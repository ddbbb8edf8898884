"""Rewards for other trainers, a screen each: TRL, verl, verifiers. None of them is imported here (docs/service.md)."""
