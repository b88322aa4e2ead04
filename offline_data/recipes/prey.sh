#!/bin/sh
# Preys of Predator-Prey and World: sh offline_data/recipes/prey.sh TASK [--dry-run]
set -eu
SETS="simple_tag simple_world"
. "$(dirname "$0")/common.sh"

case $chosen in
simple_tag | simple_world)
    run python src/main.py --config=matd3 --env-config=mpe with "env_args.key=$chosen" env_args.control=prey seed=0 \
        t_max=300000 local_results_path=results/preys
    run python src/policy.py prey "results/preys/models/matd3_seed0_${chosen}_"* --task "$chosen" \
        -o "offline_data/mpe/$chosen/prey.safetensors" --force
    ;;
*) unknown ;;
esac
