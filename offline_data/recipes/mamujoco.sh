#!/bin/sh
# Datasets of multi-agent MuJoCo: sh offline_data/recipes/mamujoco.sh ROBOT/SET [--dry-run]
# Sets have the published sizes; a set with -20k at its end holds about 20 000 of its transitions, and is bundled.
# ROBOT/policies trains the behaviour: its checkpoints are the policies of the sets of levels.
set -eu
FOLDER="mamujoco"
SETS="Hopper-3x1/expert Hopper-3x1/medium Hopper-3x1/medium-replay Hopper-3x1/medium-expert Hopper-3x1/expert-20k Hopper-3x1/medium-20k Hopper-3x1/medium-replay-20k Hopper-3x1/medium-expert-20k Ant-2x4/expert Ant-2x4/medium Ant-2x4/medium-replay Ant-2x4/medium-expert Ant-2x4/expert-20k Ant-2x4/medium-20k Ant-2x4/medium-replay-20k Ant-2x4/medium-expert-20k HalfCheetah-6x1/expert HalfCheetah-6x1/medium HalfCheetah-6x1/medium-replay HalfCheetah-6x1/medium-expert HalfCheetah-6x1/expert-20k HalfCheetah-6x1/medium-20k HalfCheetah-6x1/medium-replay-20k HalfCheetah-6x1/medium-expert-20k HalfCheetah-2x3/random HalfCheetah-2x3/medium-replay HalfCheetah-2x3/medium HalfCheetah-2x3/expert HalfCheetah-2x3/random-20k HalfCheetah-2x3/medium-replay-20k HalfCheetah-2x3/medium-20k HalfCheetah-2x3/expert-20k"
ALSO="Hopper-3x1/policies Ant-2x4/policies HalfCheetah-6x1/policies HalfCheetah-2x3/policies"
. "$(dirname "$0")/common.sh"

robot=${chosen%/*}
level=${chosen#*/}
small=${level##*-20k}
level=${level%-20k}
task="env_args.key=${robot%-*} env_args.partition=${robot#*-}"

# How a robot learns to walk; how much slower where all of its training episodes are kept; how many episodes a level has;
# the noise of its players.
case $robot in
Hopper-3x1)
    learning="batch_size_run=8 batch_size=8 buffer_size=8 minibatch=64 seed=3" walk="epochs=5 t_max=450000"
    replay="epochs=2 t_max=1300000" expert=1500 medium=4000 noise=0.2
    ;;
Ant-2x4)
    task="$task env_args.include_cfrc_ext_in_observation=False"
    learning="ratio=team batch_size_run=4 batch_size=4 buffer_size=4 minibatch=128 seed=1" walk="t_max=700000"
    replay="epochs=3 t_max=1750000" expert=1000 medium=1000 noise=0.05
    ;;
HalfCheetah-6x1)
    learning="ratio=team batch_size_run=4 batch_size=4 buffer_size=4 seed=1" walk="t_max=800000"
    replay="epochs=3 t_max=1000000" expert=1000 medium=1000 noise=0.15
    ;;
HalfCheetah-2x3)
    learning="ratio=team batch_size_run=4 batch_size=4 buffer_size=4 seed=1" walk="t_max=1400000"
    replay="epochs=6 t_max=460000" expert=1000 medium=1000 noise=0.1
    ;;
*) unknown ;;
esac

mappo() {
    run python src/main.py --config=mappo --env-config=mamujoco with $task "$@"
}

# Whole episodes until there are about 20 000 transitions.
part_of() {
    case $1 in
    Hopper-3x1/medium-replay) echo 60 ;;
    Hopper-3x1/medium) echo 80 ;;
    Hopper-3x1/expert) echo 30 ;;
    *) echo 20 ;;
    esac
}

case $level in
expert | medium)
    if [ "$level" = expert ]; then episodes=$expert; else episodes=$medium; fi
    if [ -n "$small" ]; then episodes=$(part_of "$robot/$level"); fi
    mappo collect=True "checkpoint_path=offline_data/mamujoco/$robot/policies/$level" "exploration_noise=$noise" \
        batch_size_run=10 "collect_episodes=$episodes" "collect_to=mamujoco/$chosen" "collect_quality=$level" seed=0
    ;;
esac
