"""One small file a verb: parse, call, render."""
