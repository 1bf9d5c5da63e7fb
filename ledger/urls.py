"""The site's addresses."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from ledger import pages, views, watching
from ledger.sign_in import SignInForm

admin.autodiscover()
admin.site.site_header = "SimCourier"
admin.site.site_title = "SimCourier"
admin.site.index_title = "Deliveries and storage"
admin.site.login_form = SignInForm

handler400 = views.refused
handler500 = views.broken

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/backends", views.backends),
    path("api/deliveries/<uuid:delivery_id>", views.delivery),
    path("d/<str:key>/", pages.delivery_page, name="delivery-page"),
    path("d/<str:key>/keep", pages.keep),
    path("d/<str:key>/plots/<int:number>.png", pages.delivery_picture),
    path("d/<str:key>/send-again", pages.again),
    path("favicon.ico", views.favicon),
    path("healthz", views.healthz),
    path("metrics", watching.metrics),
    path("readyz", watching.readyz),
]
