"""Who works at the station."""

from django.contrib.auth.models import AbstractUser
from django.db import models


class Member(AbstractUser):
    """A user of the site."""

    shift = models.CharField(max_length=20, blank=True)
