"""One small file per verb: parse, call, render."""
