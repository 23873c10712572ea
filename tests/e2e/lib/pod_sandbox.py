"""A pod's container as the manifests describe it, without a cluster: bubblewrap gives the real binary a root file
system that is read-only and holds nothing but the system's libraries and the pod's volumes, at their paths; the
user, the variables and the arguments are the manifests' own. Only where it listens is the test's to say.
"""

import os
import shlex
from pathlib import Path

import sandbox
from manifests import claims, container, environment, pod, settings_file, workload

SHOWN = ("/usr", "/bin", "/lib", "/lib64", "/proc")
NODE = "node-of-the-tests"


def start(harness, documents, name, secrets, replaced, again=0, **options):
    """Starts one pod under this name, or its container again. `secrets`: their contents, by name and key; `replaced`:
    variables that have another value here. A claim is the pod's, also when another pod of this name comes."""
    directory = harness.directory / name
    directory.mkdir(exist_ok=bool(again))
    volumes = {volume["name"]: fill(directory, volume, documents, secrets)
               for volume in (*pod(documents)["spec"]["volumes"], *({"name": it} for it in claims(documents)))}
    namespace = workload(documents)["metadata"].get("namespace", "default")
    fields = {"metadata.name": name, "metadata.namespace": namespace, "spec.nodeName": NODE}
    variables = environment(documents, fields, secrets)
    unknown = replaced.keys() - variables.keys() - {"OTEL_METRIC_EXPORT_INTERVAL"}
    if unknown:
        raise ValueError(f"the manifests have no {unknown} to replace")
    (directory / "child.json").unlink(missing_ok=True)
    daemon = harness.lookoutd(command_prefix=wrapper(harness, directory, documents, volumes),
                              env={**variables, **replaced}, name=f"{name}-{again}" if again else name, **options)
    daemon.pid = sandbox.child(directory)
    return daemon


def fill(directory, volume, documents, secrets):
    """The folder that stands for a volume."""
    folder = directory / volume["name"]
    folder.mkdir(exist_ok=True)
    if "configMap" in volume:
        (folder / "lookoutd.yaml").write_text(settings_file(documents))
    for (secret, key), value in secrets.items():
        if volume.get("secret", {}).get("secretName") == secret:
            (folder / key).write_text(value)
    return folder


def wrapper(harness, directory, documents, volumes):
    """What to put before the binary and where it listens."""
    spec, box = pod(documents)["spec"], container(documents)
    context = {**spec["securityContext"], **box["securityContext"]}
    binary = Path(harness.binary)
    bwrap = ["bwrap", "--unshare-user", "--uid", context["runAsUser"], "--gid", context["runAsGroup"],
             "--unshare-ipc", "--unshare-uts", "--dev", "/dev", "--die-with-parent", "--info-fd", "4"]
    for capability in context["capabilities"]["drop"]:
        bwrap += ["--cap-drop", capability]
    for path in (*SHOWN, binary):
        bwrap += ["--ro-bind", path, path] if os.path.exists(path) else []
    for mount in box["volumeMounts"]:
        how = "--ro-bind" if mount.get("readOnly") else "--bind"
        bwrap += [how, volumes[mount["name"]], mount["mountPath"]]
    if context["readOnlyRootFilesystem"]:
        bwrap += ["--remount-ro", "/"]
    inside = ["sh", "-c", f'exec "$0" {shlex.join(box["args"])} "$@"']
    return ["sh", "-c", f'exec {shlex.join(map(str, [*bwrap, "--chdir", "/", *inside]))} "$@" 4> "$0/child.json"',
            str(directory)]
