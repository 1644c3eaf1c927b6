"""Any of RecBole's sequential models as a Recommender: ``cpbench run --model recbole:NAME`` (docs/recbole.md)."""
