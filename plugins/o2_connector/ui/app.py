"""App: what Airflow's API server serves of the archive page. It reads; no route changes anything."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

import msgspec
from airflow.api_fastapi.common.db.common import SessionDep
from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as StarletteHTTPException

from o2_connector.core.errors import ConnectorError, StopError
from o2_connector.core.manifest import StagedObject
from o2_connector.core.overview import State
from o2_connector.core.window import Window
from o2_connector.hooks.staging import StagingHook
from o2_connector.ui.access import PEOPLE, READER, SeesPeople
from o2_connector.ui.archive import Archive, look, mark, open_archive
from o2_connector.ui.listing import listing
from o2_connector.ui.opened import opened, waiting_of
from o2_connector.ui.people import people_csv
from o2_connector.ui.staged import router as staged_router

STATIC = Path(__file__).parent / "static"
PAGE = (STATIC / "page.html").read_text(encoding="utf-8")
CHUNK = 1 << 20

HEADERS = {
    # The frame that shows the page is Airflow's own; nothing comes from anywhere else.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}

ArchiveDep = Annotated[Archive, Depends(open_archive)]

app = FastAPI(title="O2 archive", docs_url=None, redoc_url=None, openapi_url=None)
# The page's script and style: they hold nothing, and a browser asks for them before anybody has logged in.
app.mount("/static", StaticFiles(directory=STATIC), name="static")
app.include_router(staged_router)


@app.middleware("http")
async def guarded(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
    """Say what a browser may do with an answer, and that it keeps no data."""
    answer = await go_on(request)
    answer.headers.update(HEADERS)
    answer.headers["Cache-Control"] = "no-cache" if "/static/" in request.url.path else "no-store"
    return answer


@app.exception_handler(ConnectorError)
async def in_words(request: Request, error: ConnectorError) -> Response:
    """Say what cannot be read and what to do; where that is to mend a connection, open the archive anew next time."""
    if isinstance(error, StopError):
        open_archive.cache_clear()
    return _refusal(request, 503, str(error))


@app.exception_handler(StarletteHTTPException)
async def refused(request: Request, error: StarletteHTTPException) -> Response:
    """Refuse; lead who opens the page without having logged in to Airflow's login, and from there back."""
    if error.status_code == 401 and _is_page(request):
        login = f"{request.base_url.path.removesuffix('o2-archive/')}api/v2/auth/login"
        return RedirectResponse(f"{login}?next={quote(str(request.url), safe='')}")
    return _refusal(request, error.status_code, str(error.detail))


@app.get("/", dependencies=[READER])
def page(archive: ArchiveDep, session: SessionDep, window: str | None = None) -> Response:
    """Serve the page; what it shows first is in it, unless a window is to be opened."""
    return _page(b"null" if window else _listing(archive, session))


@app.get("/api/windows", dependencies=[READER])
def windows(
    archive: ArchiveDep, session: SessionDep, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """Return every window and every day in short; nothing when it is what who asks has already."""
    body = _listing(archive, session)
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    if tag == (if_none_match or "").removeprefix("W/"):
        return Response(status_code=304, headers={"ETag": tag})
    return Response(body, media_type="application/json", headers={"ETag": tag})


@app.get("/api/windows/{name}", dependencies=[READER])
def window(name: str, archive: ArchiveDep, session: SessionDep, people: SeesPeople, run: str | None = None) -> Response:
    """Return all that is known of one window; of one of its runs, where one is asked for."""
    now = look(archive, session)
    return _json(opened(archive, now, session, _named(name), run, people=people))


@app.get("/api/windows/{name}/waiting.csv", dependencies=[READER, PEOPLE])
def waiting(name: str, archive: ArchiveDep) -> Response:
    """Return what waits of a window now, with the people that it waits for."""
    window = _named(name)
    content = people_csv(waiting_of(archive.staging, window))
    return Response(content, media_type="text/csv", headers=_attachment(f"o2-waiting-{window.name}.csv"))


@app.get("/api/books/{digest}/report.{kind}", dependencies=[READER])
def report(digest: str, kind: Literal["json", "csv"], archive: ArchiveDep) -> Response:
    """Return a report as it is staged, held against its digest while it passes."""
    link = archive.chain.links.get(digest) or archive.chain.refresh().get(digest)
    if link is None:
        raise HTTPException(404, "There is no such book.")
    staged, media = (link.report, "application/json") if kind == "json" else (link.log, "text/csv")
    name = f"o2-{'replay' if link.replay else 'report'}-{link.window.name}-{digest[:8]}.{kind}"
    headers = {**_attachment(name), "Content-Length": str(staged.size)}
    return StreamingResponse(_verified(archive.staging, staged), media_type=media, headers=headers)


def _page(data: bytes, status_code: int = 200) -> Response:
    text = data.decode().replace("<", "\\u003c")  # so that no value can end the element that holds it
    return Response(PAGE.replace("{{ data }}", text), status_code=status_code, media_type="text/html")


def _refusal(request: Request, status_code: int, detail: str) -> Response:
    said = {"detail": detail}
    return _page(msgspec.json.encode(said), status_code) if _is_page(request) else _json(said, status_code)


def _is_page(request: Request) -> bool:
    """Tell whether a person looks at the answer; what is downloaded says so as well, and is none."""
    return "/api/" not in request.url.path and "text/html" in request.headers.get("accept", "")


def _listing(archive: Archive, session: SessionDep) -> bytes:
    stands_at = mark(archive, session)
    if (kept := archive.kept.get(stands_at)) is not None:
        return kept
    now = look(archive, session)
    body = msgspec.json.encode(listing(now.overview, archive.zone, now.at, len(archive.chain.altered)))
    archive.kept.clear()
    if not any(row.state is State.RUNNING for row in now.overview.rows):  # how long that takes changes by itself
        archive.kept[stands_at] = body
    return body


def _named(name: str) -> Window:
    window = Window.named(name)
    if window is None:
        raise HTTPException(404, "That is no window's name.")
    return window


def _verified(staging: StagingHook, staged: StagedObject) -> Iterator[bytes]:
    """Open an object, and return its pieces: the first is read before the answer begins, so that it may fail."""
    with ExitStack() as stack:
        reader = stack.enter_context(staging.reader(staged))
        first = reader.read(CHUNK)
        rest = stack.pop_all()

    def pieces() -> Iterator[bytes]:
        with rest:
            yield first
            while piece := reader.read(CHUNK):
                yield piece

    return pieces()


def _attachment(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def _json(value: object, status_code: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status_code=status_code, media_type="application/json")
