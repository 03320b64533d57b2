#!/bin/bash
# What cpt-slurm asks of Slurm; run by hand it submits the same.
set -e
mkdir -p /shared/runs/my-run/job/logs
job=$(sbatch --parsable --job-name=my-run --output=/shared/runs/my-run/job/logs/%j.log --open-mode=append --nodes=2 --ntasks-per-node=1 --cpus-per-task=96 --gres=gpu:h100:8 --signal=USR1@120 --no-requeue --dependency=afterok:41:40 --kill-on-invalid-dep=yes "$(dirname "$0")/slurm.sh")
echo "$job"
job=$(sbatch --parsable --job-name=my-run --output=/shared/runs/my-run/job/logs/%j.log --open-mode=append --nodes=2 --ntasks-per-node=1 --cpus-per-task=96 --gres=gpu:h100:8 --signal=USR1@120 --no-requeue --kill-on-invalid-dep=yes --dependency=afternotok:"$job" "$(dirname "$0")/slurm.sh" "$job")
echo "$job"
job=$(sbatch --parsable --job-name=my-run --output=/shared/runs/my-run/job/logs/%j.log --open-mode=append --nodes=2 --ntasks-per-node=1 --cpus-per-task=96 --gres=gpu:h100:8 --signal=USR1@120 --no-requeue --kill-on-invalid-dep=yes --dependency=afternotok:"$job" "$(dirname "$0")/slurm.sh" "$job")
echo "$job"
