"""The language model that writes programs: building it, encoding prompts, and token log-probabilities."""
