"""`python -m fleetlm_client.cli`: the same as `fleetlm`."""

from fleetlm_client.cli import main

main()
