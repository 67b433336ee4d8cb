"""Passes: graph to graph, one file each, named as the pass. `registry.py` finds them."""
