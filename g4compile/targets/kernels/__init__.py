"""GPU kernels of the decoder, in Triton: products, experts and their routing, norms, lookups, attention.

They stand alone: no compiler code is imported, and a kernel's arguments are plain pointers and sizes, so that one
source runs under torch (tests, benchmarks), in Triton's interpreter on a CPU, and as PTX inside an engine (`aot.py`).
"""
