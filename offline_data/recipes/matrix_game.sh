#!/bin/sh
# Datasets of the XOR and penalty games: sh offline_data/recipes/matrix_game.sh SET [--dry-run]
set -eu
FOLDER="matrix_game"
SETS="xor/ab xor/ab-ba xor/aa-ab-ba xor/random penalty/random"
. "$(dirname "$0")/common.sh"

case $chosen in
xor/ab) run python src/dataset.py generate-xor AB -o matrix_game/xor/ab ;;
xor/ab-ba) run python src/dataset.py generate-xor AB,BA -o matrix_game/xor/ab-ba ;;
xor/aa-ab-ba) run python src/dataset.py generate-xor AA,AB,BA -o matrix_game/xor/aa-ab-ba --episodes 60 ;;
xor/random) run python src/dataset.py generate-xor random -o matrix_game/xor/random ;;
penalty/random) random_play matrix_game 100 env_args.key=penalty ;;
*) unknown ;;
esac
