"""The playground in a real browser: `playground.mjs` against a running stack."""

from tests.e2e.javascript import run_in_browser
from tests.e2e.stack import Stack


def test_people_and_agents_talk_in_the_browser(stack: Stack) -> None:
    run_in_browser("playground.mjs", BASE=stack.web[0])
