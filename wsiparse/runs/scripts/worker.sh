#!/usr/bin/env bash
# One Dask worker of a run; `run.sh` beside this file hands it in, once for each worker.
@worker_header@
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=@cpus@
@worker_resources@
@setup@
python=@python@
exec "$python" -m dask worker --scheduler-file "$1" @worker@
