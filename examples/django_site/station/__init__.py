"""A site that has nothing to do with SimCourier, but for what docs/django_site.md adds to it."""
