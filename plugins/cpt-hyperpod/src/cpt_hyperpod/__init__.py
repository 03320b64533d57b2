"""Amazon Nova on SageMaker HyperPod, from a recipe of ours."""

from cpt_hyperpod.launcher import HyperpodLauncher

__all__ = ["HyperpodLauncher"]
