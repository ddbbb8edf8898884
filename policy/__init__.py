"""The language model that writes programs: building it, encoding prompts, token log-probabilities, and weights on the
wire.
"""
