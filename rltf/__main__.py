"""`python -m rltf`: the commands."""

from rltf.launch import start

start()
