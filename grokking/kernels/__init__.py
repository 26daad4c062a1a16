"""What folds the model and evaluates its tables: one `Backend`, three of them, one place that chooses.

`choice` and `compiled` import neither torch nor numpy; `backend` has the protocol, `reference`, `cpu`
and `cuda` the implementations, `parity` what a GPU must pass before its kernel is trusted.
"""
