"""Tables of a checkpoint's text files: what a runtime without Python reads in their place."""
