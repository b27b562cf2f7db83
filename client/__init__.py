"""The data site: from raw events to masked, noised sums. Nothing here imports the server."""
