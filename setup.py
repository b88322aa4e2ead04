"""Installs what epymarl-offline needs. The code itself runs from `src/` (EPyMARL's layout)."""

from setuptools import setup

setup(
    name="epymarl-offline",
    version="0.2.0",
    description="Offline multi-agent reinforcement learning in the EPyMARL style",
    license="Apache-2.0",
    python_requires=">=3.11",
    # Stock's top-level names (utils, envs, modules, ...) are too generic for site-packages: nothing is installed as a
    # package; an editable install makes the console launcher, and `import epymarl_offline`, find this
    # checkout's `src/`.
    package_dir={"": "launcher"},
    py_modules=["epymarl_offline_launcher", "epymarl_offline"],
    install_requires=[
        "torch>=2.6",
        "numpy>=2.0",
        "sacred>=0.8.7",
        "setuptools<82",  # sacred 0.8.7 imports pkg_resources, gone in setuptools 82
        "PyYAML>=6",
        "pymongo>=4.11,<4.14",  # 4.14 refuses MongoDB 4.0 servers, still common beside Omniboard
        "h5py>=3.11",
        "gymnasium>=1.0",
        "safetensors>=0.6",  # policies of the prey
        "mpe2>=1.1",
        "pettingzoo>=1.25",
        "mujoco>=3.2",
        "gymnasium-robotics>=1.4",
        "matplotlib>=3.9",
        "pillow>=10",
        "tqdm>=4.66",
        "GitPython>=3.1",
    ],
    extras_require={
        "test": [
            "pytest>=8",
            "pytest-xdist>=3.6",
            "hypothesis>=6",
            "mongomock>=4.3",
            "scipy>=1.14",  # the exact solutions that ComaDICE is held against
            "ruff>=0.8",
            "mypy>=1.13",
            "types-PyYAML",
            "tensorboard>=2.17",
            "lbforaging>=2.0",
            "onnx>=1.17",
            "onnxruntime>=1.20",
            "imageio-ffmpeg>=0.6",
            "rliable>=1.2",
            "arch<8",
            "pandas<3",
        ],
        "lbf": ["lbforaging>=2.0"],
        "tensorboard": ["tensorboard>=2.17"],
        "wandb": ["wandb>=0.20"],
        "onnx": ["onnx>=1.17", "onnxruntime>=1.20"],  # policy.py export --to onnx
        "sweep": ["ray>=2.40"],  # search.py --backend ray
        "video": ["imageio-ffmpeg>=0.6"],  # policy.py play -o FILE.mp4
        "report": ["rliable>=1.2", "arch<8", "pandas<3"],  # arch 7 cannot be imported beside pandas 3
        "vault": ["tensorstore>=0.1.60"],  # dataset.py import og-marl
        "stock-scripts": ["seaborn>=0.13", "click>=8.1"],  # of EPyMARL's plot_results.py and search.py
    },
    entry_points={"console_scripts": ["epymarl-offline=epymarl_offline_launcher:main"]},
)
