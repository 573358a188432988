"""The examples in workflows/ hold against the systems they are written for, as far as those can be had here."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.drawing import write_slides
from tests.outputs import hash_results
from tests.peers import ask_peer
from wsiparse.cli import build_parser, main

ROOT = Path(__file__).parents[2]
SIZE = (301, 203)
TONE = ["--model", "tests.tiny:build_tone", "--no-tissue", "--cluster", "serial"]
MANIFESTS = sorted((ROOT / "workflows/kubernetes").glob("*.yaml"))
CONTAINERS = ROOT / "workflows/containers"

CHECK_CLUSTER = """
import importlib.util, json, pathlib, sys
import jsonschema, yaml

def close(schema):
    "Unknown fields, which a cluster drops in silence, are errors here."
    for value in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(value, dict | list):
            close(value)
    if isinstance(schema, dict) and isinstance(schema.get("properties"), dict):
        schema.setdefault("additionalProperties", False)
    return schema

package = pathlib.Path(importlib.util.find_spec("dask_kubernetes").origin).parent
definition = yaml.safe_load(next(package.rglob("crds/daskcluster.yaml")).read_text())
version = definition["spec"]["versions"][0]
document = yaml.safe_load(pathlib.Path(sys.argv[1]).read_text())
name = f"{definition['spec']['group']}/{version['name']}"
errors = [] if (document.pop("apiVersion"), document.pop("kind")) == (name, "DaskCluster") else [name]
document.pop("metadata")
validator = jsonschema.Draft7Validator(close(version["schema"]["openAPIV3Schema"]))
print(json.dumps(errors + [f"{list(error.path)}: {error.message[:200]}" for error in validator.iter_errors(document)]))
"""

READ_JOB = """
import json, pathlib, sys
import yaml
from kubernetes import client

api, text = client.ApiClient(), json.dumps(yaml.safe_load(pathlib.Path(sys.argv[1]).read_text()))
print(json.dumps(api.sanitize_for_serialization(api.deserialize(text, "V1Job", "application/json"))))
"""

RUN_SNAKEMAKE = """
import json, subprocess, sys
print(json.dumps(subprocess.run([sys.executable, "-m", "snakemake", *sys.argv[1:]], stdout=sys.stderr).returncode))
"""


def commands_of(path: Path) -> Iterator[list[str]]:
    """Arguments of wsiparse in a Kubernetes manifest."""
    for document in yaml.safe_load_all(path.read_text()):
        spec = document["spec"].get("template", {}).get("spec", {})
        yield from (c["args"] for c in spec.get("containers", []) if c["command"] == ["wsiparse"])


def test_kubernetes_jobs_give_commands_that_exist() -> None:
    found = [words for path in MANIFESTS for words in commands_of(path)]
    assert len(found) == 2
    for words in found:
        build_parser().parse_args([word.replace("$(JOB_COMPLETION_INDEX)", "7") for word in words])


@pytest.mark.peers
def test_the_cluster_is_what_the_dask_operator_defines() -> None:
    assert ask_peer("dask_kubernetes", CHECK_CLUSTER, str(ROOT / "workflows/kubernetes/cluster.yaml")) == []


@pytest.mark.peers
@pytest.mark.parametrize("name", ["job.yaml", "shards.yaml"])
def test_jobs_lose_nothing_where_kubernetes_reads_them(name: str) -> None:
    path = ROOT / "workflows/kubernetes" / name
    assert ask_peer("kubernetes", READ_JOB, str(path)) == yaml.safe_load(path.read_text())


@pytest.mark.slow
@pytest.mark.peers
def test_snakemake_runs_a_cohort_in_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_slides(tmp_path, 3, SIZE)
    manifest, options = tmp_path / "my cohort.csv", " ".join(TONE)
    manifest.write_text("slide\n" + "".join(f"s{n}.svs\n" for n in range(3)))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    settings = [f"manifest={manifest}", f"output={tmp_path / 'my out'}", "shards=2", f"options={options}"]
    words = ["--snakefile", ROOT / "workflows/snakemake/Snakefile", "--cores", 2, "--directory", tmp_path]
    assert ask_peer("snakemake", RUN_SNAKEMAKE, *map(str, words), "--config", *settings) == 0
    assert main(["run", str(manifest), "-o", str(tmp_path / "expected"), *TONE]) == 0
    results = {name: digest for name, digest in hash_results(tmp_path / "my out").items() if name[0] != "."}
    assert results == hash_results(tmp_path / "expected")


def test_snakemake_quotes_the_paths_that_it_is_given() -> None:
    rule = (ROOT / "workflows/snakemake/Snakefile").read_text().partition("    shell:\n")[2]
    numbers = {"wildcards.shard", "params.shards"}
    assert set(re.findall(r"\{(\S+?)\}", rule)) == {"input:q", "wildcards.output:q", "params.options", *numbers}


@pytest.mark.parametrize(("code", "accepted"), [(0, True), (3, True), (2, False), (75, False), (1, False)])
def test_a_shard_of_snakemake_may_have_slides_that_failed(tmp_path: Path, code: int, accepted: bool) -> None:
    (tmp_path / "wsiparse").write_text(f"#!/bin/sh\nexit {code}\n")
    (tmp_path / "wsiparse").chmod(0o755)
    rule = (ROOT / "workflows/snakemake/Snakefile").read_text().partition("    shell:\n")[2]
    command = re.sub(r"\{\S+?\}", "x", "".join(re.findall(r'"(.*)"', rule)))
    shell = ["bash", "-euo", "pipefail", "-c", command]
    done = subprocess.run(shell, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert (done.returncode == 0) == accepted


def list_copied(recipe: str) -> set[str]:
    """What a recipe takes from the project."""
    if "%files" in recipe:
        files = recipe.partition("%files")[2].partition("%post")[0]
        return {line.split()[0] for line in files.splitlines() if line.strip()}
    copies = re.findall(r"^COPY (.*) \S+$", recipe, re.MULTILINE)
    return {word for words in copies for word in words.split()}


@pytest.mark.parametrize("name", ["Dockerfile", "apptainer.def"])
def test_images_take_all_that_the_package_is_built_of(name: str) -> None:
    recipe, project = (CONTAINERS / name).read_text(), tomllib.loads((ROOT / "pyproject.toml").read_text())
    about, built = project["project"], project["tool"]["hatch"]
    needed = {built["version"]["path"].split("/")[0], *built["build"]["targets"]["wheel"]["packages"]}
    needed |= set(built["build"]["targets"]["wheel"]["force-include"])
    needed |= {path for path in about["license-files"] if path.split("/")[0] not in needed}
    needed |= {"pyproject.toml", "constraints.txt", about["readme"]}
    assert list_copied(recipe) == needed
    assert all((ROOT / part).exists() for part in needed)
    (extras,) = re.findall(r"'\.\[(.*)\]'", recipe)
    assert set(extras.split(",")) <= about["optional-dependencies"].keys()
    assert "wsiparse" in about["scripts"]


def test_both_images_hold_the_same() -> None:
    recipes = [(CONTAINERS / name).read_text() for name in ("Dockerfile", "apptainer.def")]
    one, other = (re.findall(r"pip install .*", recipe) for recipe in recipes)
    assert one == other
    assert list_copied(recipes[0]) == list_copied(recipes[1])
