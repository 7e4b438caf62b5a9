"""pyproject.toml, requirements.lock and environment.yml name one set of packages."""

import re
import tomllib
from importlib import metadata

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import mnist_attention
from mnist_attention.storage.paths import CHECKOUT
from mnist_attention.studies.catalogue import STUDIES

PYPROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
PYTHONS = SpecifierSet(PROJECT["requires-python"])
MINORS = [minor for minor in range(30) if f"3.{minor}" in PYTHONS]
LOCK = (CHECKOUT / "requirements.lock").read_text()
MAKEFILE = (CHECKOUT / "Makefile").read_text()
LOCKED_EXTRAS = re.findall(r"--extra (\w+)", MAKEFILE)


def read_lock(text: str) -> dict[str, tuple[Requirement, list[str]]]:
    """Package -> its requirement and its hashes."""
    statements = re.sub(r"#.*", "", text).replace("\\\n", " ").splitlines()
    locked = {}
    for statement in filter(str.strip, statements):
        requirement, *hashes = statement.split("--hash=")
        parsed = Requirement(requirement.strip())
        locked[canonicalize_name(parsed.name)] = parsed, [value.strip() for value in hashes]
    return locked


LOCKED = read_lock(LOCK)
DIRECT = [
    Requirement(line)
    for lines in (
        PROJECT["dependencies"],
        PYPROJECT["build-system"]["requires"],
        *(EXTRAS[name] for name in LOCKED_EXTRAS),
    )
    for line in lines
]


@pytest.mark.parametrize("dependency", DIRECT, ids=str)
def test_lock_satisfies_each_direct_dependency(dependency):
    locked, _ = LOCKED[canonicalize_name(dependency.name)]
    (pin,) = locked.specifier
    assert dependency.specifier.contains(pin.version)
    assert locked.marker is None, "a direct dependency is needed on every machine"


def test_every_dependency_has_a_lower_bound():
    every = [*DIRECT, *(Requirement(line) for lines in EXTRAS.values() for line in lines)]
    assert [str(d) for d in every if not any(s.operator == ">=" for s in d.specifier)] == []


def test_locked_extras_are_those_that_the_commands_need():
    assert set(LOCKED_EXTRAS) == set(EXTRAS) - {"cuda", "ray", "torch"}


def test_everything_in_the_lock_is_pinned_and_hashed():
    assert len(LOCKED) > len(DIRECT)
    for requirement, hashes in LOCKED.values():
        (pin,) = requirement.specifier
        assert pin.operator == "=="
        assert requirement.url is None
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes)


def test_lock_names_no_index_and_no_place_on_a_machine():
    assert not re.search(r"://|index-url|find-links|trusted-host", LOCK)
    assert not re.search(r"(^|[\s(=])[/~]\w", LOCK)


def test_conda_environment_is_the_lock_with_the_same_pythons():
    environment = yaml.safe_load((CHECKOUT / "environment.yml").read_text())
    python, pip, from_pip = environment["dependencies"]
    assert Requirement(python).specifier == PYTHONS
    assert pip == "pip"
    assert from_pip == {"pip": ["-r requirements.lock"]}


def test_installed_is_what_is_locked():
    here = [pin for pin, _ in LOCKED.values() if pin.marker is None or pin.marker.evaluate()]
    installed = {pin.name: metadata.version(pin.name) for pin in here}
    assert [str(pin) for pin in here if installed[pin.name] not in pin.specifier] == []


def test_one_version_and_one_licence_everywhere():
    citation = yaml.safe_load((CHECKOUT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "type"} <= citation.keys()
    assert citation["version"] == mnist_attention.__version__
    assert metadata.version("mnist-attention") == mnist_attention.__version__
    assert citation["license"] == PROJECT["license"] == "MIT"
    assert (CHECKOUT / "LICENSE").read_text().startswith("MIT License")


def test_workflow_tests_on_the_oldest_and_the_newest_python_and_reproduces_weekly():
    workflow = yaml.safe_load((CHECKOUT / ".github/workflows/test.yml").read_text())
    triggers = workflow[True]  # YAML 1.1 reads the key `on` as a truth value
    assert {"push", "pull_request", "schedule"} <= triggers.keys()
    for job in workflow["jobs"].values():
        assert {"run": "make test"} in job["steps"]
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["os"] == ["ubuntu-latest", "macos-latest"]
    assert matrix["python"] == [f"3.{MINORS[0]}", f"3.{MINORS[-1]}"]
    steps = workflow["jobs"]["test"]["steps"]
    (weekly,) = (step["if"] for step in steps if step.get("run") == "make reproduce")
    assert "'schedule'" in weekly
    assert matrix["os"][0] in weekly
    assert f"'{matrix['python'][0]}'" in weekly


def test_makefile_knows_the_pythons_and_the_studies():
    bounds = re.search(r"\(3, (\d+)\) <= .* <= \(3, (\d+)\)", MAKEFILE).groups()
    assert bounds == (str(MINORS[0]), str(MINORS[-1]))
    studies = re.search(r"^STUDIES \?= (.*)$", MAKEFILE, re.MULTILINE).group(1).split()
    assert set(studies) <= set(STUDIES)
