"""What every room tells of its work: recorder, names, console. Imports no room, so every room may use it."""
