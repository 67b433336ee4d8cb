"""Packages for onnxruntime-genai: graphs that it feeds and whose caches it binds, and the files that it reads."""
