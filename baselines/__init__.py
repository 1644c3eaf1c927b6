"""The baselines: one file a model, imported as ``cpbench.baselines`` and found by name through entry points."""
