"""Packages for onnxruntime-genai: graphs whose inputs and caches that runtime feeds, and the files by which it knows."""
