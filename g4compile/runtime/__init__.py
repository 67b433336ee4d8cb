"""Bundle -> tokens. Stands alone: no compiler code, no torch; ONNX Runtime, NumPy and `tokenizers`."""
