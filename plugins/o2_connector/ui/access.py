"""Access: who may see what, by Airflow's own permissions, whatever auth manager keeps them."""

from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, HTTPException

from o2_connector.hooks.airflow_runs import ARCHIVE
from o2_connector.hooks.staging import StagingHook

READER = Depends(requires_access_dag("GET", param_dag_id=ARCHIVE))
"""Let in who may read the DAG that archives."""


def sees_people(user: GetUserDep) -> bool:
    """Tell whether somebody may read the staging connection: with it they could read everything in staging."""
    return get_auth_manager().is_authorized_connection(
        method="GET", details=ConnectionDetails(conn_id=StagingHook.default_conn_name), user=user
    )


SeesPeople = Annotated[bool, Depends(sees_people)]


def people_only(sees: SeesPeople) -> None:
    """Refuse what is personal to everybody else."""
    if not sees:
        raise HTTPException(403, "Numbers and addresses are shown to those alone who may read Airflow's connections.")


PEOPLE = Depends(people_only)
"""Let in who may see numbers and addresses."""
