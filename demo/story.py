"""One day from start to end: start everything, let Airflow archive the day, show the book, end everything."""

from __future__ import annotations

import json
import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo import mailboxes
from demo.airflow_client import DAG, REPLAY, Airflow, TaskRun
from demo.airflow_settings import (
    GRAPH,
    SMTP,
    STAGING,
    TELEMESSAGE,
    Where,
    base_environment,
    complete,
    free_port,
    needs_sandbox,
    write_environment,
)
from demo.database import start_postgres
from demo.options import ROOT, Options
from demo.parts import Interrupted, Part, PartError, Parts, Signals, tail
from demo.runs import UP, end_up, new_run, one_at_a_time, what_is_up, write_up
from demo.screen import Screen, duration, now, shown, summarise

TASKS = ("extract", "stage_to_blob", "convert", "map_mailboxes", "import_to_mailboxes", "reconcile")
RECONCILE = "reconcile"

#: Seconds that a part may take to become ready. Far more than it needs: slow disks and busy machines are common.
READY = 180.0


class DemoError(Exception):
    """Say what kept the demo from its end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """Hold what has been started."""

    options: Options
    where: Where
    parts: Parts
    screen: Screen
    airflow: Airflow
    sandbox: dict[str, Any] | None
    environ: dict[str, str]


def relative(path: Path) -> str:
    """Give a path as one would type it from the project's root."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def wait_for(what: str, ready: Callable[[], bool], parts: Parts) -> None:
    """Wait until something is so, while every part lives."""
    deadline = time.monotonic() + READY
    while not ready():
        parts.check()
        if time.monotonic() > deadline:
            raise DemoError(f"{what} was not ready within {duration(READY)}. Logs: {relative(parts.logs)}/")
        time.sleep(0.2)


def start_sandbox(options: Options, where: Where, parts: Parts) -> Part:
    """Start the stand-ins for TeleMessage, Microsoft Graph and a mail server."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "sandbox", "--state", str(where.folder / "sandbox")]
    command += ["--seed", str(options.seed), "--items", str(options.items), "--users", str(options.users)]
    command += ["--zone", options.zone.key]
    if options.corpus:
        command += ["--corpus", str(options.corpus)]
    for day in options.quiet:
        command += ["--quiet", day.isoformat()]
    return parts.start("sandbox", command, environ=environ, cwd=ROOT)


def start(options: Options, where: Where, parts: Parts, screen: Screen) -> Scene:
    """Start every part that is needed and wait until all are healthy and the DAGs have been read."""
    airflow = str(Path(sys.executable).parent / "airflow")
    sandboxed, sandbox = needs_sandbox(os.environ), None
    with screen.step("sandbox, PostgreSQL" if sandboxed else "PostgreSQL"):
        if sandboxed:
            start_sandbox(options, where, parts)
        database = start_postgres(parts, where.folder / "postgres")
        base = base_environment(where, database, scheduled=parts.kind == "up")
        if sandboxed:
            ready = where.folder / "sandbox" / "sandbox.json"
            wait_for("The sandbox", ready.exists, parts)
            sandbox = json.loads(ready.read_text())
    with screen.step("Airflow's database"):
        parts.finish(parts.start("db-migrate", [airflow, "db", "migrate"], environ=base, cwd=ROOT))
    environ = complete(base, where, options, sandbox)
    client = Airflow(where.url.replace("localhost", "127.0.0.1"))
    with screen.step("Airflow"):
        where.staging.mkdir()
        # No log servers: everything runs on this machine, where the API server reads the files themselves.
        for name, *arguments in (
            ("api-server",),
            ("scheduler", "--skip-serve-logs"),
            ("dag-processor",),
            ("triggerer", "--skip-serve-logs"),
        ):
            parts.start(name, [airflow, name, *arguments], environ=environ, cwd=ROOT)
        wait_for("Airflow", lambda: not client.missing(), parts)
        wait_for(f"{DAG} or {REPLAY}", lambda: are_read(client), parts)
    return Scene(
        options=options, where=where, parts=parts, screen=screen, airflow=client, sandbox=sandbox, environ=environ
    )


def are_read(client: Airflow) -> bool:
    """Tell whether the DAGs have been read; raise when a file cannot be."""
    errors = client.import_errors()
    if errors:
        raise DemoError("A DAG file cannot be read:\n\n" + "\n\n".join(errors))
    return {DAG, REPLAY} <= client.dags()


def follow(scene: Scene, run_id: str) -> tuple[str, list[TaskRun]]:
    """Show the tasks until the run is over; give its end and its tasks."""
    started = time.monotonic()
    while True:
        state = scene.airflow.run_state(run_id)
        runs = list(scene.airflow.task_runs(run_id))
        scene.screen.tasks(summarise(TASKS, runs, now()), time.monotonic() - started)
        if state in ("success", "failed"):
            return state, runs
        scene.parts.check()
        time.sleep(0.5)


def task_log(where: Where, run_id: str, run: TaskRun) -> Path:
    """Find the log of the last try of a task of the archive."""
    number = f"-{run.map_index}" if run.map_index >= 0 else ""
    return where.task_logs / DAG / run_id / f"{run.task}{number}.try-{run.try_number}.log"


def readable(line: str) -> Iterator[str]:
    """Turn a line of a task's log, which is JSON, into what it says."""
    try:
        entry = json.loads(line)
    except ValueError:
        yield line
        return
    event = str(entry.get("event", ""))
    if not event.startswith("::"):  # the UI's marks for folding
        yield event
    for error in entry.get("error_detail") or []:
        yield f"{error.get('exc_type')}: {error.get('exc_value')}"


