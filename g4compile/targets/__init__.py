"""Targets: what may stay in a graph, how the rest is lowered, and how the result is written."""
