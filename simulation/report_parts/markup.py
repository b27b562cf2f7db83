"""HTML and SVG elements as values: every text is escaped unless it is markup already."""

from __future__ import annotations

from html import escape

Attribute = str | int | float | bool | None


class Markup(str):
    """Text that is markup and must not be escaped again."""

    __slots__ = ()


Child = str | None

_VOID = frozenset({"meta", "br", "hr", "img", "input", "link"})


def element(tag: str, *children: Child, **attributes: Attribute) -> Markup:
    """``<tag attributes>children</tag>``.

    Args:
        children: plain strings are escaped, markup is not, None is left out.
        attributes: ``class_`` and the like lose the last underscore, other underscores become
            hyphens; None and False are left out, True stands alone; floats have two decimals.
    """
    opening = "".join([tag, *(_attribute(*each) for each in attributes.items())])
    if tag in _VOID:
        return Markup(f"<{opening}>")
    return Markup(f"<{opening}>{join(*children)}</{tag}>")


def join(*children: Child) -> Markup:
    """Several pieces as one."""
    return Markup("".join(_text(child) for child in children if child is not None))


def number(value: float) -> str:
    """A coordinate with two decimals and no trailing zeros."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _text(child: str) -> str:
    return str(child) if isinstance(child, Markup) else escape(child)


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    # SVG writes its own names in mixed case with neither underscore nor hyphen.
    name = name.removesuffix("_").replace("_", "-")
    if value is True:
        return f" {name}"
    text = number(value) if isinstance(value, float) else str(value)
    return f' {name}="{escape(text)}"'
