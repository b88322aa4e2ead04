#!/bin/sh
# Datasets of speaker and listener: sh offline_data/recipes/simple_speaker_listener_v4.sh SET [--dry-run]
# `policies` trains policies of both levels: save_model_interval keeps the one after 10 000 steps.
set -eu
FOLDER="mpe/simple_speaker_listener_v4"
SETS="qmix-medium qmix-expert"
ALSO="policies"
. "$(dirname "$0")/common.sh"

case $chosen in
qmix-medium | qmix-expert)
    run python src/main.py --config=qmix --env-config=mpe with collect=True \
        env_args.key=simple_speaker_listener_v4 env_args.continuous_actions=False \
        "checkpoint_path=offline_data/mpe/simple_speaker_listener_v4/policies/$chosen" epsilon_start=0.1 \
        epsilon_finish=0.1 batch_size_run=100 collect_episodes=4000 \
        "collect_to=mpe/simple_speaker_listener_v4/$chosen" "collect_quality=${chosen#qmix-}" seed=0
    ;;
policies)
    run python src/main.py --config=qmix --env-config=mpe with env_args.key=simple_speaker_listener_v4 \
        env_args.continuous_actions=False gamma=0.95 target_update_interval_or_tau=0.01 t_max=100000 \
        test_nepisode=500 test_interval=10000 save_model_interval=10000 seed=0
    ;;
*) unknown ;;
esac
