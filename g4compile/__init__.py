"""g4compile: Gemma 4, compiled. See `docs/` for the concepts and `g4compile --help` for the verbs."""

__version__ = "0.1.0"
