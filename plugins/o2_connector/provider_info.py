"""What Airflow learns of this package from its entry point: the connection types, and the forms that they have.

Every part of Airflow reads this when it starts, so nothing is imported here. Staging needs no type of its own: it is
the Azure provider's `wasb`, or the standard provider's `fs`.
"""

from __future__ import annotations

from typing import Any

_PORT = "443 (without one, Airflow's own Test button refuses)"
"""Airflow 3.3.2's page asks for a test with port 0 where none is stored, and its API takes that for another port."""

_CA_FILE = {
    "label": "Certificate authority",
    "description": "Path of a PEM file, as every worker and the API server see it, with the only authorities to trust."
    " Empty: the machine's own store.",
    "schema": {"type": ["string", "null"]},
}

TELEMESSAGE = {
    "connection-type": "o2_telemessage",
    "hook-class-name": "o2_connector.hooks.telemessage.TeleMessageHook",
    "hook-name": "TeleMessage archive (O2)",
    "ui-field-behaviour": {
        "hidden-fields": ["schema"],
        "relabeling": {"host": "Site", "login": "User name"},
        "placeholders": {
            "host": "https://archive.example.com",
            "port": _PORT,
            "login": "an administration account of the O2 Network Archiver",
        },
    },
    "conn-fields": {"ca_file": _CA_FILE},
}

GRAPH = {
    "connection-type": "o2_graph",
    "hook-class-name": "o2_connector.hooks.graph.GraphHook",
    "hook-name": "Microsoft 365 archive (Graph)",
    "ui-field-behaviour": {
        "hidden-fields": ["host", "schema"],
        "relabeling": {"login": "Application (client) id", "password": "Client secret"},
        "placeholders": {
            "port": _PORT,
            "login": "00000000-0000-0000-0000-000000000000",
            "password": "the secret's value, not its id; or a certificate's passphrase",
        },
    },
    "conn-fields": {
        "tenant_id": {
            "label": "Tenant id",
            "description": "Directory (tenant) id of the organisation, from the application's page in Entra.",
            "schema": {"type": ["string", "null"]},
        },
        "cloud": {
            "label": "Cloud",
            "description": "Microsoft's cloud that the tenant is in; worldwide serves GCC, too.",
            "schema": {
                "type": ["string", "null"],
                "enum": ["worldwide", "gcc_high", "dod", "china"],
                "default": "worldwide",
            },
        },
        "certificate_file": {
            "label": "Certificate file",
            "description": "In place of a client secret: path of a PEM or PFX file, as every worker and the API server"
            " see it, with the private key and its certificate. Its passphrase, if it has one, goes where the client"
            " secret would.",
            "schema": {"type": ["string", "null"]},
        },
        "federated_token_file": {
            "label": "Federated token file",
            "description": "In place of both: path of the token that a workload identity has; leave the client secret"
            " and the certificate file empty.",
            "schema": {"type": ["string", "null"]},
        },
        "ca_file": _CA_FILE,
        "graph_url": {
            "label": "Graph URL",
            "description": "For another Graph than the cloud's own, the sandbox's for one; with its version.",
            "schema": {"type": ["string", "null"]},
        },
        "authority": {
            "label": "Login URL",
            "description": "For another login than the cloud's own; with the tenant.",
            "schema": {"type": ["string", "null"]},
        },
    },
}


def get_provider_info() -> dict[str, Any]:
    """Return what Airflow's providers manager asks of a package (`airflow/provider_info.schema.json`)."""
    return {
        "package-name": "o2-network-archiver",
        "name": "O2 network archiver",
        "description": "Archives O2 texts and calls from TeleMessage into Microsoft 365 mailboxes.",
        "connection-types": [TELEMESSAGE, GRAPH],
    }
