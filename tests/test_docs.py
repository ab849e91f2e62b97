"""What the pages say is so: what the converter makes, what can be set, what there is to make, what a report says."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from shutil import copytree

import pytest

from o2_connector.core.outcomes import Cause, remedy
from o2_connector.core.report import Counts, Report, log_rows
from o2_connector.core.settings import read_settings
from o2_connector.core.window import Window

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    *("README.md", "CHANGELOG.md", "docs/architecture.md", "docs/emails.md", "docs/mapping-files.md"),
    *("docs/operating.md", "docs/notices.md", "include/mappings/README.md", "sandbox/README.md"),
)
DAY = Window(start=datetime(2026, 11, 20, tzinfo=UTC), end=datetime(2026, 11, 21, tzinfo=UTC))
ROOMS = "core|hooks|engine|operators|triggers|commands|ui"


@cache
def text_of(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def test_the_page_of_e_mails_is_of_todays_converter(tmp_path: Path) -> None:
    copytree(ROOT / "docs", tmp_path / "docs")

    command = [sys.executable, str(tmp_path / "docs/emails/make.py"), "--text"]
    subprocess.run(command, check=True, env={"PYTHONPATH": str(ROOT / "plugins")})

    made = (tmp_path / "docs/emails.md").read_text("utf-8")
    assert made == text_of("docs/emails.md"), "run docs/emails/make.py"


class Asked(Mapping[str, str]):
    """Be an environment without a variable that knows which it was asked for."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def settings() -> set[str]:
    environ = Asked()
    read_settings(environ, "include/mappings")
    return environ.names


def test_every_setting_is_explained_wherever_one_looks_for_it_and_none_that_nobody_reads() -> None:
    assert set(re.findall(r"^\| `(O2_\w+)` \|", text_of("README.md"), re.MULTILINE)) == settings()
    assert set(re.findall(r"^(O2_\w+)=", text_of(".env.example"), re.MULTILINE)) == settings()
    assert set(re.findall(r"^  (O2_\w+): ", text_of("docker-compose.yaml"), re.MULTILINE)) == settings()


def test_a_setting_has_the_same_default_in_the_example_and_in_the_compose_file() -> None:
    example = dict(re.findall(r"^(O2_\w+)=(.*)$", text_of(".env.example"), re.MULTILINE))
    compose = dict(re.findall(r"^  (O2_\w+): \$\{\w+:-(.*)\}$", text_of("docker-compose.yaml"), re.MULTILINE))

    assert example == compose
    assert read_settings({**example, "O2_MAPPINGS": ""}, "m") == read_settings({}, "m")


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", text_of("Makefile"), re.MULTILINE))


def test_make_help_says_every_target() -> None:
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert set(re.findall(r"^  make ([a-z-]+) +\S", said, re.MULTILINE)) == targets()


@pytest.mark.parametrize("page", PAGES)
def test_whatever_a_page_says_to_make_can_be_made(page: str) -> None:
    code = re.findall(r"```.*?```|`[^`]+`", text_of(page), re.DOTALL)

    assert {name for each in code for name in re.findall(r"\bmake\s+([a-z-]+)", each)} <= targets()


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_is_explained_with_its_remedy(cause: Cause) -> None:
    assert f"| {cause} | {remedy(cause)} |\n" in text_of("README.md")


@pytest.mark.parametrize("replay", [False, True])
def test_every_line_of_a_report_is_explained(replay: bool) -> None:
    report = Report(
        window=DAY,
        run_id="manual__1",
        completed_at=DAY.end + timedelta(hours=1),
        dry_run=False,
        counts=Counts(),
        details=(),
        mapping_sha256=None,
        replay=replay,
    )
    explained = text_of("README.md").partition("## What each outcome means")[2]

    assert [name for name, _ in log_rows(report) if name not in explained] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_within_the_project_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        found = (ROOT / page).parent / name if name else ROOT / page
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", found.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}, target


@pytest.mark.parametrize("page", PAGES)
def test_every_module_that_a_page_names_is_there(page: str) -> None:
    for name in re.findall(rf"`((?:{ROOMS})/\w+\.py)`", text_of(page)):
        assert (ROOT / "plugins" / "o2_connector" / name).is_file(), name


def test_every_room_is_in_the_architecture() -> None:
    rooms = {path.parent.name for path in (ROOT / "plugins" / "o2_connector").glob("*/__init__.py")}

    assert {f"`plugins/o2_connector/{room}/`" for room in rooms} <= set(
        re.findall(r"^\| (`\S+`) \|", text_of("docs/architecture.md"), re.MULTILINE)
    )


@pytest.mark.parametrize("page", PAGES)
def test_no_page_has_a_place_left_to_be_filled_in(page: str) -> None:
    assert re.findall(r"^(?:[A-Z]{6,}|TODO.*|TBD.*)$", text_of(page), re.MULTILINE) == []
