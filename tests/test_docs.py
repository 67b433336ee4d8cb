"""Pages are short. They and the papers say only what is there: paths exist, links lead somewhere, commands parse."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from g4compile.cli.app import app

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
PAPERS = sorted(ROOT.glob("*.md"))
_FENCE = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`([^`\s]+)`")
_PATH = re.compile(r"g4compile/.*|.+/.*\.(py|md|onnxtxt)")
_ANY = re.compile(r"[A-Z]{2,}|[<>*{}]")
_LINK = re.compile(r"\]\(([^)#]+)\)")
_MADE_UP = ("scale_by", "scale-by", "plain")  # the examples of the pages that say how to add something
# A path may be short where it is plain what it is below.
_BELOW = (ROOT, ROOT / "g4compile", ROOT / "tests")
_PROGRAM = "g4compile"


pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
all_pages = pytest.mark.parametrize("page", [*PAPERS, *PAGES], ids=lambda page: page.name)


def exists(path):
    return any((folder / path).exists() for folder in _BELOW)


def paths_in(text):
    """Words in backticks that are paths; not names in capitals, which stand for any."""
    outside = _FENCE.sub("", text)
    found = (word for word in _CODE.findall(outside) if _PATH.fullmatch(word))
    return [
        word for word in found if not re.search(r"[A-Z]{2,}|[<>*{}]", word) and not any(one in word for one in _MADE_UP)
    ]


def commands_in(text):
    """Calls of the command in fenced blocks, as arguments, without comments and redirections."""
    for block in _FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True) if _PROGRAM in line.split("#")[0].split() else []
            while words and (words[0] == "$" or "=" in words[0]):
                words.pop(0)
            if words[:1] == [_PROGRAM]:
                ends = [index for index, word in enumerate(words) if word in (">", "|", "&&")]
                yield words[1 : min(ends, default=len(words))]


def parse(arguments):
    """Read ``arguments`` as the command line does, and run nothing. Raises the parser's error."""
    root = typer.main.get_command(app)
    with root.make_context(_PROGRAM, list(arguments), resilient_parsing=True):
        verb = root.commands.get(arguments[0]) if arguments else None
        assert verb is not None, f"there is no verb {arguments[:1]}"
        verb.make_context(arguments[0], list(arguments[1:]))


@pages
def test_a_page_is_short(page):
    assert len(page.read_text(encoding="utf-8").splitlines()) <= 120


@all_pages
def test_paths_exist(page):
    missing = [path for path in paths_in(page.read_text(encoding="utf-8")) if not exists(path)]
    assert not missing


@pages
def test_links_lead_to_files(page):
    links = [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


COMMANDS = [(page.name, line) for page in [*PAPERS, *PAGES] for line in commands_in(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("page", "arguments"), COMMANDS, ids=[" ".join([page, *line]) for page, line in COMMANDS])
def test_commands_parse(page, arguments):
    parse(arguments)


def test_the_checks_find_what_is_wrong():
    """They are not vacuous."""
    call = "$ G4_DEBUG=1 g4compile bench bundle --no-such 1 > timings  # slow"
    text = f"`g4compile/no/such/file.py` `compare/parity.py`\n```\n{call}\n```\n"
    assert [path for path in paths_in(text) if not exists(path)] == ["g4compile/no/such/file.py"]
    (arguments,) = commands_in(text)
    assert arguments == ["bench", "bundle", "--no-such", "1"]
    with pytest.raises(Exception, match="No such option"):
        parse(arguments)
    with pytest.raises(AssertionError, match="no verb"):
        parse(["comple", "x"])


def test_made_up_examples_are_not_there():
    """Else paths of that name would be checked by nothing."""
    names = [file.stem for file in (ROOT / "g4compile").rglob("*.py")]
    assert not [name for name in names if any(one in name for one in _MADE_UP)]
