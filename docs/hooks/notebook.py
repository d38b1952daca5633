"""A notebook with its outputs, as a page."""

from html import escape
from pathlib import Path
from typing import Any

import nbformat


def markdown(path: Path) -> str:
    parts = []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        elif cell.source:
            parts.append(f"```python\n{cell.source}\n```")
            parts += [shown for output in cell.outputs if (shown := _output(output))]
    return "\n\n".join(parts) + "\n"


def _output(output: Any) -> str:
    """HTML or a picture as they are; other text in a frame."""
    data = output.get("data", {})
    if "text/html" in data:
        # One line: a blank one would end the block.
        return f'<div class="output">{" ".join(data["text/html"].split())}</div>'
    if "image/png" in data:
        return f'<div class="output"><img alt="" src="data:image/png;base64,{data["image/png"].strip()}"></div>'
    text = output.get("text") or data.get("text/plain", "")
    return f'<div class="output"><pre>{escape(text.rstrip())}</pre></div>' if text.strip() else ""
