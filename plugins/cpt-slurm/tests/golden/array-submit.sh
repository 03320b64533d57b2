#!/bin/bash
# What cpt-slurm asks of Slurm; run by hand it submits the same.
set -e
mkdir -p /shared/runs/my-run/job/logs
job=$(sbatch --parsable --job-name=my-run --output=/shared/runs/my-run/job/logs/%A_%a.log --open-mode=append --array=0-5%2 --nodes=1 --ntasks-per-node=1 --cpus-per-task=4 --gpus-per-node=1 --signal=USR1@120 --requeue "$(dirname "$0")/slurm.sh")
echo "$job"
