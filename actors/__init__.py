"""The workers that generate programs: a sampling engine, the loop around it, and its Ray shell."""
