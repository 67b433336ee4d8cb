"""Projects around a bundle: what `g4compile embed` writes. A bundle, libg4rt, and files of `templates/`."""
