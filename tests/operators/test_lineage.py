"""What a task tells Airflow's UI and OpenLineage: its window, what it read and wrote, its map index's name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from o2_connector.core.errors import StopError
from o2_connector.core.layout import window_of
from o2_connector.core.trail import batches_label
from o2_connector.operators.extract import ExtractOperator
from o2_connector.operators.links import PAGE, StagedLink, WindowLink
from o2_connector.operators.run import MAP_INDEX
from o2_plugin import O2Plugin
from tests.archive import YESTERDAY, Archive, archive

ITEMS = 40
KEY: Any = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Give an archive that has archived yesterday."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("o2_connector.engine.mapping_folder.SETTLED_SECONDS", 0.0)
        with archive(tmp_path_factory.mktemp("lineage"), monkeypatch, items=ITEMS, users=12) as running:
            running.run()
            yield running


def told(operator: Any, state: str = "success") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return inputs and outputs by name, as OpenLineage's own listener gets and sends them."""
    from airflow.providers.openlineage.extractors.manager import ExtractorManager
    from airflow.utils.state import TaskInstanceState
    from openlineage.client.serde import Serde

    lineage = ExtractorManager().extract_metadata(
        dagrun=SimpleNamespace(run_id="r"),
        task=operator,
        task_instance_state=TaskInstanceState(state),
        task_instance=SimpleNamespace(),
    )
    sets = json.loads(Serde.to_json(lineage))
    by_name = [{f"{each['namespace']} {each['name']}": each for each in sets[side]} for side in ("inputs", "outputs")]
    return by_name[0], by_name[1]


def statistics(sets: dict[str, Any], ending: str, side: str) -> dict[str, int | None]:
    (found,) = [each for name, each in sets.items() if name.endswith(ending)]
    facet = found[f"{side}Facets"][f"{side}Statistics"]
    return {name: facet.get(name) for name in ("rowCount", "size", "fileCount") if name in facet}


def test_staging_is_told_by_its_places_with_the_counts_of_the_book(line: Archive) -> None:
    counts = line.counts

    frozen, _ = told(line.operators["extract", -1])
    source, staged = told(line.operators["stage", 0])
    raw, converted = told(line.operators["convert", 0])
    decided, shards = told(line.operators["map", -1])
    _, report = told(line.operators["reconcile", -1])

    root = f"file {line.staging}"
    assert list(staged) == [f"{root}/windows/raw", f"{root}/attachments"]
    assert statistics(frozen, "rest/archive", "input")["rowCount"] == counts["available_from_source"]
    written = statistics(staged, "/raw", "output")
    assert written == statistics(source, "rest/archive", "input") == statistics(raw, "/raw", "input")
    assert written["rowCount"] == counts["staged"]
    assert written["size"] == sum(path.stat().st_size for path in line.staging.glob("windows/*/raw/*.jsonl"))
    attachments = len([path for path in (line.staging / "attachments").rglob("*") if path.is_file()])
    assert statistics(staged, "/attachments", "output")["fileCount"] == attachments > 0
    assert statistics(converted, "/converted", "output") == statistics(decided, "/converted", "input")
    assert statistics(converted, "/converted", "output")["rowCount"] == counts["converted"]
    assert statistics(shards, "/shards", "output")["rowCount"] == counts["available_for_import"]
    assert statistics(report, "/report", "output")["fileCount"] == 2


def test_each_mapped_import_tells_its_share_and_all_mailboxes_are_one_dataset(line: Archive) -> None:
    imports = [told(operator) for (task, _), operator in line.operators.items() if task == "import"]

    assert len(imports) > 1
    asked = [statistics(inputs, "/shards", "input")["rowCount"] for inputs, _ in imports]
    written = [statistics(outputs, "/mailboxes", "output")["rowCount"] for _, outputs in imports]
    assert sum(map(int, filter(None, asked))) == line.counts["available_for_import"]
    assert sum(map(int, filter(None, written))) == line.counts["imported"] + line.counts["partially_imported"]
    names = {name for _, outputs in imports for name in outputs}
    assert len([name for name in names if name.endswith("/mailboxes")]) == 1
    told_of = json.dumps(imports)
    assert not [user.id for user in line.sandbox.world.directory if user.id in told_of]


