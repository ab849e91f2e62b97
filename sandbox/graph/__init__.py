"""A strict Microsoft Graph for one tenant in memory; GRAPH.md beside this folder says what it keeps and from where."""

from sandbox.graph.app import graph_app
from sandbox.graph.limits import Breach, Limits
from sandbox.graph.login import FederatedCredential
from sandbox.graph.tenant import Tenant

__all__ = ["Breach", "FederatedCredential", "Limits", "Tenant", "graph_app"]
