"""OData query options as Graph reads them: parsed once, evaluated over plain values.

Sources: docs-contrib `concepts/query-parameters.md`, `concepts/filter-query-parameter.md`; errors as Graph words them
(RequestBroker--ParseUri: microsoft-graph-explorer-v4#3916). Texts are compared without regard to case, as Exchange and
Entra compare them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from sandbox.graph.refusals import Refused
from sandbox.graph.shapes import canonical

Node = tuple[Any, ...]
Resolve = Callable[[str], Any]

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<time>\d{4}-\d\d-\d\d(?:T[0-9:.]+(?:Z|[+-]\d\d:\d\d)?)?)|(?P<number>-?\d+)"
    r"|(?P<name>[A-Za-z_@$][\w.@/$]*)|(?P<mark>[(),:]))"
)
_COMPARISONS = frozenset({"eq", "ne", "gt", "ge", "lt", "le"})
_FUNCTIONS = frozenset({"startswith", "endswith", "contains"})
EXTENDED = "singleValueExtendedProperties"


@dataclass(frozen=True, kw_only=True, slots=True)
class Expand:
    """Name a navigation property to expand, with the options in its parentheses."""

    name: str
    options: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """Hold the query options of one request."""

    select: tuple[str, ...] | None = None
    filter: Node | None = None
    filter_text: str = ""
    expand: tuple[Expand, ...] = ()
    top: int | None = None
    skip: int = 0
    order: tuple[tuple[str, bool], ...] = ()
    count: bool = False
    others: Mapping[str, str]


NO_QUERY = Query(others={})


def parse_query(text: str, *, max_top: int, top_error: str) -> Query:
    """Parse the query part of a URL, with or without the dollar signs, which v1.0 lets one leave out."""
    if not text:
        return NO_QUERY
    options: dict[str, str] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        name = key.removeprefix("$").lower()
        if name in options:
            raise Refused(400, "BadRequest", f"Query option '{key}' was specified more than once.")
        options[name] = value
    if "search" in options:
        raise Refused(501, "notImplemented", "The sandbox keeps no search index; $search is not to be relied on.")
    filter_text = options.pop("filter", "")
    top = _number(options.pop("top", ""), "$top")
    if top is not None and not 0 < top <= max_top:
        raise Refused(400, *_top_refusal(top_error, top, max_top))
    return Query(
        select=_names(options.pop("select", "")),
        filter=parse_filter(filter_text) if filter_text else None,
        filter_text=filter_text,
        expand=tuple(_expands(options.pop("expand", ""))),
        top=top,
        skip=_number(options.pop("skip", ""), "$skip") or 0,
        order=tuple(_orders(options.pop("orderby", ""))),
        count=options.pop("count", "false").lower() == "true",
        others=options,
    )


def _top_refusal(code: str, top: int, max_top: int) -> tuple[str, str]:
    if code == "Request_UnsupportedQuery":
        return code, f"Invalid page size specified: '{top}'. Must be between 1 and {max_top} inclusive."
    return code, (
        f"The limit of '{max_top}' for Top query has been exceeded. The value from the incoming request is '{top}'."
    )


def _number(text: str, option: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit():
        message = f"Invalid value '{text}' for {option} query option found. The {option} query option requires a "
        raise Refused(400, "RequestBroker--ParseUri", message + "non-negative integer value.")
    return int(text)


def _names(text: str) -> tuple[str, ...] | None:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    return names or None


def _orders(text: str) -> Iterator[tuple[str, bool]]:
    for part in text.split(","):
        words = part.split()
        if words:
            yield words[0], len(words) > 1 and words[1].lower() == "desc"


def _expands(text: str) -> Iterator[Expand]:
    for part in split_outside(text, ","):
        name, _, inside = part.partition("(")
        options = {}
        for option in split_outside(inside.strip().removesuffix(")"), ";"):
            key, _, value = option.partition("=")
            options[key.strip().removeprefix("$").lower()] = value.strip()
        yield Expand(name=name.strip(), options=options)


def split_outside(text: str, mark: str) -> list[str]:
    """Split a text at a mark that stands in no parentheses and no quotes."""
    parts, depth, quoted, start = [], 0, False, 0
    for position, character in enumerate(text):
        if character == "'":
            quoted = not quoted
        elif not quoted:
            depth += (character == "(") - (character == ")")
            if character == mark and depth == 0:
                parts.append(text[start:position])
                start = position + 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


class _Parser:
    """Read a $filter by recursive descent: or, and, not, comparison, function, in, any and all."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str, int]] = []
        position, text = 0, text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None or match.lastgroup is None:
                raise self.wrong(position)
            self.tokens.append((match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            position = match.end()
        self.next = 0

    def wrong(self, position: int) -> Refused:
        message = f"Invalid filter clause: Syntax error at position {position} in '{self.text}'."
        return Refused(400, "BadRequest", message)

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.next][:2] if self.next < len(self.tokens) else ("end", "")

    def take(self, kind: str, value: str | None = None) -> str:
        found, text = self.peek()
        if found != kind or (value is not None and text.lower() != value):
            raise self.wrong(self.tokens[self.next][2] if self.next < len(self.tokens) else len(self.text))
        self.next += 1
        return text

    def takes(self, value: str) -> bool:
        found, text = self.peek()
        if found in {"name", "mark"} and text.lower() == value:
            self.next += 1
            return True
        return False

    def whole(self) -> Node:
        node = self.either()
        if self.peek()[0] != "end":
            raise self.wrong(self.tokens[self.next][2])
        return node

    def either(self) -> Node:
        node = self.both()
        while self.takes("or"):
            node = ("or", node, self.both())
        return node

    def both(self) -> Node:
        node = self.single()
        while self.takes("and"):
            node = ("and", node, self.single())
        return node

    def single(self) -> Node:
        if self.takes("not"):
            return ("not", self.single())
        if self.takes("("):
            node = self.either()
            self.take("mark", ")")
            return node
        name = self.take("name")
        if self.peek() == ("mark", "("):
            self.next += 1
            return self.call(name)
        if self.takes("in"):
            self.take("mark", "(")
            values = [self.value()]
            while self.takes(","):
                values.append(self.value())
            self.take("mark", ")")
            return ("in", name, tuple(values))
        operator = self.take("name").lower()
        if operator not in _COMPARISONS:
            raise self.wrong(self.tokens[self.next - 1][2])
        return ("compare", name, operator, self.value())

    def call(self, name: str) -> Node:
        path, _, quantifier = name.rpartition("/")
        if path and quantifier.lower() in {"any", "all"}:
            variable = self.take("name")
            self.take("mark", ":")
            inner = self.either()
            self.take("mark", ")")
            return (quantifier.lower(), path, variable, inner)
        if name.lower() not in _FUNCTIONS:
            raise Refused(
                400, "BadRequest", f"Invalid filter clause: An unknown function with name '{name}' was found."
            )
        path = self.take("name")
        self.take("mark", ",")
        value = self.value()
        self.take("mark", ")")
        return ("function", name.lower(), path, value)

    def value(self) -> Any:
        kind, text = self.peek()
        self.next += 1
        if kind == "text":
            return text[1:-1].replace("''", "'")
        if kind == "number":
            return int(text)
        if kind == "time":
            try:
                parsed = datetime.fromisoformat(text)
            except ValueError:
                raise self.wrong(self.tokens[self.next - 1][2]) from None
            return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
        if kind == "name" and text.lower() in {"true", "false", "null"}:
            return {"true": True, "false": False, "null": None}[text.lower()]
        self.next -= 1
        raise self.wrong(self.tokens[self.next][2] if self.next < len(self.tokens) else len(self.text))


def parse_filter(text: str) -> Node:
    """Parse a $filter into nested tuples."""
    return _Parser(text).whole()


def paths(node: Node) -> Iterator[str]:
    """Yield the property paths of the entity that a filter asks about, in their order."""
    match node:
        case ("or" | "and", left, right):
            yield from paths(left)
            yield from paths(right)
        case ("not", inner):
            yield from paths(inner)
        case ("function", _, path, _):
            yield path
        case (_, path, *_):
            yield path


def holds(node: Node, resolve: Resolve) -> bool:
    """Say whether a filter holds for an entity whose properties `resolve` looks up by path."""
    match node:
        case ("or", left, right):
            return holds(left, resolve) or holds(right, resolve)
        case ("and", left, right):
            return holds(left, resolve) and holds(right, resolve)
        case ("not", inner):
            return not holds(inner, resolve)
        case ("compare", path, operator, value):
            return _compare(resolve(path), operator, value)
        case ("in", path, values):
            return any(_compare(resolve(path), "eq", value) for value in values)
        case ("function", name, path, value):
            return _function(name, resolve(path), value)
        case ("any" | "all" as quantifier, path, variable, inner):
            found = extended_equality(node)
            if found is not None:
                wanted_id, wanted = found
                held = resolve(f"{EXTENDED}/{wanted_id}")
                return isinstance(held, str) and held.casefold() == wanted.casefold()
            items = [holds(inner, _item_resolver(item, variable)) for item in resolve(path) or ()]
            return any(items) if quantifier == "any" else all(items)
    raise Refused(400, "BadRequest", "Invalid filter clause.")


def extended_equality(node: Node) -> tuple[str, str] | None:
    """Return (canonical id, value) of `singleValueExtendedProperties/any(ep: ep/id eq … and ep/value eq …)`."""
    match node:
        case (
            "any",
            path,
            variable,
            ("and", ("compare", first, "eq", str() as one), ("compare", second, "eq", str() as other)),
        ) if path.lower() == EXTENDED.lower():
            pairs = {first.lower(): one, second.lower(): other}
            key, value = f"{variable}/id".lower(), f"{variable}/value".lower()
            if pairs.keys() == {key, value}:
                return canonical(pairs[key]), pairs[value]
    return None


def conjunction(node: Node) -> Iterator[Node]:
    """Yield the conditions that every match must fulfil, so that an index can serve one of them."""
    if node[0] == "and":
        yield from conjunction(node[1])
        yield from conjunction(node[2])
    else:
        yield node


def _item_resolver(item: Any, variable: str) -> Resolve:
    def resolve(path: str) -> Any:
        head, _, rest = path.partition("/")
        if head != variable:
            raise Refused(400, "BadRequest", f"Invalid filter clause: unknown range variable '{head}'.")
        return dig(item, rest) if rest else item

    return resolve


def dig(value: Any, path: str) -> Any:
    """Follow a property path into nested mappings, names compared without regard to case."""
    for name in path.split("/"):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name) if name in value else _lower_get(value, name)
    return value


def _lower_get(value: Mapping[str, Any], name: str) -> Any:
    return next((item for key, item in value.items() if key.lower() == name.lower()), None)


def _compare(held: Any, operator: str, value: Any) -> bool:
    if isinstance(held, str) and isinstance(value, str):
        held, value = held.casefold(), value.casefold()
    elif isinstance(held, str) and isinstance(value, datetime):
        try:
            held = datetime.fromisoformat(held)
        except ValueError:
            raise _incompatible() from None
    if operator == "eq":
        return bool(held == value)
    if operator == "ne":
        return bool(held != value)
    if held is None or value is None:
        return False
    try:
        return bool({"gt": held > value, "ge": held >= value, "lt": held < value, "le": held <= value}[operator])
    except TypeError:
        raise _incompatible() from None


def _incompatible() -> Refused:
    message = "Invalid filter clause: A binary operator with incompatible types was detected."
    return Refused(400, "BadRequest", message)


def _function(name: str, held: Any, value: Any) -> bool:
    if not isinstance(held, str) or not isinstance(value, str):
        return False
    text, part = held.casefold(), value.casefold()
    if name == "startswith":
        return text.startswith(part)
    return text.endswith(part) if name == "endswith" else part in text
