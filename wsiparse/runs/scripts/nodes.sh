#!/usr/bin/env bash
# wsiparse on SLURM: one job whose nodes hold a Dask scheduler, a worker for each accelerator, and the run itself.
# Written by `wsiparse submit`; read it, keep it, edit it, and hand it in again with `sbatch`: what is done stays done.
@header@
#SBATCH --nodes=@nodes@
#SBATCH --ntasks-per-node=@tasks@
#SBATCH --cpus-per-task=@cpus@
@resources@
set -uo pipefail
@setup@
output=@output@
python=@python@
scheduler="$output/submit/scheduler-$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}.json"
export DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING=False # the run shares its blocks out itself

srun --overlap --nodes=1 --ntasks=1 --cpus-per-task=1 \
  "$python" -m dask scheduler --port 0 --no-dashboard@interface@ --scheduler-file "$scheduler" &
@run@ --cluster "$scheduler" &
run=$!
{
  srun --overlap --cpus-per-task=@cpus@@gpu_task@ \
    "$python" -m dask worker --scheduler-file "$scheduler" @worker@
  echo "all workers have ended: the run stops" >&2
  kill -TERM "$run"
} &
trap "kill $!" EXIT
@follow@
