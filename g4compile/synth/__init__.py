"""Random checkpoints in the published layout: for tests, demos and benchmarks without a download."""
