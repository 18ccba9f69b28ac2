"""Requests that other systems hand in, over HTTP or as files, and what they are answered."""
