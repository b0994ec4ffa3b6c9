"""The name of the authentication scheme, for the schema; `ApiView` authenticates on the loop."""

from typing import Any

from rest_framework.authentication import BaseAuthentication


class BearerAuthentication(BaseAuthentication):
    """An API key or a participant token in the Authorization header."""

    def authenticate(self, request: Any) -> None:
        """Nothing: see `fleetlm.auth.authenticate`."""
