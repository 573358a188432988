#!/usr/bin/env bash
# One Dask worker of a run; `run.sh` beside this file hands it in, once for each worker.
#SBATCH --job-name=wsiparse-results
#SBATCH --output=/data/results/submit/%x-%j.log
#SBATCH --open-mode=append
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --mem=64G

python=/opt/wsiparse/bin/python
exec "$python" -m dask worker --scheduler-file "$1" --nthreads 4 --resources "GPU=1 READ=2" --memory-limit 0 --no-dashboard --death-timeout 120
