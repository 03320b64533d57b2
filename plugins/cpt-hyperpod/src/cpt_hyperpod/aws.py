"""The AWS APIs, and what goes wrong on the way to them, in words that a person can act on."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from cpt.errors import Fault

CREDENTIALS_CURE = "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
TIMEOUT_S, ATTEMPTS = 10, 3
NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "TokenRetrievalError", "SSOTokenLoadError")
EXPIRED = ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch")
DENIED = ("403", "AccessDenied", "AccessDeniedException", "Forbidden")


class Aws:
    """Clients of one region; credentials and endpoints are the environment's.

    Args:
        region: The region.
    """

    def __init__(self, region: str) -> None:
        self._region = region

    @cached_property
    def sts(self) -> Any:
        """Who we are."""
        return self._client("sts")

    @cached_property
    def sagemaker(self) -> Any:
        """Clusters."""
        return self._client("sagemaker")

    @cached_property
    def s3(self) -> Any:
        """Buckets and objects."""
        return self._client("s3")

    def _client(self, service: str) -> Any:
        import boto3  # type: ignore[import-untyped]  # noqa: PLC0415  a third of a second to import
        from botocore.config import Config  # type: ignore[import-untyped]  # noqa: PLC0415

        config = Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"total_max_attempts": ATTEMPTS})
        return boto3.Session(region_name=self._region).client(service, config=config)


def aws_errors() -> tuple[type[Exception], type[Exception]]:
    """What any call of AWS may raise."""
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]  # noqa: PLC0415  only where AWS is asked

    return BotoCoreError, ClientError


def explained(where: str, value: str, action: str, error: Exception) -> Fault:
    """The fault behind what a call raised.

    Args:
        where: The key at fault.
        value: What stands there.
        action: The IAM action that the call needs.
        error: What it raised.
    """
    code = error_code(error)
    if type(error).__name__ in NO_CREDENTIALS:
        return Fault(where, value, "no AWS credentials were found", CREDENTIALS_CURE)
    if code in EXPIRED:
        return Fault(where, value, f"AWS does not take the credentials ({code})", "Renew them, or name others: AWS_PROFILE")
    if code in DENIED:
        return Fault(where, value, f"these credentials may not {action}", f"Have {action} allowed")
    return Fault(where, value, f"{action} failed: {error}", "" if code else "Check the region, the network and AWS_ENDPOINT_URL")


def error_code(error: Exception) -> str:
    """AWS's code of what a call raised; empty where no answer came."""
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))
