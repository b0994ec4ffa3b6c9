#!/usr/bin/env python
"""The door for people at a terminal: `python manage.py help` lists the commands."""

import os
import sys


def main() -> None:
    """Run one management command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fleetlm.settings")
    if sys.argv[1:2] == ["up"]:
        os.environ.setdefault("FLEETLM_ENV", "development")  # what `up` is for; the default is production
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
