"""`python -m g4compile`. Python puts the current folder first on its path, which may be a downloaded one that holds a
`torch.py`: it is taken off. What Python itself imports before this, `python -P -m g4compile` keeps from there too."""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]

from g4compile.cli.app import app

app()