def show_failures(scene: Scene, run_id: str, runs: list[TaskRun]) -> None:
    """Say which tasks failed, where their logs lie, and how they end."""
    for run in [run for run in runs if run.state == "failed"][:3]:
        log = task_log(scene.where, run_id, run)
        number = f" number {run.map_index}" if run.map_index >= 0 else ""
        scene.screen.heading(scene.screen.bad(f"{run.task}{number} failed at try {run.try_number}"))
        for line in tail(log).splitlines():
            for text in readable(line):
                for piece in textwrap.wrap(shown(text, 1000), 104) or [""]:
                    scene.screen.line(f"  {piece}")
        scene.screen.fact("log", relative(log))


def show_plan(options: Options, where: Where, screen: Screen) -> None:
    """Say what is going to happen, and between what."""
    generated = f"{options.items:,} items, {options.users} people, seed {options.seed}"
    texts = f"{options.items:,} texts of {options.corpus.name}, {options.users} people" if options.corpus else generated
    staging = relative(where.staging)
    screen.line(screen.bold("o2-network-archiver") + screen.dim("  one day, from TeleMessage into the mailboxes"))
    screen.line()
    screen.fact("day", f"{options.day:%A} {options.day.day} {options.day:%B %Y}, {options.zone.key}")
    for name, variable, sandboxed in (
        ("source", TELEMESSAGE, f"sandbox TeleMessage: {texts}"),
        ("staging", STAGING, staging),
        ("mailboxes", GRAPH, "sandbox Microsoft Graph"),
        ("alerts", SMTP, "sandbox mail server" if needs_sandbox(os.environ) else "none"),
    ):
        given = bool(os.environ.get(variable))
        screen.fact(name, f"{variable} of the environment" if given else sandboxed)


def show_book(counts: dict[str, Any], screen: Screen) -> None:
    """Show the book: every item and every delivery in one line of it."""

    def entry(depth: int, name: str, key: str, note: str = "") -> None:
        number = counts.get(key, 0)
        text = f"  {'  ' * depth}{name:<{32 - 2 * depth}}{number:>12,}"
        screen.line(f"{text}   {screen.dim(note)}" if note and number else text)

    screen.heading("The book")
    entry(0, "items from TeleMessage", "available_from_source")
    entry(1, "converted to e-mail", "converted")
    entry(1, "rejected", "rejected", "they break the contract; each is named in the report")
    entry(1, "parked", "parked", "converted, and nobody in them has a mailbox yet")
    entry(0, "deliveries to mailboxes", "available_for_import", "an item goes to each participant's mailbox")
    entry(1, "imported", "imported")
    entry(1, "imported in part", "partially_imported", "an attachment is gone, or too large for a message")
    entry(1, "skipped", "skipped", "were there already")
    entry(1, "failed", "failed", "each is named in the report")
    balanced = counts.get("balanced") is True
    screen.line("  " + (screen.good("The book balances.") if balanced else screen.bad("The book does not balance.")))


