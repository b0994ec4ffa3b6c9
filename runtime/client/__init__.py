"""A client of a running server, for `manage.py client`: REST, and the Phoenix-protocol socket with resume.

It speaks only the public protocols and touches neither the database nor Valkey.
"""
