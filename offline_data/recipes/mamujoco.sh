#!/bin/sh
# Datasets of multi-agent MuJoCo: sh offline_data/recipes/mamujoco.sh ROBOT/SET [--dry-run]
# Sets have the published sizes; a set with -20k at its end holds about 20 000 of its transitions, and is bundled.
# ROBOT/policies trains the behaviour: its checkpoints are the policies of the sets of levels.
set -eu
FOLDER="mamujoco"
SETS="Hopper-3x1/expert Hopper-3x1/medium Hopper-3x1/medium-replay Hopper-3x1/medium-expert Hopper-3x1/expert-20k Hopper-3x1/medium-20k Hopper-3x1/medium-replay-20k Hopper-3x1/medium-expert-20k Ant-2x4/expert Ant-2x4/medium Ant-2x4/medium-replay Ant-2x4/medium-expert Ant-2x4/expert-20k Ant-2x4/medium-20k Ant-2x4/medium-replay-20k Ant-2x4/medium-expert-20k HalfCheetah-6x1/expert HalfCheetah-6x1/medium HalfCheetah-6x1/medium-replay HalfCheetah-6x1/medium-expert HalfCheetah-6x1/expert-20k HalfCheetah-6x1/medium-20k HalfCheetah-6x1/medium-replay-20k HalfCheetah-6x1/medium-expert-20k HalfCheetah-2x3/random HalfCheetah-2x3/medium-replay HalfCheetah-2x3/medium HalfCheetah-2x3/expert HalfCheetah-2x3/random-20k HalfCheetah-2x3/medium-replay-20k HalfCheetah-2x3/medium-20k HalfCheetah-2x3/expert-20k"
ALSO="Hopper-3x1/policies Ant-2x4/policies HalfCheetah-6x1/policies HalfCheetah-2x3/policies"
. "$(dirname "$0")/common.sh"

small=""
case $level in *-20k) small="-20k" ;; esac
level=${level%-20k}
body="env_args.key=${task%-*} env_args.partition=${task#*-}"

# How a robot learns to walk, how much slower where its training episodes are the dataset, the noise of its trained
# policies, and how many episodes there are of each level and in its part.
case $task in
Hopper-3x1)
    learning="batch_size_run=8 batch_size=8 buffer_size=8 minibatch=64 seed=3" walk="epochs=5 t_max=450000"
    replay="epochs=2 t_max=1300000" noise=0.2
    expert=1500 expert_part=30 medium=4000 medium_part=60 replay_part=60
    ;;
Ant-2x4)
    body="$body env_args.include_cfrc_ext_in_observation=False"
    learning="ratio=team batch_size_run=4 batch_size=4 buffer_size=4 minibatch=128 seed=1" walk="t_max=700000"
    replay="epochs=3 t_max=1750000" noise=0.05
    expert=1000 expert_part=20 medium=1000 medium_part=20 replay_part=34
    ;;
HalfCheetah-6x1)
    learning="ratio=team batch_size_run=4 batch_size=4 buffer_size=4 seed=1" walk="t_max=800000"
    replay="epochs=3 t_max=1000000" noise=0.15
    expert=1000 expert_part=20 medium=1000 medium_part=20 replay_part=20
    ;;
HalfCheetah-2x3)
    learning="ratio=team batch_size_run=4 batch_size=4 buffer_size=4 seed=1" walk="t_max=1400000"
    replay="epochs=6 t_max=460000" noise=0.1
    expert=1000 expert_part=20 medium=1000 medium_part=20 replay_part=20
    ;;
*) unknown ;;
esac

mappo() {
    run python src/main.py --config=mappo --env-config=mamujoco with $body "$@"
}

# A trained policy's episodes, with its noise. A -20k set has the first ones of the full set.
collect() {
    episodes=$1
    if [ -n "$small" ]; then episodes=$2; fi
    mappo collect=True "checkpoint_path=offline_data/mamujoco/$task/policies/$level" "exploration_noise=$noise" \
        batch_size_run=10 "collect_episodes=$episodes" "collect_to=mamujoco/$chosen" "collect_quality=$level" seed=0
}

# Some of a full set's episodes, at random.
part() {
    run python src/dataset.py slice "mamujoco/$task/$level" --episodes "$1" --seed 0 -o "mamujoco/$chosen"
}

case $level in
expert) collect "$expert" "$expert_part" ;;
medium) collect "$medium" "$medium_part" ;;
medium-replay)
    if [ -n "$small" ]; then part "$replay_part"; else
        mappo $learning $replay "replay_to=mamujoco/$chosen" collect_quality=medium-replay
    fi
    ;;
medium-expert)
    run python src/dataset.py merge "mamujoco/$task/medium$small" "mamujoco/$task/expert$small" \
        -o "mamujoco/$chosen"
    ;;
random)
    episodes=1000
    if [ -n "$small" ]; then episodes=20; fi
    random_play mamujoco "$episodes" $body
    ;;
policies) mappo $learning $walk save_model_interval=50000 local_results_path=results/behaviours ;;
*) unknown ;;
esac
