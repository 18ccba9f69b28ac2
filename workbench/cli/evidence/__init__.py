"""Evidence: certificates and their keys, lineage, searches, the state of the workspace."""
