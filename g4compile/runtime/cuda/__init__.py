"""ONNX Runtime on CUDA: sessions and batches of `onnx-cuda` bundles. `docs/design/0010-onnx-cuda.md`."""
