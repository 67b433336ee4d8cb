"""A legal graph as a TensorRT network."""
