"""How codes are packed and what they mean: one file per format."""
