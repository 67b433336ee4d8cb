"""What a TensorRT network means: a torch interpreter of emitted networks, for machines without a GPU."""
