"""API keys: for servers, which may speak for anyone."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now


class ApiKey(models.Model):
    """A key is stored as its SHA-256 only; the key itself is shown once, when it is made."""

    SCOPES = ("read", "write", "admin")

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=200)
    prefix = models.CharField(max_length=12, editable=False)
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=8), default=list)
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
