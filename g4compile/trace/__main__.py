"""`python -P -m g4compile.trace CONFIG_OR_FOLDER [PART]`: the [traced] graph as text on stdout, weights unbound; of the
decoder, where no part is named.

``-P`` keeps the current folder off the path: it may be a downloaded one that holds a `torch.py`. An error is one
line of JSON, the last of stderr, as `G4Error.as_json` has it; the exit code is the error's. What libraries print
goes to stderr.
"""

from __future__ import annotations

import contextlib
import json
import sys

from g4compile.errors import G4Error, InputError
from g4compile.graph.text import to_text
from g4compile.model.config import load_config, model_facts
from g4compile.model.contents import DECODER


def main(arguments: list[str]) -> str:
    """The text of the graph. Raises G4Error."""
    if len(arguments) not in (1, 2):
        raise InputError("one or two arguments are needed", fix="python -P -m g4compile.trace CONFIG_OR_FOLDER [PART]")
    source, part = [*arguments, DECODER][:2]
    facts = model_facts(load_config(source), where=source)
    from g4compile.trace.trace import trace

    return to_text(trace(facts, part=part))


if __name__ == "__main__":
    try:
        with contextlib.redirect_stdout(sys.stderr):
            text = main(sys.argv[1:])
        sys.stdout.write(text)
        sys.stdout.flush()
    except G4Error as error:
        print(json.dumps(error.as_json()), file=sys.stderr)
        sys.exit(error.code)
    except ModuleNotFoundError as error:
        print(json.dumps({"kind": type(error).__name__, "error": str(error), "module": error.name}), file=sys.stderr)
        sys.exit(3)
