#!/usr/bin/env bash
# wsiparse on SLURM without Dask: an array of 8 jobs, each of which takes every 8th slide by itself.
# Written by `wsiparse submit`; read it, keep it, edit it, and hand it in again with `sbatch`: what is done stays done.
#SBATCH --job-name=wsiparse-results
#SBATCH --output=/data/results/submit/%x-%A-%a.log
#SBATCH --open-mode=append
#SBATCH --time=12:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --array=0-7
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --mem=64G
set -uo pipefail

output=/data/results
python=/opt/wsiparse/bin/python

"$python" -m wsiparse run /data/cohort.csv \
  -o /data/results \
  --config /data/slurm.toml --cluster local --shard "$SLURM_ARRAY_TASK_ID/8" &
run=$!

# Out of time: stop, queue up again, go on. `scancel` stops and does not come back. A crash goes on, five times at most.
why=ended
crashes="$output/submit/crashes-$SLURM_JOB_ID"
trap 'why=time; kill -TERM "$run"' USR1
trap 'why=cancelled; kill -TERM "$run"' TERM
while true; do
  wait "$run"
  code=$?
  kill -0 "$run" 2>/dev/null || break
done
case "$why $code" in
  *" 0" | *" 2" | *" 3") ;; # all done, refused, some slides failed
  "cancelled "*) ;;
  "time "*) scontrol requeue "$SLURM_JOB_ID" ;;
  *)
    echo "exit code $code" >>"$crashes"
    [ "$(wc -l <"$crashes")" -gt 5 ] || scontrol requeue "$SLURM_JOB_ID"
    ;;
esac
exit "$code"
