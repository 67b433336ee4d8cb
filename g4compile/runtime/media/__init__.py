"""Images, audio and videos as inputs of a model, without torch: NumPy, and the libraries of the extra `media`."""
