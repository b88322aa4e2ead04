#!/bin/sh
# Datasets of Predator-Prey and World: sh offline_data/recipes/pursuit.sh TASK/SET [--dry-run]
# TASK/policies trains the predators, whose checkpoints are the policies of the sets of levels.
set -eu
FOLDER="mpe"
SETS="simple_tag/random simple_tag/medium-replay simple_tag/medium simple_tag/expert simple_world/random simple_world/medium-replay simple_world/medium simple_world/expert"
ALSO="simple_tag/policies simple_world/policies"
. "$(dirname "$0")/common.sh"

case $task in
simple_tag) length=1200000 replay="batch_size_run=25 updates_per_run=50 t_max=62500" ;;
simple_world) length=800000 replay="batch_size_run=32 updates_per_run=50 t_max=80000" ;;
*) unknown ;;
esac

# Train predators, or let them play, against the bundled prey.
matd3() {
    run python src/main.py --config=matd3 --env-config=mpe with "env_args.key=$task" seed=0 "$@"
}

case $level in
random) random_play mpe 40000 "env_args.key=$task" ;;
medium-replay) matd3 $replay "replay_to=mpe/$chosen" collect_quality=medium-replay ;;
medium | expert)
    matd3 collect=True "checkpoint_path=offline_data/mpe/$task/policies/$level" exploration_noise=0.1 \
        batch_size_run=500 collect_episodes=40000 "collect_to=mpe/$chosen" "collect_quality=$level"
    ;;
policies) matd3 "t_max=$length" save_model_interval=5000 test_interval=20000 local_results_path=results/predators ;;
*) unknown ;;
esac
