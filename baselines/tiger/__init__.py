"""TIGER: generative retrieval by semantic ids (Rajput et al., NeurIPS 2023)."""
