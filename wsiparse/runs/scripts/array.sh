#!/usr/bin/env bash
# wsiparse on SLURM without Dask: an array of @jobs@ jobs, each of which takes every @jobs@th slide by itself.
# Written by `wsiparse submit`; read it, keep it, edit it, and hand it in again with `sbatch`: what is done stays done.
@header@
#SBATCH --array=0-@last@
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=@cpus@
@resources@
set -uo pipefail
@setup@
output=@output@
python=@python@

@run@ --cluster local --shard "$SLURM_ARRAY_TASK_ID/@jobs@" &
run=$!
@follow@
