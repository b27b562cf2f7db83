"""The coordinator: from sums to a model that answers. Nothing here imports the client."""
