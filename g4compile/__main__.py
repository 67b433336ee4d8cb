"""`python -m g4compile`."""

from g4compile.cli.app import app

app()