def test_the_part_of_a_dataset_that_a_run_had_to_do_with_is_its_subset(line: Archive) -> None:
    _, outputs = told(line.operators["convert", 0])

    (dataset,) = outputs.values()
    (location,) = dataset["outputFacets"]["subset"]["outputCondition"]["locations"]
    folder = Path(urlsplit(location).path)
    assert folder.is_dir()
    assert window_of(str(folder.relative_to(line.staging))) == line.operators["extract", -1].window


def test_before_a_task_runs_and_when_it_failed_the_same_datasets_are_told_without_what_is_not_counted_yet(
    line: Archive,
) -> None:
    for operator in list(line.operators.values()):
        fresh = type(operator).__new__(type(operator))
        fresh.__dict__.update({**operator.__dict__, "done": None, "attachments": None})

        for state in ("running", "failed"):
            inputs, outputs = told(fresh, state)

            assert set(inputs) <= set(told(operator)[0])
            assert set(outputs) <= set(told(operator)[1])
            assert not [each for each in outputs.values() if "outputStatistics" in each["outputFacets"]]


def address_of(url: str) -> tuple[str, dict[str, list[str]]]:
    parts = urlsplit(url)
    return parts.path, parse_qs(parts.query)


def test_a_task_links_to_its_window_and_to_what_it_staged_on_the_page(line: Archive) -> None:
    window = line.operators["extract", -1].window.name

    for operator in line.operators.values():
        path, query = address_of(WindowLink().get_link(operator, ti_key=KEY))
        assert (path, query) == ("/plugin/o2-archive/o2-archive/", {"window": [window]})
        path, query = address_of(StagedLink().get_link(operator, ti_key=KEY))
        assert path == "/plugin/o2-archive/o2-archive/staged"
        (stem,) = query["stem"]
        assert window_of(stem) is not None
        folder, _, name = stem.rpartition("/")
        assert [path for path in (line.staging / folder).iterdir() if path.name.startswith(name)]


def test_a_link_says_where_airflow_is_and_below_which_path(line: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/ops/")

    url = WindowLink().get_link(line.operators["reconcile", -1], ti_key=KEY)

    assert url.startswith("https://airflow.example.com/ops/plugin/o2-archive/ops/o2-archive/?window=")


def test_the_links_lead_where_the_plugin_has_put_the_page() -> None:
    (view,) = O2Plugin.external_views

    assert view["url_route"] == view["href"].strip("/") == PAGE


def test_a_task_that_failed_before_it_knew_a_window_has_no_link() -> None:
    operator = ExtractOperator(task_id="extract", timezone="Europe/London")
    with pytest.raises(StopError):
        operator.execute({"params": {"day": "no day"}, "dag_run": SimpleNamespace(**RUN)})  # type: ignore[typeddict-item]

    assert WindowLink().get_link(operator, ti_key=KEY) == StagedLink().get_link(operator, ti_key=KEY) == ""


RUN = {"run_type": "manual", "run_after": YESTERDAY, "data_interval_start": None, "data_interval_end": None}


def test_map_indexes_are_named_after_batches_and_shards(line: Archive) -> None:
    from jinja2.sandbox import SandboxedEnvironment

    names = {
        key: SandboxedEnvironment().from_string(MAP_INDEX).render(task=operator)
        for key, operator in line.operators.items()
        if key[1] >= 0
    }

    assert names["stage", 0] == names["convert", 0] == "batch b00000"
    imports = [name for (task, _), name in names.items() if task == "import"]
    assert all(re.fullmatch(r"buckets \d\d-\d\d, (1 mailbox|[2-9] mailboxes)", name) for name in imports)
    assert len(set(imports)) == len(imports) > 1


def test_a_name_of_several_batches_is_short_whatever_the_source_calls_them() -> None:
    batches = [SimpleNamespace(batch_id=f"{number}{'x' * 300}") for number in range(9)]

    assert batches_label(batches[:1]) == f"batch 0{'x' * 38}…"  # type: ignore[arg-type]
    assert batches_label(batches) == f"batches 0{'x' * 38}… to 8{'x' * 38}…"  # type: ignore[arg-type]
