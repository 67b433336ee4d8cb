"""The plan of each op of libg4cuda: by its name, from a node's sizes and attributes."""
