#!/bin/sh
# Datasets of Bridge: sh offline_data/recipes/bridge.sh SET [--dry-run]
set -eu
FOLDER="bridge"
SETS="optimal mix random"
. "$(dirname "$0")/common.sh"

case $chosen in
optimal) run python src/dataset.py generate-bridge optimal -o bridge/optimal --episodes 500 ;;
mix) run python src/dataset.py generate-bridge mix -o bridge/mix --episodes 1000 ;;
random) random_play bridge 500 ;;
*) unknown ;;
esac
