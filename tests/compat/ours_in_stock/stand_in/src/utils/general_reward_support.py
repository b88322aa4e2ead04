def test_alg_config_supports_reward(args):
    return args.common_reward
