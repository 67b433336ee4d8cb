"""`python -m g4compile`. Python puts the current folder first on its path, which may be a downloaded one that holds a
`torch.py`: it is taken off before anything is imported from there. A folder named `g4compile` there Python has run by
then: `python -P -m g4compile`, or the command `g4compile`, keeps that from running too."""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]

from g4compile.cli.app import app

app()
