"""Recipe options that cpt-slurm brings: YAML only."""
