"""The admin of agents in a real browser: `admin.mjs` against a running stack."""

from tests.e2e.javascript import run_in_browser
from tests.e2e.stack import Stack

PASSWORD = "of-the-admin-in-this-test"


def test_an_operator_tests_rotates_pauses_and_skips_in_the_browser(stack: Stack) -> None:
    stack.manage(
        "createsuperuser",
        "--noinput",
        "--username",
        "operator",
        DJANGO_SUPERUSER_PASSWORD=PASSWORD,
        DJANGO_SUPERUSER_EMAIL="",
    )
    run_in_browser("admin.mjs", BASE=stack.web[0], PASSWORD=PASSWORD)
