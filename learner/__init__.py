"""The learner: rewards from unit-test feedback, objectives, the DeepSpeed engine, warm start, and the versions it
publishes.
"""
