"""S3, where the recipe names it: whose credentials, which region and endpoint, whether what is read is there. No secret is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from cpt import storage
from cpt.data.prepare import store_root
from cpt.doctor.finding import Finding, Level
from cpt.recipe.schema import Recipe

SCHEME = "s3://"
ORIGINS = {
    "env": "the environment",
    "shared-credentials-file": "the credentials file",
    "config-file": "the config file",
    "iam-role": "the instance's role",
    "container-role": "the container's role",
    "assume-role": "an assumed role",
    "assume-role-with-web-identity": "a web identity",
    "sso": "single sign-on",
}


def s3(recipe: Recipe) -> Iterator[Finding]:
    """Credentials, region and endpoint, then each location that the recipe reads from."""
    to_read, to_write = _inputs(recipe), (recipe.run.output, store_root(recipe.data.store))
    named = [location for location in (*to_read.values(), *to_write) if location.startswith(SCHEME)]
    if not named:
        return
    with storage.reported(named[0]):
        yield _account()
    for key, location in to_read.items():
        if location.startswith(SCHEME):
            yield _reached(key, location)


def _account() -> Finding:
    import botocore.session  # type: ignore[import-untyped]  # noqa: PLC0415  a third of a second, and only with S3

    session = botocore.session.get_session()
    credentials = session.get_credentials()
    if credentials is None:
        cure = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        return Finding("S3", "no credentials were found", Level.PROBLEM, cure)
    client = session.create_client("s3")
    origin = ORIGINS.get(credentials.method, credentials.method)
    parts = urlsplit(client.meta.endpoint_url)
    user, _, host = parts.netloc.rpartition("@")
    endpoint = parts._replace(netloc=host, query="").geturl()
    figures = {"credentials": credentials.method, "region": client.meta.region_name, "endpoint": endpoint}
    client.close()
    text = f"credentials from {origin} · region {figures['region']} · {endpoint}"
    if user:
        return Finding("S3", f"{text} · its URL names a user", Level.PROBLEM, "take user and password out of AWS_ENDPOINT_URL", figures)
    return Finding("S3", text, figures=figures)


def _reached(key: str, location: str) -> Finding:
    """Looks for what is to be read.

    Raises:
        StorageError: It cannot be asked for.
    """
    is_glob = any(character in location for character in "*?[")
    there = bool(storage.expand(location, key)) if is_glob else storage.exists(location)
    if not there:
        return Finding("S3", f"{key}: {location} does not exist", Level.PROBLEM, "check the bucket and the path")
    return Finding("S3", f"{key}: {location} is there")


def _inputs(recipe: Recipe) -> dict[str, str]:
    """What the recipe reads, by its key; a number after the key where it names several."""
    sets = recipe.data.validation
    named = {f"data.validation.{name}": places for name, places in sets.items()} if isinstance(sets, Mapping) else {"data.validation": sets}
    inputs = {"data.train": recipe.data.train, **named, "model.init": recipe.model.init, "tokenizer.path": recipe.tokenizer.path}
    return {
        key if number == 0 else f"{key}[{number}]": location
        for key, places in inputs.items()
        for number, location in enumerate((places,) if isinstance(places, str) else places or ())
    }
