"""How policy versions travel: packed into buckets by the learner, kept by the weight store, loaded by the actors."""
