#!/bin/sh
# Datasets of Cooperative Navigation: sh offline_data/recipes/simple_spread.sh SET [--dry-run]
set -eu
FOLDER="mpe/simple_spread"
SETS="random medium-replay medium expert random-100k medium-100k"
. "$(dirname "$0")/common.sh"

# A trained policy's episodes, with its exploration noise.
collect() {
    run python src/main.py --config=matd3 --env-config=mpe with collect=True \
        "checkpoint_path=offline_data/mpe/simple_spread/policies/$1" batch_size_run=500 collect_episodes=40000 \
        "collect_to=mpe/simple_spread/$1" "collect_quality=$1" seed=0
}

# The first tenth of a full set.
first_episodes() {
    run python src/dataset.py slice "mpe/simple_spread/$1" --episodes 4000 -o "mpe/simple_spread/$1-100k"
}

case $chosen in
random) random_play mpe 40000 ;;
medium-replay)
    run python src/main.py --config=matd3 --env-config=mpe with updates_per_run=100 batch_size_run=30 t_max=97500 \
        replay_to=mpe/simple_spread/medium-replay collect_quality=medium-replay seed=0
    ;;
medium | expert) collect "$chosen" ;;
random-100k) first_episodes random ;;
medium-100k) first_episodes medium ;;
*) unknown ;;
esac
