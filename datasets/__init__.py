"""The dataset cards: one TOML file a dataset, read by ``cpbench.data.card``."""
