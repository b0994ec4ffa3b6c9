"""`python -m bench.growth.seed`: migrates the database of `DATABASE_URL`, registers the agent, prints an API key."""

import django


def main() -> None:
    """Do so."""
    django.setup()
    from django.core.management import call_command

    from agents.registration import register_agent
    from bench.growth.shape import AGENT
    from fleetlm.auth.keys import make_key

    call_command("migrate", verbosity=0, interactive=False)
    register_agent(AGENT, "http://127.0.0.1:9/")
    print(make_key("growth", ["read", "write"])[1])


if __name__ == "__main__":
    main()
