"""The recipe groups, as package data; YAML only."""
