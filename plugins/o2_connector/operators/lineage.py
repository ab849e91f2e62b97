"""Lineage: a task's trail in OpenLineage's terms. Imported only by OpenLineage's own listener."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from o2_connector.core.trail import MAILBOXES, TELEMESSAGE, Flow, Trail
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.staging import StagingHook
from o2_connector.hooks.telemessage import TeleMessageHook

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage


def operator_lineage(trail: Trail) -> OperatorLineage[Any, Any]:
    """Return what a task reads and writes as datasets with statistics.

    A dataset is a place, the same in every run; which part of it a run had to do with is the subset's location. So a
    lineage graph has a dozen datasets, not a dozen a day. All mailboxes are one dataset.
    """
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset, OutputDataset
    from openlineage.client.generated.base import InputDatasetFacet, OutputDatasetFacet
    from openlineage.client.generated.base_subset_dataset import (
        InputSubsetInputDatasetFacet,
        LocationSubsetCondition,
        OutputSubsetOutputDatasetFacet,
    )
    from openlineage.client.generated.input_statistics_input_dataset import InputStatisticsInputDatasetFacet
    from openlineage.client.generated.output_statistics_output_dataset import OutputStatisticsOutputDatasetFacet

    staging = StagingHook()

    def location(stem: str) -> LocationSubsetCondition:
        return LocationSubsetCondition(locations=[staging.url(stem[:-1] if stem.endswith(("/", ".")) else stem)])

    def counted(flow: Flow) -> bool:
        return (flow.items, flow.size, flow.objects) != (None, None, None)

    def read(flow: Flow) -> InputDataset:
        facets: dict[str, InputDatasetFacet] = {}
        if counted(flow):
            facets["inputStatistics"] = InputStatisticsInputDatasetFacet(
                rowCount=flow.items, size=flow.size, fileCount=flow.objects
            )
        if flow.stem:
            facets["subset"] = InputSubsetInputDatasetFacet(inputCondition=location(flow.stem))
        return InputDataset(*_name(staging, flow.place), inputFacets=facets)

    def written(flow: Flow) -> OutputDataset:
        facets: dict[str, OutputDatasetFacet] = {}
        if counted(flow):
            facets["outputStatistics"] = OutputStatisticsOutputDatasetFacet(
                rowCount=flow.items, size=flow.size, fileCount=flow.objects
            )
        if flow.stem:
            facets["subset"] = OutputSubsetOutputDatasetFacet(outputCondition=location(flow.stem))
        return OutputDataset(*_name(staging, flow.place), outputFacets=facets)

    return OperatorLineage(
        inputs=[read(flow) for flow in trail.reads], outputs=[written(flow) for flow in trail.writes]
    )


def _name(staging: StagingHook, place: str) -> tuple[str, str]:
    """Return a dataset's namespace and name (OpenLineage: "Dataset Naming")."""
    if place == TELEMESSAGE:
        url = TeleMessageHook().base_url
    elif place == MAILBOXES:
        access = GraphHook().access
        url = f"{access.graph_url}/{access.authority.rpartition('/')[2]}/{MAILBOXES}"
    else:
        url = staging.url(place)
    parts = urlsplit(url)
    if parts.scheme == "file":
        return "file", parts.path
    return f"{parts.scheme}://{parts.netloc}", parts.path.strip("/")
