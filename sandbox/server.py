"""Run the sandbox: the TeleMessage site, Microsoft Graph and a mail sink, in a thread, over TLS, on free ports."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from aiosmtpd.smtp import SMTP
from starlette.types import ASGIApp

from sandbox.faults import Faults
from sandbox.graph import Tenant, graph_app
from sandbox.mailsink import MailSink
from sandbox.telemessage import Site, telemessage_app
from sandbox.tls import Certificates, certificates
from sandbox.world import World

# The same in every sandbox, so that a compose file can name them before one runs.
TENANT_ID = "5a1e5a1e-0002-4000-8000-000000000001"
CLIENT_ID = "5a1e5a1e-0002-4000-8000-000000000002"
CLIENT_SECRET = "sandbox-client-secret"  # noqa: S105 - opens nothing but a sandbox
USERNAME = "archive@example.com"
PASSWORD = "sandbox-password"  # noqa: S105 - opens nothing but a sandbox

SECONDS_TO_START = 30
SECONDS_TO_STOP = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Sandbox:
    """Say where a running sandbox is, how to log in to it, and what is inside."""

    telemessage_url: str
    username: str
    password: str
    graph_url: str
    authority: str
    tenant_id: str
    client_id: str
    client_secret: str
    page_url: str
    smtp_host: str
    smtp_port: int
    ca_file: Path
    mappings: Path
    world: World
    telemessage: Site
    graph: Tenant
    mails: list[EmailMessage]

    def details(self) -> dict[str, Any]:
        """Return all that a client needs to know, as JSON has it."""
        return {
            "telemessage": {"url": self.telemessage_url, "username": self.username, "password": self.password},
            "graph": {
                "url": self.graph_url,
                "authority": self.authority,
                "tenant_id": self.tenant_id,
                "client_id": self.client_id,
                "client_secret": self.client_secret,
            },
            "smtp": {"host": self.smtp_host, "port": self.smtp_port},
            "page": self.page_url,
            "ca_file": str(self.ca_file),
            "mappings": str(self.mappings),
        }


@contextmanager
def running(
    state: Path,
    *,
    seed: int = 1,
    items: int = 50,
    users: int = 12,
    zone: str = "Europe/London",
    corpus: Path | None = None,
    batch_size: int = 500,
    host: str = "127.0.0.1",
    name: str | None = None,
    telemessage_port: int = 0,
    graph_port: int = 0,
    smtp_port: int = 0,
    latency: float = 0.0,
    message_mb: int = 35,
    quiet: Collection[date] = (),
) -> Iterator[Sandbox]:
    """Run a sandbox while the context lasts; certificates, mails and the mapping file lie in `state`.

    `name` is the host name by which other machines reach it, a port of nought is any free one, `latency` the seconds
    that every request to Graph takes, `message_mb` the mebibytes that a message may have with its attachments, and
    `quiet` the days on which nothing was captured.
    """
    tls = certificates(state / "tls", name)
    world = World(seed, users, items, zone, corpus, batch_size, quiet)
    mappings = state / "mappings"
    mappings.mkdir(parents=True, exist_ok=True)
    (mappings / "phones.csv").write_text(world.mapping_csv(), encoding="utf-8", newline="")
    site = Site(world=world, username=USERNAME, password=PASSWORD, faults=Faults(seed))
    tenant = Tenant(
        world.directory,
        TENANT_ID,
        CLIENT_ID,
        CLIENT_SECRET,
        faults=Faults(seed),
        latency=latency,
        message_bytes=message_mb * 1024 * 1024,
    )
    sink = MailSink(state / "mails")
    sockets = [_listening(host, port) for port in (telemessage_port, graph_port, smtp_port)]
    ports = [listening.getsockname()[1] for listening in sockets]
    reached = name or "localhost"
    with _serving([telemessage_app(site), graph_app(tenant)], sink, sockets, tls):
        yield Sandbox(
            telemessage_url=f"https://{reached}:{ports[0]}",
            username=USERNAME,
            password=PASSWORD,
            graph_url=f"https://{reached}:{ports[1]}/v1.0",
            authority=f"https://{reached}:{ports[1]}/{TENANT_ID}",
            tenant_id=TENANT_ID,
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            page_url=f"https://{reached}:{ports[1]}/mailboxes",
            smtp_host=reached,
            smtp_port=ports[2],
            ca_file=tls.authority,
            mappings=mappings,
            world=world,
            telemessage=site,
            graph=tenant,
            mails=sink.mails,
        )


def _listening(host: str, port: int) -> socket.socket:
    """Take a port before anything is served, so that nobody else can and its number is known."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    return listening


@contextmanager
def _serving(apps: list[ASGIApp], sink: MailSink, sockets: list[socket.socket], tls: Certificates) -> Iterator[None]:
    logging.getLogger("uvicorn.error").addFilter(_not_cut_on_purpose)
    servers = [_https(app, tls) for app in apps]
    thread = threading.Thread(target=uvloop.run, args=(_until_stopped(servers, sink, sockets, tls),), name="sandbox")
    thread.start()
    try:
        deadline = time.monotonic() + SECONDS_TO_START
        while not all(server.started for server in servers):
            if not thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the sandbox did not start; what is above says why")
            time.sleep(0.005)
        yield
    finally:
        for server in servers:
            server.should_exit = True
        thread.join(SECONDS_TO_STOP)
        # A client that leaves an idle TLS connection open would be waited for.
        for server in servers:
            server.force_exit = True
        thread.join()


def _https(app: ASGIApp, tls: Certificates) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http="httptools",
            lifespan="off",
            access_log=False,
            log_config=None,
            ssl_certfile=tls.certificate,
            ssl_keyfile=tls.key,
            # Clients that pause between two requests must not meet a connection that has just been closed.
            timeout_keep_alive=120,
        )
    )


async def _until_stopped(
    servers: list[uvicorn.Server], sink: MailSink, sockets: list[socket.socket], tls: Certificates
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    mail = await asyncio.get_running_loop().create_server(
        lambda: SMTP(sink, hostname="sandbox", enable_SMTPUTF8=True, tls_context=context), sock=sockets[-1]
    )
    try:
        await asyncio.gather(
            *(server.serve(sockets=[listening]) for server, listening in zip(servers, sockets, strict=False))
        )
    finally:
        mail.close()


def _not_cut_on_purpose(record: logging.LogRecord) -> bool:
    """Keep quiet about answers that a fault left unfinished."""
    return "returned without completing response" not in record.getMessage()
