"""The families of generators."""
