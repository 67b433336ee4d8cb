"""The graph: an `onnx_ir.Model` at a named stage, its specs, its text form, and pattern matching on it."""
