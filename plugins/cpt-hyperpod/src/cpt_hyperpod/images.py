"""Amazon's published images for continued pre-training, by region. Their tags move: they name no fixed build."""

from __future__ import annotations

REGISTRIES = {"us-east-1": "708977205387", "us-west-2": "176779409107", "ap-northeast-1": "878185805882"}
"""Accounts of the registries that hold the training images."""
INIT_REGISTRIES = {**REGISTRIES, "eu-west-2": "470633809225", "eu-central-1": "874160969292"}
"""Accounts of the registries that hold the init image. Source: `nova_regional_parameters.json` of aws/sagemaker-hyperpod-recipes."""
TAGS = {"amazon.nova-2-": "SM-HP-CPT-V2-latest", "amazon.nova-": "HP-CPT-latest"}


def training_image(region: str, model_type: str) -> str | None:
    """The image that trains `model_type` in `region`; None where Amazon publishes none."""
    tag = next(tag for prefix, tag in TAGS.items() if model_type.startswith(prefix))
    return _uri(REGISTRIES, region, f"nova-fine-tune-repo:{tag}")


def init_image(region: str) -> str | None:
    """The image of the init container in `region`; None where Amazon publishes none."""
    return _uri(INIT_REGISTRIES, region, "init-container-repo:latest")


def moves(image: str) -> bool:
    """Whether `image` may be another one tomorrow."""
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return not digest and (not tag or tag.endswith("latest"))


def _uri(registries: dict[str, str], region: str, name: str) -> str | None:
    return f"{registries[region]}.dkr.ecr.{region}.amazonaws.com/{name}" if region in registries else None
