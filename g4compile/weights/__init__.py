"""Weights: checkpoints in, lazy references in the graph, streamed to disk when a bundle is written."""
