"""The data flow: wire records, work queue, online buffer, evaluations, ledger, problem store, and the embedded Redis
they live in.
"""
