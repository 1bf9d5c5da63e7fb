"""The site's addresses."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from ledger import front_page, pages, views, watching
from ledger.sign_in import SignInForm

admin.autodiscover()
admin.site.site_header = "SimCourier"
admin.site.site_title = "SimCourier"
admin.site.index_title = "All tables"
admin.site.site_url = None
admin.site.enable_nav_sidebar = False  # the bar of base_site.html leads everywhere
admin.site.login_form = SignInForm

handler400 = views.refused
handler500 = views.broken

urlpatterns = [
    path("", front_page.overview_page, name="overview"),
    path("overview/now", front_page.overview_now, name="overview-now"),
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
