"""Search for the training noise that is best under the faults of deployment, at a bounded cost on clean rows."""
