"""Parts of a model as exported programs: one file a part."""
