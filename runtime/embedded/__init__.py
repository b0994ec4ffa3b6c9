"""Postgres and Valkey out of wheels: the real engines, for `make up` and the tests."""
