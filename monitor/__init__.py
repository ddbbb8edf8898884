"""What a person sees of a run: the run folder, the terminal, the report. Reads the run, never steers it."""
