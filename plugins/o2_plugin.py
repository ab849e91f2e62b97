"""Plugin: what Airflow's own UI shows of the archive. The one file that Airflow's plugin loader may see."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin


class O2Plugin(AirflowPlugin):
    """Put the archive page into the navigation, and what it is served by beside Airflow's API."""

    name = "o2_network_archiver"

    external_views: ClassVar = [
        {
            "name": "O2 archive",
            "href": "o2-archive/",
            "destination": "nav",
            "category": "browse",
            "url_route": "o2-archive",
        }
    ]

    # Not shown anywhere: it fills in Airflow's own forms.
    react_apps: ClassVar = [
        {
            "name": "O2 archive forms",
            "bundle_url": "o2-archive/static/forms.js",
            "destination": "base",
            "url_route": "o2-archive-forms",
        }
    ]

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:
        """Return what the API server mounts. The rest of Airflow reads this file as well, and needs none of it."""
        from o2_connector.ui.app import app

        return [{"app": app, "name": "O2 archive", "url_prefix": "/o2-archive"}]
