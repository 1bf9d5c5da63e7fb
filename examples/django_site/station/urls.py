"""The site's addresses."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import path


def front_page(request: HttpRequest) -> HttpResponse:
    """Something of the site's own."""
    del request
    return HttpResponse("The weather station", content_type="text/plain")


urlpatterns = [path("", front_page), path("office/", admin.site.urls)]
