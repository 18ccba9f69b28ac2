"""Requests over HTTP: the server, and the tokens of those who ask."""
