"""TensorRT engines: a legal graph as an `INetworkDefinition`, for full TensorRT and for TensorRT-RTX."""
