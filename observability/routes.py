"""Which route a path belongs to: few names, whatever clients send, to label metrics and spans with."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RoutePattern

UNMATCHED: Final = "unmatched"
_PARAMETER = re.compile(r"<(?:(?P<converter>[^<>:]+):)?(?P<name>[^<>:]+)>")
_REST: Final = "{rest}"


class _Node:
    __slots__ = ("children", "parameter", "rest", "template")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.rest: str | None = None
        self.template: str | None = None


class RouteTable:
    """Templates such as `/api/conversations/{key}/messages`, found again from paths in a microsecond or two.

    A template that ends in `{rest}` takes every path below it.
    """

    def __init__(self, templates: Iterable[str]) -> None:
        self._root = _Node()
        for template in templates:
            self._add(template)

    def _add(self, template: str) -> None:
        node = self._root
        for segment in template.split("/")[1:]:
            if segment == _REST:
                node.rest = template
                return
            if "{" in segment:
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.children.setdefault(segment, _Node())
        node.template = node.template or template

    def template_of(self, path: str) -> str:
        """The template that this path (decoded, without a query) fits, or `unmatched`."""
        node: _Node | None = self._root
        rest = self._root.rest
        for segment in path.split("/")[1:]:
            assert node is not None  # noqa: S101  # for the type checker: left by the break below
            node = node.children.get(segment) or node.parameter
            if node is None:
                break
            rest = node.rest or rest
        return (node.template if node else None) or rest or UNMATCHED


def table_of_urlconf(urlconf: str | None = None) -> RouteTable:
    """The routes of a URLconf, by default `ROOT_URLCONF`; the admin and regular expressions are `{rest}`."""
    return RouteTable(_templates(get_resolver(urlconf).url_patterns, "/"))


def _templates(patterns: Iterable[URLPattern | URLResolver], prefix: str) -> Iterator[str]:
    for entry in patterns:
        if not isinstance(entry.pattern, RoutePattern):
            yield _rest_of(prefix)
            continue
        template = prefix + _PARAMETER.sub(_placeholder, str(entry.pattern))
        if _REST in template or getattr(entry, "app_name", None) == "admin":
            yield _rest_of(template)
        elif isinstance(entry, URLResolver):
            yield from _templates(entry.url_patterns, template)
        else:
            yield template


def _placeholder(match: re.Match[str]) -> str:
    return _REST if match["converter"] == "path" else "{" + match["name"] + "}"


def _rest_of(template: str) -> str:
    return template.split(_REST)[0].rpartition("/")[0] + "/" + _REST
