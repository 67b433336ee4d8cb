"""Comparing: a bundle with the HF module, a stage with the next, one backend with another."""
