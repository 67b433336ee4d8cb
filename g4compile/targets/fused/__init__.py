"""Ops that are kernels of `targets/kernels`: passes that make them, and their plans, which say what each launches.

libg4cuda carries a plan out inside ONNX Runtime, TensorRT as one plugin layer a launch. What each op computes is
`docs/design/0010-onnx-cuda.md`.
"""
