#!/usr/bin/env bash
# wsiparse on SLURM: one job whose nodes hold a Dask scheduler, a worker for each accelerator, and the run itself.
# Written by `wsiparse submit`; read it, keep it, edit it, and hand it in again with `sbatch`: what is done stays done.
#SBATCH --job-name=wsiparse-results
#SBATCH --output=/data/results/submit/%x-%j.log
#SBATCH --open-mode=append
#SBATCH --time=12:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=2
#SBATCH --mem=64G
set -uo pipefail

output=/data/results
python=/opt/wsiparse/bin/python
scheduler="$output/submit/scheduler-$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}.json"
export DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING=False # the run shares its blocks out itself

srun --overlap --nodes=1 --ntasks=1 --cpus-per-task=1 \
  "$python" -m dask scheduler --port 0 --no-dashboard --scheduler-file "$scheduler" &
"$python" -m wsiparse run /data/cohort.csv \
  -o /data/results \
  --config /data/slurm.toml --cluster "$scheduler" &
run=$!
{
  srun --overlap --cpus-per-task=8 --gpus-per-task=1 \
    "$python" -m dask worker --scheduler-file "$scheduler" --nthreads 4 --resources "GPU=1 READ=2" --memory-limit 0 --no-dashboard --death-timeout 120
  echo "all workers have ended: the run stops" >&2
  kill -TERM "$run"
} &
trap "kill $!" EXIT

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
