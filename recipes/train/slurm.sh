#!/bin/bash
# Four nodes of eight GPUs train the branches of a recipe:
#   sbatch recipes/train/slurm.sh recipes/tinyr1.yaml
# The first node runs the recipe; each branch's launcher starts one worker a GPU on all nodes. The
# store must lie on a file system that all of them see. Killed or out of time: submit it again.
#SBATCH --job-name=tracecraft
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --time=24:00:00
set -euo pipefail

recipe=${1:?which recipe?}
export HEAD_NODE=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export PORT=$((20000 + SLURM_JOB_ID % 20000))

exec .venv/bin/tracecraft run "$recipe"
