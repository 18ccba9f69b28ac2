"""The HTTP door: OpenDSR requests, predictions, certificates, metrics. Reads a call, calls one workflow, shows the result."""
