"""A tenant that is as the archive needs it, and ways to make it otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from o2_connector.core.preflight import Finding, OpenPoint, Preflight, State
from o2_connector.core.settings import Settings, read_settings
from o2_connector.engine.ownership import Rhythm
from o2_connector.engine.preflight.run import preflight
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.staging import StagingHook
from o2_connector.hooks.telemessage import TeleMessageHook
from sandbox.directory import User
from sandbox.graph.store import Mailbox
from tests.engine.conftest import Site
from tests.hooks.tls_site import Time

MAIL_ROLES = frozenset({"Mail.ReadWrite", "Mail-Advanced.ReadWrite.All"})
HEAD = "ExternalUserId,O365UserMailbox\n"
Alter = Callable[[dict[str, Any]], None]


@dataclass(kw_only=True)
class Rig:
    """Hold all that a preflight tries.

    :param heard: what it said, in its order.
    """

    site: Site
    canary: User
    outside: User
    settings: Settings
    graph: GraphHook
    heard: list[Finding | OpenPoint] = field(default_factory=list)

    def run(self, *, outside: str | None = None, rhythm: Rhythm | None = None, **settings: Any) -> Preflight:
        """Run the whole of it."""
        return preflight(
            replace(self.settings, **settings),
            TeleMessageHook(sleep=Time().sleep),
            self.graph,
            StagingHook(),
            outside=self.outside.mail if outside is None else outside or None,
            heard=self.heard.append,
            rhythm=rhythm,
        )

    def let(self, *, token: frozenset[str] | None = None, exchange: frozenset[str] | None = None) -> None:
        """Give the application other roles."""
        tenant = self.site.tenant
        if token is not None:
            tenant.application = replace(tenant.application, roles=token)
        if exchange is not None:
            tenant.exchange_roles = exchange

    def fault(self, path: str, status: int = 403, code: str = "ErrorAccessDenied", **more: Any) -> None:
        """Let Graph refuse a path."""
        self.site.tenant.faults.add("status", path=path, status=status, code=code, times=1000, **more)

    def alter(self, change: Alter) -> None:
        """Let every object of Graph's answers be changed on its way."""
        self.graph.get_conn().mount("https://", Altering(self.graph.get_conn().get_adapter("https://"), change))

    def mailbox(self, user: User | None = None) -> Mailbox:
        """Return a mailbox as the sandbox has it."""
        return self.site.tenant.mailboxes[(user or self.canary).id]


class Altering(HTTPAdapter):
    """Change what a server answered, before its client sees it."""

    def __init__(self, inner: Any, change: Alter) -> None:
        super().__init__()
        self._inner = inner
        self._change = change

    def send(self, request: PreparedRequest, *args: Any, **options: Any) -> Response:
        """Send by the other adapter."""
        response: Response = self._inner.send(request, *args, **options)
        if response.content and "json" in response.headers.get("Content-Type", ""):
            body = response.json()
            self._walk(body)
            response._content = json.dumps(body).encode()
        return response

    def _walk(self, value: Any) -> None:
        if isinstance(value, dict):
            self._change(value)
        for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            self._walk(each)


@pytest.fixture
def rig(site: Site, tmp_path: Path, no_proxy: None) -> Iterator[Rig]:
    with rigged(site, tmp_path) as rig:
        yield rig


@contextmanager
def rigged(site: Site, folder: Path) -> Iterator[Rig]:
    """Set a site up as the archive needs it, and put it back."""
    mappings = folder / "mappings"
    mappings.mkdir()
    (mappings / "phones.csv").write_text(f"{HEAD}+447700900321,alex@example.com\n")
    users = {kind: [user for user in site.sandbox.world.directory if user.mailbox == kind] for kind in ("ok", "denied")}
    canary, outside = users["ok"][0], users["denied"][0]
    time, tenant = Time(), site.tenant
    rig = Rig(
        site=site,
        canary=canary,
        outside=outside,
        settings=read_settings({"O2_CANARY_MAILBOX": canary.mail or ""}, str(mappings)),
        graph=GraphHook(patience_seconds=20, settle_seconds=1, sleep=time.sleep, clock=time.clock),
    )
    before = tenant.application, tenant.exchange_roles
    rig.let(token=frozenset({"User.Read.All"}), exchange=MAIL_ROLES)
    yield rig
    tenant.application, tenant.exchange_roles = before
    site.sandbox.telemessage.faults.clear()


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the proxy of the machine that the tests run on."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def states(found: Preflight, check: str) -> list[State]:
    """Return what came of a check."""
    return [finding.state for finding in found.findings if finding.check == check]


def sentences(found: Preflight, check: str, state: State = State.ERROR) -> str:
    """Return what a check said of one state."""
    return "\n".join(str(each) for each in found.findings if (each.check, each.state) == (check, state))


def point_of(found: Preflight, point: str) -> OpenPoint:
    """Return an open point."""
    return next(each for each in found.open_points if each.point == point)
