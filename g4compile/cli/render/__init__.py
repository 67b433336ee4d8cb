"""How results look at a terminal: tables, sizes, progress, errors. No file here computes a result."""
