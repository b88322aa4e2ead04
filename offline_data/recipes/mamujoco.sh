#!/bin/sh
# Datasets of multi-agent MuJoCo: sh offline_data/recipes/mamujoco.sh ROBOT/SET [--dry-run]
# Sets have the published sizes; those with -20k are the first 20 000 transitions of the sets of levels, and about as
# many of the other sets' episodes, drawn at random. ROBOT/policies trains the behaviour policies.
set -eu
FOLDER="mamujoco"
SETS="Hopper-3x1/expert Hopper-3x1/medium Hopper-3x1/medium-replay Hopper-3x1/medium-expert Ant-2x4/expert Ant-2x4/medium Ant-2x4/medium-replay Ant-2x4/medium-expert HalfCheetah-6x1/expert HalfCheetah-6x1/medium HalfCheetah-6x1/medium-replay HalfCheetah-6x1/medium-expert HalfCheetah-2x3/random HalfCheetah-2x3/medium-replay HalfCheetah-2x3/medium HalfCheetah-2x3/expert"
ALSO="Hopper-3x1/policies Ant-2x4/policies HalfCheetah-6x1/policies HalfCheetah-2x3/policies"
. "$(dirname "$0")/common.sh"

robot=${chosen%/*}
level=${chosen#*/}
task="env_args.key=${robot%-*} env_args.partition=${robot#*-}"

# What robots need to learn to walk, and how much slower they learn where the replay is to end at the medium level.
case $robot in
Hopper-3x1) learning="batch_size_run=8 batch_size=8 buffer_size=8 minibatch=64 epochs=5 seed=3" length=450000 replay="epochs=2 t_max=1300000" ;;
Ant-2x4)
    task="$task env_args.include_cfrc_ext_in_observation=False"
    learning="ratio=team batch_size_run=4 batch_size=4 buffer_size=4 minibatch=128 seed=1" length=700000 replay="epochs=3 t_max=1750000"
    ;;
HalfCheetah-6x1) learning="ratio=team batch_size_run=4 batch_size=4 buffer_size=4 seed=1" length=800000 replay="epochs=3 t_max=1000000" ;;
HalfCheetah-2x3) learning="ratio=team batch_size_run=4 batch_size=4 buffer_size=4 seed=1" length=1400000 replay="epochs=6 t_max=460000" ;;
*) unknown ;;
esac
