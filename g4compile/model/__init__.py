"""What Gemma 4 is: config -> typed facts, parts and their inventory, key names, presets. Neither torch nor onnx."""
