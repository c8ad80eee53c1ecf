"""The ``/v2`` API: the same projects, nodes and links, in the words of clients of the 2.2 series.

Everything that these clients need and the server does not know is kept in the stores of projects,
nodes and links, and so moves, is copied and goes with them. Words are translated in ``wording.py``
and ``translator.py``, and nowhere else.
"""

from gns3server_v2.plugin import (
    gns3_config_schema,
    gns3_lifespan,
    gns3_listening,
    gns3_project_closed,
    gns3_project_closing,
    gns3_project_opened,
    gns3_project_updated,
    gns3_routes,
)

__all__ = [
    "gns3_config_schema",
    "gns3_lifespan",
    "gns3_listening",
    "gns3_project_closed",
    "gns3_project_closing",
    "gns3_project_opened",
    "gns3_project_updated",
    "gns3_routes",
]
