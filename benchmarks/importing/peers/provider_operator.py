"""Peer: the Azure provider's MSGraphAsyncOperator, an operator for each message, as a DAG's author has it.

The operator defers, its trigger sends the request, the operator completes: that much is done here, in one process and
in the manner of the triggerer, which makes the trigger from its serialised form. What Airflow adds to each message
(a task instance, its scheduling, a worker's process) is left out, in the peer's favour. Four at a time for each
mailbox, all mailboxes at once, as the others; the hook's HTTP client has a hundred connections and cannot be told more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import structlog
from airflow.providers.microsoft.azure.hooks.msgraph import KiotaRequestAdapterHook
from airflow.providers.microsoft.azure.operators.msgraph import MSGraphAsyncOperator
from airflow.providers.microsoft.azure.triggers.msgraph import MSGraphTrigger
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import TaskDeferred

from benchmarks.importing.client import CONCURRENT, by_mailbox, serve

CONNECTION = "o2_graph_peer"


def prepare(task: dict[str, Any]) -> Callable[[], int]:
    """Make ready to create every message through an operator of its own."""
    # Each message is worth some lines, which a task's log would get
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    as_the_task_runner = {"MSGraphAsyncOperator__sentinel": ExecutorSafeguard.sentinel_value}
    messages = by_mailbox(task["messages"])
    context = {"ti": SimpleNamespace(map_index=-1, xcom_pull=lambda **_: None)}

    async def create(mailbox: str, folder: str, message: dict[str, Any]) -> None:
        operator = MSGraphAsyncOperator(
            task_id="create",
            url=f"users/{mailbox}/mailFolders/{folder}/messages",
            method="POST",
            data=message,
            conn_id=CONNECTION,
        )
        try:
            operator.execute(context, **as_the_task_runner)  # type: ignore[arg-type]
        except TaskDeferred as deferred:
            _, arguments = deferred.trigger.serialize()
        async for event in MSGraphTrigger(**arguments).run():
            operator.execute_complete(context, event.payload)  # type: ignore[arg-type]

    async def worker(mailbox: str, folder: str, waiting: Iterator[dict[str, Any]]) -> int:
        made = 0
        for message in waiting:
            await create(mailbox, folder, message)
            made += 1
        return made

    async def whole() -> int:
        await KiotaRequestAdapterHook(conn_id=CONNECTION).run(url="users")  # or each of them would ask for a token
        workers = []
        for (mailbox, folder), of_mailbox in messages.items():
            waiting = iter(of_mailbox)
            workers += [worker(mailbox, folder, waiting) for _ in range(CONCURRENT)]
        return sum(await asyncio.gather(*workers))

    return lambda: asyncio.run(whole())


if __name__ == "__main__":
    serve(prepare)
