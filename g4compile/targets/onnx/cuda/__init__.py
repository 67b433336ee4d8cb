"""ONNX Runtime on NVIDIA GPUs: one graph of ops of libg4cuda (`docs/design/0010-onnx-cuda.md`)."""
