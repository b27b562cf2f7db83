"""Data sets that a simulation can run on without any file of the user's."""
