"""Parts of a model as exported programs: one file per part."""
