"""Kubernetes' Pod Security Standard "restricted", as its documentation words it: what a pod template violates of
it. Written out here, since no package checks it without a cluster.
"""

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SYSCTLS = {"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
           "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
           "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
           "net.ipv4.tcp_keepalive_probes"}


def violations(template):
    """Everything in a pod template that the standard forbids, or lacks that it asks for."""
    spec = template["spec"]
    own = spec.get("securityContext", {})
    found = [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    if own.get("windowsOptions", {}).get("hostProcess"):
        found.append("hostProcess")
    found += [f"sysctl {it['name']}" for it in own.get("sysctls", []) if it["name"] not in SYSCTLS]
    for volume in spec.get("volumes", []):
        found += [f"volume type {kind}" for kind in volume.keys() - {"name"} - VOLUMES]
    if any(name.startswith("container.apparmor.security.beta.kubernetes.io/") and value != "runtime/default"
           and not value.startswith("localhost/")
           for name, value in template["metadata"].get("annotations", {}).items()):
        found.append("AppArmor is overridden")
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(kind, []):
            found += [f"{container['name']}: {what}" for what in of_container(container, own)]
    return found


def of_container(container, pod):
    """The same of one container; `pod` is the pod's own security context, which it inherits."""
    own = container.get("securityContext", {})
    effective = {**pod, **own}
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if "ALL" not in own.get("capabilities", {}).get("drop", []):
        yield "does not drop ALL capabilities"
    if set(own.get("capabilities", {}).get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "adds capabilities"
    if effective.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if effective.get("runAsUser") == 0:
        yield "runAsUser is 0"
    if effective.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "no seccompProfile"
    if effective.get("appArmorProfile", {}).get("type", "RuntimeDefault") == "Unconfined":
        yield "AppArmor is off"
    if effective.get("seLinuxOptions", {}).keys() & {"user", "role"}:
        yield "seLinuxOptions has a user or a role"
    if own.get("procMount", "Default") != "Default":
        yield "procMount"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "hostPort"
    handlers = [container.get(name, {}) for name in ("livenessProbe", "readinessProbe", "startupProbe")]
    handlers += container.get("lifecycle", {}).values()
    if any("host" in handler.get(kind, {}) for handler in handlers for kind in ("httpGet", "tcpSocket")):
        yield "a probe or hook names a host"
