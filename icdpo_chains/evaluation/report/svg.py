"""`inline_svg`: a Matplotlib figure as an SVG element for an HTML page, in the page's colours."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CONTROL", "GRID", "OTHER", "OWN", "TEXT", "inline_svg"]

# Matplotlib has no CSS colours: these are placeholders until the figure is drawn.
TEXT, GRID, OWN, OTHER, CONTROL = "#010101", "#020202", "#030303", "#040404", "#050505"
_CSS = {
    TEXT: "currentColor",
    GRID: "var(--grid, #cccccc)",
    OWN: "var(--own, #0b62c4)",
    OTHER: "var(--other, #b3541e)",
    CONTROL: "var(--control, #777777)",
}


def inline_svg(figure: Figure, name: str, title: str, description: str) -> str:
    """Draws a figure.

    Args:
        figure: a figure in the placeholder colours of this module.
        name: the prefix of each id, so that one page can contain several drawings.
        title: the title for screen readers; not shown.
        description: the description of the contents for screen readers.

    Returns:
        An `<svg>` element; equal figures give equal elements.
    """
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "icdpo-chains", "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(file.getvalue())  # noqa: S314 - matplotlib's own output
    for element in root.iter():
        element.tag = _local(element.tag)
        attributes = {_local(key): value for key, value in element.attrib.items()}
        element.attrib.clear()
        element.attrib.update({key: _attribute(key, value, name) for key, value in attributes.items()})
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag in ("metadata", "style")]:
            parent.remove(child)  # a style would apply to the whole page
    del root.attrib["width"], root.attrib["height"]
    root.attrib |= {
        "xmlns": "http://www.w3.org/2000/svg",
        "style": "stroke-linejoin: round; stroke-linecap: butt",
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-desc",
    }
    for position, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(tag, {"id": f"{name}-{tag}"})
        element.text = text
        root.insert(position, element)
    return ElementTree.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _attribute(key: str, value: str, name: str) -> str:
    """Makes ids unique to the drawing, and replaces placeholder colours."""
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return value.replace("#", f"#{name}-")
    value = value.replace("url(#", f"url(#{name}-")
    for stand_in, colour in _CSS.items():
        value = value.replace(stand_in, colour)
    return value