def show_mailboxes(scene: Scene) -> bool:
    """Show a few of the e-mails that arrived; False when anything in the mailboxes is not as it should be."""
    if scene.sandbox is None or os.environ.get(GRAPH):
        scene.screen.heading("The mailboxes")
        scene.screen.line(f"  {GRAPH} is another Microsoft Graph: the demo does not look into its mailboxes.")
        return True
    compares = scene.options.corpus is not None and not os.environ.get(TELEMESSAGE)
    arrived = mailboxes.look(scene.sandbox, keep_texts=compares)
    screen = scene.screen
    screen.heading("In the mailboxes")
    for kind in mailboxes.KINDS:
        if kind in arrived.examples:
            for line in mailboxes.card(arrived.examples[kind]):
                screen.line(f"  {line}")
            screen.line()
    total = sum(arrived.copies.values())
    screen.line(f"  {total:,} e-mails in {arrived.mailboxes:,} mailboxes.")
    wrong = {"in a mailbox twice": arrived.twice, "drafts": arrived.drafts, "limits of Graph broken": arrived.breaches}
    said = ", ".join(f"{number:,} {what}" for what, number in wrong.items())
    screen.line("  " + (screen.bad(said) if any(wrong.values()) else screen.good(said)) + ".")
    return not any(wrong.values()) and (not compares or show_texts(scene, arrived.texts))


def show_texts(scene: Scene, texts: dict[str, list[str]]) -> bool:
    """Compare the texts of a corpus with those in the mailboxes; False when one differs."""
    screen, wanted = scene.screen, scene.options.items
    differing = mailboxes.differing_texts(scene.options, texts)
    if not differing:
        screen.line("  " + screen.good(f"{wanted:,} of {wanted:,} texts found, identical."))
        return True
    screen.line("  " + screen.bad(f"{wanted - len(differing):,} of {wanted:,} texts found, identical. The others:"))
    for item_id in differing[:20]:
        screen.line(f"    {item_id}")
    if len(differing) > 20:
        screen.line(f"    and {len(differing) - 20:,} more")
    return False


def show_where(scene: Scene, report: dict[str, Any] | None, *, stays: bool) -> None:
    """Say where everything lies and how to look at it."""
    screen = scene.screen
    screen.heading("To look at")
    if not os.environ.get(STAGING):
        screen.fact("staged files", f"{relative(scene.where.staging)}/")
    if report and os.environ.get(STAGING):
        screen.fact("report", report["name"], "in the staging container")
    elif report:
        short = scene.where.folder / "report.json"
        short.symlink_to(scene.where.staging / report["name"])
        screen.fact("report", relative(short))
    screen.fact("logs", f"{relative(scene.where.folder / 'logs')}/")
    if stays:
        screen.fact("Airflow", f"{scene.where.url}/dags/{DAG}", "no password")
        if scene.sandbox:
            screen.fact("mailboxes", scene.sandbox["page"], "the browser will not know the authority below")
            screen.fact("their authority", relative(Path(scene.sandbox["ca_file"])))
        show_mappings(scene)
        screen.fact("o2-archive, airflow", reading(scene.where.folder), "in a shell of its own, then the command")
        screen.fact("to end", "make down")
    else:
        screen.fact("Airflow, mailboxes", "make up", "the same, and it stays for you to click around in")


def reading(folder: Path) -> str:
    """Give the line with which a shell has the commands of a run that is up."""
    return f". {relative(Where(folder=folder, port=0).environment)}"


