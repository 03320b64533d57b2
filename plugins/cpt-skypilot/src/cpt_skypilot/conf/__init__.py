"""The recipe options of this package; YAML only."""
