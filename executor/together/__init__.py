"""Test code and program in one process, and why what comes of it can be believed.

`plan` makes a data set's test code ready, `process` runs it beside the program, `grader` decides. docs/executor.md has
the whole.
"""
