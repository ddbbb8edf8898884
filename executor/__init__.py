"""The judge of untrusted Python programs: a sandboxed zygote per lane, one fork per program, labels with the exact
line.

Start with `executor.judge`. Importing this package imports nothing else: the zygote lives in it too.
"""
