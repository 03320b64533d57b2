#!/bin/bash
# What cpt-slurm asks of Slurm; run by hand it submits the same.
set -e
mkdir -p /shared/runs/my-run/job/logs
job=$(sbatch --parsable --job-name=my-run --output=/shared/runs/my-run/job/logs/%j.log --open-mode=append --nodes=2 --ntasks-per-node=1 --cpus-per-task=32 --gpus-per-node=8 --partition=gpu --account=lab --time=240 --signal=USR1@120 --requeue "$(dirname "$0")/slurm.sh")
echo "$job"
