"""cpt on Kubernetes: a run is a Kubeflow PyTorchJob."""

from cpt_kubernetes.launcher import KubernetesLauncher
from cpt_kubernetes.options import KubernetesOptions, Toleration

__all__ = ["KubernetesLauncher", "KubernetesOptions", "Toleration"]
