"""An admin of the site's own."""

from django.contrib import admin


class StationAdmin(admin.AdminSite):
    """With the site's name."""

    site_header = "Weather station"