def show_mappings(scene: Scene) -> None:
    """Say where the mapping files lie, and how to let somebody have what waits for them."""
    folder = relative(Path(scene.environ.get("O2_MAPPINGS", ROOT / "include" / "mappings")))
    scene.screen.fact("mapping files", f"{folder}/")
    scene.screen.fact("parked items", "come by themselves, in half a minute, once somebody is added there")
    somebody = None if os.environ.get(TELEMESSAGE) else mailboxes.somebody_parked(scene.options)
    if somebody:
        scene.screen.fact("", rf"printf 'Phone,Mailbox\n{','.join(somebody)}\n' > {folder}/new.csv")
    scene.screen.fact("their runs", f"{scene.where.url}/dags/{REPLAY}")


def archive(scene: Scene, *, stays: bool) -> bool:
    """Archive the day and tell how it went; True when the run succeeded, the book balances and the texts are there."""
    scene.screen.heading(f"{DAG}, {scene.options.day}")
    run_id = scene.airflow.trigger(scene.options)
    state, runs = follow(scene, run_id)
    manifest = scene.airflow.returned(run_id, RECONCILE) or {}
    counts = manifest.get("counts") or {}
    if counts:
        show_book(counts, scene.screen)
    show_failures(scene, run_id, runs)
    identical = show_mailboxes(scene) if state == "success" else False
    others = [other for dag in (DAG, REPLAY) for other in scene.airflow.run_ids(dag) if other != run_id]
    if stays:
        scene.airflow.let_go(REPLAY)
    if others and not stays:
        scene.screen.line(scene.screen.bad(f"  The scheduler made other runs too: {', '.join(others)}"))
    show_where(scene, manifest.get("report"), stays=stays)
    return state == "success" and counts.get("balanced") is True and identical and (stays or not others)


def perform(options: Options, *, stays: bool) -> int:
    """Tell the whole story; give the exit code. Everything that was started is ended unless it is to stay."""
    screen, signals = Screen(), Signals()
    began = time.monotonic()
    code, complaint, stayed = 1, "", False
    with signals.hold():
        folder, parts = new_run("up" if stays else "demo", signals, now())
    where = Where(folder=folder, port=free_port())
    try:
        if stays:
            write_up({"folder": str(folder), "airflow": where.url, "page": ""})
        show_plan(options, where, screen)
        screen.heading("Starting")
        scene = start(options, where, parts, screen)
        if stays:
            write_up({"folder": str(folder), "airflow": where.url, "page": (scene.sandbox or {}).get("page", "")})
            write_environment(scene.environ, where.environment)
        code = 0 if archive(scene, stays=stays) else 1
        stayed = stays
    except Interrupted as interruption:
        code, complaint = 128 + interruption.number, f"Interrupted ({interruption})."
    except (PartError, DemoError) as error:
        complaint = str(error)
    finally:
        signals.deaf = True
        if complaint:
            screen.line(f"\n{screen.bad(complaint)}")
        if not stayed:
            ending = time.monotonic()
            left = parts.end()
            with suppress(FileNotFoundError):
                if stays:
                    UP.unlink()
            if left:
                code = code or 1
                screen.line(screen.bad("Could not be ended: " + ", ".join(left)))
            else:
                screen.line(
                    screen.dim(f"\nEverything that was started has ended ({duration(time.monotonic() - ending)}).")
                )
    verdict = {0: screen.good("The day is archived.")}.get(code, screen.bad("The day is not archived."))
    screen.line(f"{verdict} {screen.dim(duration(time.monotonic() - began) + ' in all')}")
    return code


def up(options: Options) -> int:
    """Start, archive the day and stay; when it is up already, say where."""
    with one_at_a_time("up"):
        there = what_is_up()
        if there:
            print(f"It is up: Airflow at {there['airflow']}/dags/{DAG}, mailboxes at {there['page'] or GRAPH}.")
            print(f"For o2-archive and airflow, in a shell of its own: {reading(Path(there['folder']))}")
            print("`make down` ends it.")
            return 0
        return perform(options, stays=True)


def down() -> int:
    """End what is up."""
    there = what_is_up()
    if there is None:
        print("Nothing is up.")
        return 0
    left = end_up(Path(there["folder"]))
    print("Could not be ended: " + ", ".join(left) if left else "It is down.")
    return 1 if left else 0
