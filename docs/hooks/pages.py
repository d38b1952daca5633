"""The site's pages that are not files of docs/: the repository's own documents, the configuration reference, the
notebook; and each file of the repository that a page links, as it is.

Links are written as GitHub needs them. Here they are turned to where their target is on the site; one that leads
nowhere stays as it is, and `mkdocs build --strict` refuses it.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

import configuration
import notebook
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "benchmarks/gpu/README.md": "benchmarks_gpu.md",
    "reference/README.md": "reference.md",
    "config.yaml": "configuration.md",
    "docs/look_inside.ipynb": "look_inside.md",
}
SOURCES = {page: source for source, page in PAGES.items()}
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(#[^)\s]*)?(?=\))")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".smk": "python", ".json": "json", ".toml": "toml"}


def on_files(files: Files, config: Any) -> Files:
    for source, page in PAGES.items():
        if source == "config.yaml":
            content = configuration.markdown()
        elif source.endswith(".ipynb"):
            content = notebook.markdown(ROOT / source)
        else:
            content = (ROOT / source).read_text()
        files.append(File.generated(config, page, content=content))
    linked = {target for file in files.documentation_pages() for target in _outside(file)}
    for path in {path for target in linked for path in (ROOT / target, *(ROOT / target).glob("*"))}:
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, _shown_at(name), content=_as_it_is(path, name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    source, here = _source(page.file.src_uri), posixpath.dirname(page.file.src_uri)

    def turned(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[1]))
        if target in PAGES:
            there = PAGES[target]
        elif target.startswith("docs/"):
            there = target.removeprefix("docs/")
        elif (ROOT / target).exists():
            there = _shown_at(target)
        else:
            return found[0]
        return posixpath.relpath(there, here or ".") + (found[2] or "")

    return LINK.sub(turned, markdown)


def _source(page: str) -> str:
    """Where a page's text lies in the repository."""
    return SOURCES.get(page, f"docs/{page}")


def _outside(file: File) -> set[str]:
    """What a page links that lies outside docs/ and is no page."""
    folder = posixpath.dirname(_source(file.src_uri))
    targets = {posixpath.normpath(posixpath.join(folder, found[1])) for found in LINK.finditer(file.content_string)}
    return {
        target
        for target in targets
        if target not in PAGES and not target.startswith(("docs/", "..")) and (ROOT / target).exists()
    }


def _shown_at(target: str) -> str:
    return f"source/{target}/index.md" if (ROOT / target).is_dir() else f"source/{target}.md"


def _as_it_is(path: Path, name: str) -> str:
    if path.is_dir():
        names = sorted(inner.name for inner in path.iterdir() if inner.is_file())
        return "\n".join([f"# {name}\n", *(f"- [{inner}]({inner}.md)" for inner in names)])
    return f"# {name}\n\n````{LANGUAGES.get(path.suffix, 'text')}\n{path.read_text()}\n````\n"
