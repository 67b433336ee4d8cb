"""The papers: links lead to files, tests that are named exist, the licence is the one that is declared."""

import re
import tomllib
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parent.parent
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
# Of https://www.apache.org/licenses/LICENSE-2.0.txt
APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


def test_links_of_the_papers_lead_to_files():
    links = {(paper.name, link) for paper in ROOT.glob("*.md") for link in _LINK.findall(paper.read_text())}
    assert sorted((paper, link) for paper, link in links if not (ROOT / link).exists()) == []


def test_paths_of_tests_in_the_status_page_exist():
    named = re.findall(r"`(tests/[\w./-]+)`", (ROOT / "docs/status.md").read_text())
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_licence_is_the_declared_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"
    assert sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2
