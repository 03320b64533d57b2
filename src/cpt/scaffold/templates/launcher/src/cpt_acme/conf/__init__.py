"""Recipe options of this package: YAML only."""
