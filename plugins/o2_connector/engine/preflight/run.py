"""Run the preflight: every system is tried as the archive uses it, before anything is archived."""

from __future__ import annotations

from datetime import UTC, datetime

from o2_connector.core.errors import ConnectorError
from o2_connector.core.facts import CONVERTER_VERSION
from o2_connector.core.preflight import Area, Preflight
from o2_connector.core.settings import Settings
from o2_connector.engine.ownership import Rhythm
from o2_connector.engine.preflight.canary import Canary
from o2_connector.engine.preflight.canary_checks import NO_CANARY, CanaryChecks
from o2_connector.engine.preflight.checks import Heard, Runner
from o2_connector.engine.preflight.connections import connection_check, held
from o2_connector.engine.preflight.directory_points import directory_points
from o2_connector.engine.preflight.graph_permissions import permission_checks
from o2_connector.engine.preflight.mailbox_points import mailbox_points
from o2_connector.engine.preflight.mapping import mapping_checks
from o2_connector.engine.preflight.staging import staging_checks
from o2_connector.engine.preflight.telemessage import telemessage_checks
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.graph_login import CLOUDS
from o2_connector.hooks.staging import StagingHook
from o2_connector.hooks.telemessage import TeleMessageHook

PATIENCE_SECONDS = 30.0
"""How long one request to Graph is tried: what does not answer is found to be so."""


def preflight(
    settings: Settings,
    telemessage: TeleMessageHook,
    graph: GraphHook,
    staging: StagingHook,
    *,
    outside: str | None,
    heard: Heard,
    rhythm: Rhythm | None = None,
) -> Preflight:
    """Check everything, put the open points to the tenant, and leave no mailbox changed.

    :param settings: its canary is the mailbox that is tried.
    :param outside: address of a mailbox that the application must not open.
    :param heard: told of each finding as soon as it is there.
    :param rhythm: of the signs by which imports know that the canary mailbox is in use.
    """
    now = datetime.now(UTC)
    at = int(now.timestamp() * 1000)
    connections = {
        "telemessage": (Area.TELEMESSAGE, telemessage.telemessage_conn_id),
        "graph": (Area.GRAPH, graph.graph_conn_id),
        "staging": (Area.STAGING, staging.staging_conn_id),
    }
    known = {text for _, conn_id in connections.values() for text in held(conn_id)}
    runner = Runner(known | set(filter(None, (settings.canary, outside, settings.mappings))), heard)
    runner.check(connection_check(system, *where) for system, where in connections.items())
    runner.check(telemessage_checks(telemessage))
    runner.check(permission_checks(graph, outside, at=at, by_number=settings.directory_numbers))
    runner.check(staging_checks(staging, now))
    runner.check(mapping_checks(settings))
    runner.observe(directory_points(graph))
    if settings.canary is None:
        runner.check([NO_CANARY])
    else:
        keeps = staging if runner.passed("staging.write_once") else None
        canary = Canary(graph, settings.message_class, rhythm or Rhythm())
        _try(runner, canary, CanaryChecks(canary, settings.canary, keeps, at=at))
    return Preflight(
        made=now.replace(microsecond=0),
        converter=CONVERTER_VERSION,
        cloud=_cloud(graph),
        findings=runner.findings,
        open_points=runner.points,
    )


def _try(runner: Runner, canary: Canary, checks: CanaryChecks) -> None:
    try:
        try:
            runner.check(checks.first())
            runner.observe(mailbox_points(canary))
        finally:  # also when somebody interrupts it
            runner.check(checks.last())
    finally:
        canary.leave()


def _cloud(graph: GraphHook) -> str:
    try:
        where = graph.access.graph_url
    except ConnectorError:
        return "none"
    return next((name for name, (_, host) in CLOUDS.items() if where.startswith(f"{host}/")), "another")
