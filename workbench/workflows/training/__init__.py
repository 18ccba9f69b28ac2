"""SISA ensembles: train shards, publish versions, predict."""
