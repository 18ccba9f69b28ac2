"""Distributions over tables of codes, inferred exactly from noisy marginals: what MST and AIM share."""
