"""ONNX for ONNX Runtime: lowerings, emission, and the targets."""
