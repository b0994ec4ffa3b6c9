"""`manage.py prune`: forget old attempts. Run it every day."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import connection
from django.utils import timezone

# One batch for each transaction, so that nobody waits for long. A range scan of `attempt_created`, stopped by
# the limit.
PRUNE_ATTEMPTS = """
DELETE FROM agents_attempt WHERE id = ANY(ARRAY(
  SELECT id FROM agents_attempt WHERE created_at < %s ORDER BY created_at LIMIT %s
))
"""
BATCH = 10_000


class Command(BaseCommand):
    help = "Delete the log of agent calls that are older than some days."

    def add_arguments(self, parser: CommandParser) -> None:
        days = settings.FLEETLM.attempt_days
        parser.add_argument("--days", type=int, default=days, help=f"Days to keep; {days} by default.")

    def handle(self, *, days: int, **options: Any) -> None:
        before = timezone.now() - timedelta(days=days)
        deleted = 0
        with connection.cursor() as cursor:
            while True:
                cursor.execute(PRUNE_ATTEMPTS, [before, BATCH])
                deleted += cursor.rowcount
                if cursor.rowcount < BATCH:
                    break
        self.stdout.write(f"Deleted {deleted} attempts made before {before:%Y-%m-%d %H:%M} UTC.")
