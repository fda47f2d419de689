"""The user. Our own class from the first day on: Django cannot change it later without pain."""

from django.contrib.auth.models import AbstractUser


class User(AbstractUser):
    """A person who signs in: moviegoer or staff."""
