"""The same page in fewer bytes: what HTML lets a page leave out is left out. A browser reads the same elements."""

from __future__ import annotations

import re

WHOLE = re.compile(r"<(script|style)\b.*?</\1>", re.DOTALL)
"""What stays as it is: the policy holds its digest."""
LEFT_OUT = re.compile(r"</(?:td|th|tr|thead|tbody|li)>\s*")
"""End tags that HTML lets a page leave out."""
TAG = re.compile(r"<(?P<name>td|th|tr|table|div|pre|svg|symbol|path|g|text|line|use|rect|circle)\b(?P<rest>[^<>]*)>")
"""Of the elements that a page has most of. No attribute holds < or >: they are escaped in all of them."""
QUOTED = re.compile(r'(?<= )([\w-]+)="([\w.,#:()%+*-]+)"(?=[ />]|$)', re.ASCII)
KEPT = ("id", "aria-labelledby", "class", "xmlns")
"""Attributes that keep their quotes outside of tables and pictures, so that a page can be searched for them."""
NAMESPACE = ' xmlns="http://www.w3.org/2000/svg"'
"""Which a picture within a page has anyway."""
TABLE = ("td", "th", "tr", "path", "g", "text", "line", "use", "rect")


def compact(page: str) -> str:
    """The page without what a browser does not need; scripts and styles to the byte as they were."""
    parts, at = [], 0
    for whole in WHOLE.finditer(page):
        parts += [_slim(page[at : whole.start()]), whole[0]]
        at = whole.end()
    return "".join([*parts, _slim(page[at:])])


def _slim(text: str) -> str:
    return TAG.sub(_tag, LEFT_OUT.sub("", text))


def _tag(found: re.Match[str]) -> str:
    name, rest = found["name"], found["rest"].replace(NAMESPACE, "")
    closed = rest.endswith("/")
    rest = QUOTED.sub(lambda one: _unquoted(name, one), rest.rstrip("/").rstrip())
    # A slash right after a value without quotes would be part of it.
    end = "" if not closed else "/" if rest.endswith('"') or not rest else " /"
    return f"<{name}{rest}{end}>"


def _unquoted(element: str, found: re.Match[str]) -> str:
    return found[0] if found[1] in KEPT and element not in TABLE else f"{found[1]}={found[2]}"
