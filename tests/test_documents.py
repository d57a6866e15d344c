"""Documents: their links lead somewhere, and their tables say what the committed results say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    {
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "studies").glob("**/*.md"),
        *(ROOT / "src" / "dgsnet" / "artifacts").glob("**/*.md"),
    }
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NAMED = re.compile(r"`((?:studies|tools|tests|benchmarks|docs|src|examples)/[\w./-]+)`")
MODULE = re.compile(r"python -m ((?:studies|tools|tests)(?:\.[a-z]\w*)+)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_and_named_files_exist(document):
    text = document.read_text(encoding="utf-8")
    links = [link for link in LINK.findall(text) if not re.match(r"[a-z]+:", link)]
    lost = [link for link in links if not _leads(document, link)]
    # The changelog tells of what was, and a model's card is read beside the model.
    if document.name != "CHANGELOG.md":
        lost += [name for name in NAMED.findall(text) if not (ROOT / name).exists()]
        lost += [name for name in MODULE.findall(text) if not _runs(name)]
    assert lost == []


def _leads(document: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (document.parent / path) if path else document
    return target.exists() and (not anchor or target.suffix != ".md" or anchor in _anchors(target))


def _anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _runs(module: str) -> bool:
    file = ROOT / module.replace(".", "/")
    return (file / "__main__.py").exists() or file.with_suffix(".py").exists()


def test_every_table_of_the_documents_is_that_of_the_results():
    done = subprocess.run(
        [sys.executable, "-m", "tools.readme", "--check"], capture_output=True, text=True, check=False, timeout=120, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    blocks = {
        "README.md": 2,
        "studies/method_comparison/README.md": 1,
        "studies/dgsnet_b16/README.md": 1,
        "studies/robustness/README.md": 2,
    }
    assert {name: (ROOT / name).read_text().count("<!-- figures: ") for name in blocks} == blocks


def test_studies_import_one_another_nowhere():
    for file in (ROOT / "studies").glob("*/**/*.py"):
        own = file.relative_to(ROOT / "studies").parts[0]
        imported = set(re.findall(r"^\s*(?:from|import) studies\.(\w+)", file.read_text(encoding="utf-8"), re.MULTILINE))
        assert imported <= {"common", own}, file
