#!/bin/bash
# Written by cpt-slurm. What it asks of Slurm goes to sbatch as arguments: see submit.sh.

source /home/me/.config/cpt/slurm.sh

folder=/shared/runs/my-run/job
job=$SLURM_JOB_ID
export CPT_JOB_LAUNCHER=slurm CPT_JOB_ID=$job CPT_JOB_FOLDER=$folder
export CPT_RANK_LOGS=$folder/logs/$job
mkdir -p "$CPT_RANK_LOGS"
rm -f "$folder/exit-$job"

end() {
    echo "$1" > "$folder/exit-$job"
    exit "$1"
}

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
MASTER_ADDR=$(scontrol show node "$first" | sed -n 's/.*NodeAddr=\([^ ]*\).*/\1/p')
MASTER_PORT=$((20000 + SLURM_JOB_ID % 5000 * 2))  # every second one: the agents take the next
export MASTER_ADDR MASTER_PORT

trap ended=143 TERM  # signals are for the run; this shell lives on to write down how it ended
trap : USR1
[ ! -e "$folder/cancel-$job" ] || end 75

srun --nodes=2 --ntasks-per-node=1 --export=ALL --cpu-bind=none --kill-on-bad-exit=0 --open-mode=append --output=/shared/runs/my-run/job/logs/"$job"/node-%n.log \
    sh -c 'export NODE_RANK=$SLURM_NODEID; exec "$@"' sh \
    /opt/cpt/bin/python -m cpt.node /shared/runs/my-run
code=$?
[ "$code" != 0 ] || code=${ended:-0}  # of a step that it has stopped waiting for, srun says 0
echo "$code" > "$folder/exit-$job"  # before looking for what others wrote there: NFS then looks too
if [ "$code" = 75 ] && [ ! -e "$folder/cancel-$job" ]; then
    scontrol requeue Incomplete "$SLURM_JOB_ID"  # does nothing to a job that scancel has ended
fi
exit "$code"
