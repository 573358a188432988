#!/usr/bin/env bash
# wsiparse on SLURM: this small job holds the Dask scheduler and the run; @jobs@ workers are jobs of their own, which
# start as the queue lets them. Losing one costs the blocks that it held.
# Written by `wsiparse submit`; read it, keep it, edit it, and hand it in again with `sbatch`: what is done stays done.
@header@
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
set -uo pipefail
@setup@
output=@output@
python=@python@
scheduler="$output/submit/scheduler-$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}.json"
export DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING=False # the run shares its blocks out itself

"$python" -m dask scheduler --port 0 --no-dashboard@interface@ --scheduler-file "$scheduler" &
meeting=$!
trap 'kill "$meeting"' EXIT
workers=$(sbatch --parsable --array=1-@jobs@ "$output/submit/worker.sh" "$scheduler") || exit
trap 'scancel "$workers"; kill "$meeting" ${watching:+"$watching"}' EXIT
@run@ --cluster "$scheduler" &
run=$!
{
  while sleep 60; do
    left=$(squeue --noheader --jobs="$workers" 2>/dev/null) && [ -z "$left" ] && break
  done
  echo "all workers have ended: the run stops" >&2
  kill -TERM "$run"
} &
watching=$!
@follow@
