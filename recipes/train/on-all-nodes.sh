#!/bin/bash
# A launcher for `launch:` inside a Slurm job: accelerate on every node, eight processes each.
# trainer: {use: trl, launch: [train/on-all-nodes.sh, train/fsdp2.yaml]}
set -euo pipefail

config=$1
shift
# SLURM_NODEID must be read on each node, so that part stays in quotes.
exec srun --overlap --ntasks-per-node=1 bash -c '
  exec .venv/bin/accelerate launch --config_file "$0" --num_machines "$SLURM_NNODES" \
    --num_processes "$((SLURM_NNODES * 8))" --machine_rank "$SLURM_NODEID" \
    --main_process_ip "$HEAD_NODE" --main_process_port "$PORT" "$@"
' "$config" "$@"
