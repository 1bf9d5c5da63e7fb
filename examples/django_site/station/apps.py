"""An admin of the site's own."""

from django.contrib.admin.apps import AdminConfig


class StationAdminConfig(AdminConfig):
    """Used wherever an app registers with ``admin.site``."""

    default_site = "station.admin.StationAdmin"
