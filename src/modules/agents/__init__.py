from modules.agents.bcq_ns_agent import BCQNSAgent
from modules.agents.bcq_rnn_ns_agent import BCQRNNNSAgent
from modules.agents.mlp_agent import MLPAgent
from modules.agents.mlp_ns_agent import MLPNSAgent
from modules.agents.rnn_agent import RNNAgent
from modules.agents.rnn_ns_agent import RNNNSAgent

REGISTRY = {
    "rnn": RNNAgent,
    "rnn_ns": RNNNSAgent,
    "mlp": MLPAgent,
    "mlp_ns": MLPNSAgent,
    "bcq_ns": BCQNSAgent,
    "bcq_rnn_ns": BCQRNNNSAgent,
}
