"""The tenant's users: in the order of their coming, by id, by name, and by what a filter asks most often."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sandbox.directory import User
from sandbox.graph.odata import Node

_TEXTS = ("userPrincipalName", "mail")
_LIST = "proxyAddresses"


class Users:
    """Keep users; a directory that changes is another one of these."""

    def __init__(self, users: Iterable[User]) -> None:
        self.all = {user.id: user for user in users}
        self.present = tuple(user for user in self.all.values() if not user.deleted)
        self.deleted = tuple(user for user in self.all.values() if user.deleted)
        self._by_name = {user.user_principal_name.lower(): user for user in self.present}
        self._by_name |= {user.id.lower(): user for user in self.present}
        self._index: dict[tuple[str, str], list[int]] = {}
        for place, user in enumerate(self.present):
            for key in _keys(user):
                self._index.setdefault(key, []).append(place)

    def user(self, name: str) -> User | None:
        """Find a user by object id or user principal name; Graph takes no other address in this place."""
        return self._by_name.get(name.lower())

    def candidates(self, node: Node) -> tuple[User, ...]:
        """Return, in their order, the users for whom a filter may hold: all, unless the index knows better."""
        places = self._places(node)
        return self.present if places is None else tuple(self.present[place] for place in sorted(places))

    def _places(self, node: Node) -> set[int] | None:
        match node:
            case ("or", left, right):
                one = self._places(left)
                other = None if one is None else self._places(right)
                return None if one is None or other is None else one | other
            case ("compare", path, "eq", str() as value) if path in _TEXTS:
                return set(self._index.get((path, value.casefold()), ()))
            case ("any", path, variable, ("compare", name, "eq", str() as value)) if path == _LIST and name == variable:
                return set(self._index.get((path, value.casefold()), ()))
        return None


def _keys(user: User) -> Iterator[tuple[str, str]]:
    for path, value in zip(_TEXTS, (user.user_principal_name, user.mail), strict=True):
        if value is not None:
            yield path, value.casefold()
    yield from {(_LIST, proxy.casefold()) for proxy in user.proxy_addresses}
