"""A chat template as a table, which a walker without Jinja renders."""

from __future__ import annotations

from collections.abc import Mapping

from jinja2.exceptions import TemplateSyntaxError

from g4compile.runtime.template import parsed
from g4compile.runtime.text_files import DEFAULT, WITH_TOOLS
from g4compile.text_tables.chat_format import Program, Routine, encode
from g4compile.text_tables.chat_statements import Statements, joined
from g4compile.text_tables.chat_unicode import CaseTables, case_tables
from g4compile.text_tables.chat_writer import Pool, Writer
from g4compile.text_tables.no_table import NoTable

_LARGEST = 1 << 24  # bytes of a table
_MOST_CODE, _MOST_STRINGS, _MOST_ROUTINES = 1 << 20, 1 << 16, 1 << 12  # that walkers take


def chat_table(source: str | Mapping[str, str], names: Mapping[str, str], cases: CaseTables | None = None) -> bytes:
    """The bytes of `chat.g4` for the template ``source``, or for several by name, of which a runtime takes `default`
    and, with tools, `tool_use` (`TextFiles.templates`).

    ``names``: special tokens by what templates call them (`TextFiles.names`). ``cases``: of letters; all of Unicode
    unless given. Raises NoTable with the construct that tables do not have, and its line.
    """
    sources = {DEFAULT: source} if isinstance(source, str) else source
    known = {name: sources[name] for name in (DEFAULT, WITH_TOOLS) if name in sources}
    if not known:
        raise NoTable(f"no template is named {DEFAULT}, only {', '.join(map(repr, sources))}")
    pool = Pool()
    writers: list[Writer] = []
    templates: dict[str, int] = {}
    for name, text in known.items():
        templates[name] = len(writers)
        try:
            statements = Statements(pool, len(writers))
            statements.template(parsed(text))
        except NoTable as error:
            raise error if len(known) == 1 else NoTable(f"template {name}, {error}") from error
        except TemplateSyntaxError as error:
            raise NoTable(f"line {error.lineno}: {error.message}") from error
        except RecursionError as error:
            raise NoTable("the template is nested too deep") from error
        writers += statements.routines
    for text in (*templates, *names, *names.values()):
        pool.string(text)
    if any("\ud800" <= letter <= "\udfff" for text in pool.strings for letter in text):
        raise NoTable("a special token holds half of a surrogate pair")
    code, lines, bounds = joined(writers)
    if len(code) > _MOST_CODE or len(pool.strings) > _MOST_STRINGS or len(writers) > _MOST_ROUTINES:
        raise NoTable(
            f"it is too long: {len(code):,} instructions, {len(pool.strings):,} texts, {len(writers):,} macros"
        )
    routines = [
        Routine(one.name, *bound, len(one.slots), one.parameters) for one, bound in zip(writers, bounds, strict=True)
    ]
    given = case_tables() if cases is None else cases
    made = encode(Program(list(pool.strings), pool.values, dict(names), templates, routines, code, lines, given))
    if len(made) > _LARGEST:
        raise NoTable(f"its table has {len(made):,} bytes, and walkers take {_LARGEST:,}")
    return made
