"""What `make docs` adds to MkDocs: the texts of the root as pages, formulas as MathML, and nothing from outside."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
ROOT_PAGES = {
    "README.md": "quickstart.md",
    "CONTRIBUTING.md": "contributing.md",
    "AGENTS.md": "pitfalls.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
"""Text in the root -> page of the site."""

_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]*)(#[^)\s]*)?\)")
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
_FROM_OUTSIDE = re.compile(r'(?:\ssrc|<link[^>]*\shref)="(?:https?:)?//[^"]*"')


def on_files(files: Files, config: Any) -> Files:
    """Adds the texts of the root."""
    for name, page in ROOT_PAGES.items():
        text = _LINK.sub(lambda match: _rewritten(match, match[3]), (ROOT / name).read_text())
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Leads links to the root's texts to their pages; other files of the checkout are named, without a link."""
    return _LINK.sub(
        lambda match: _rewritten(match, match[3].removeprefix("../")) if match[3].startswith("../") else match[0],
        markdown,
    )


def _rewritten(match: re.Match[str], target: str) -> str:
    """A link of the checkout, whose target is given from the root, as one of the site."""
    picture, text, _, anchor = match.groups()
    if not target or target.startswith("http"):
        return match[0]
    page = ROOT_PAGES.get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else "")
    return f"{picture}[{text}]({page}{anchor or ''})" if page else text


def on_page_content(html: str, **_: Any) -> str:
    """Formulas as MathML, which browsers show by themselves."""
    return _FORMULA.sub(lambda match: _mathml(match[2], match[1] == "div"), html)


def _mathml(formula: str, block: bool) -> str:
    source = re.sub(r"\\tag\{(.*?)\}", r"\\qquad \\text{(\1)}", html.unescape(formula))
    return str(convert(source, display="block" if block else "inline"))


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Raises PluginError where looking at a page would load something from elsewhere."""
    if outside := _FROM_OUTSIDE.search(output):
        raise PluginError(f"{page.file.src_uri} loads something from outside: {outside[0].strip()}")
    return output
