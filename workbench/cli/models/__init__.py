"""Generators and ensembles: fit, sample, train, predict; long work as jobs."""
