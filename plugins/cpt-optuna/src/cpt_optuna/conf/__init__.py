"""Recipe options of cpt-optuna: YAML only."""
