#!/usr/bin/env python3
"""The manifests agree with the program, the image and each other. kubeconform checks the schema where it is installed."""
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import dist

try:
    import yaml
except ImportError:
    yaml = None

FOLDER = dist.DIST / "kubernetes"
UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(\w*)", text).groups()
    return int(number) * UNITS_S.get(unit, 1)


@unittest.skipUnless(yaml, "python3-yaml is not installed")
class Manifests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        documents = [d for path in sorted(FOLDER.glob("*.yaml")) for d in yaml.safe_load_all(path.read_text())]
        cls.kinds = {}
        for document in documents:
            cls.kinds.setdefault(document["kind"], []).append(document)
        (cls.stateful,) = cls.kinds["StatefulSet"]
        cls.pod = cls.stateful["spec"]["template"]["spec"]
        (cls.container,) = cls.pod["containers"]
        cls.flags = dict(arg.removeprefix("--").split("=", 1) for arg in cls.container["args"])
        cls.ports = {p["name"]: p["containerPort"] for p in cls.container["ports"]}
        cls.labels = cls.stateful["spec"]["template"]["metadata"]["labels"]

    def test_kinds(self):
        self.assertEqual({kind: len(d) for kind, d in self.kinds.items()},
                         {"StatefulSet": 1, "Service": 2, "PodDisruptionBudget": 1, "NetworkPolicy": 1})

    def test_the_daemon_takes_the_flags(self):
        with tempfile.NamedTemporaryFile("w") as token:
            token.write("secret\n")
            token.flush()
            flags = {**self.flags, "admin-token-file": token.name}
            found = subprocess.run([dist.BUILD / "spreaderd", "--check-config", *(f"--{k}={v}" for k, v in flags.items())],
                                   capture_output=True, text=True)
        self.assertEqual((found.returncode, found.stderr), (0, ""))

    def test_grace_follows_from_the_flags(self):
        grace = seconds(self.flags["shutdown-delay"]) + seconds(self.flags["drain-timeout"]) + 5
        self.assertEqual(self.pod["terminationGracePeriodSeconds"], grace)
        probe = self.container["readinessProbe"]
        # the delay is there for the word to get round
        self.assertGreater(seconds(self.flags["shutdown-delay"]), probe["periodSeconds"] * probe["failureThreshold"])

    def test_ports(self):
        bound = {name: int(self.flags[name + "-listen"].rsplit(":", 1)[1]) for name in ("intake", "outbox", "http")}
        self.assertEqual(self.ports, bound)
        served = {}
        for service in self.kinds["Service"]:
            self.assertEqual(service["spec"]["clusterIP"], "None")
            for port in service["spec"]["ports"]:
                served[port["name"]] = port["port"]
                self.assertEqual(self.ports[port["targetPort"]], port["port"])
        self.assertEqual(served, self.ports)
        (policy,) = self.kinds["NetworkPolicy"]
        allowed = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        self.assertEqual(allowed, set(self.ports.values()))
        out = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
        self.assertEqual(out, {53, int(self.flags["ack-dial"].rsplit(":", 1)[1])})

    def test_probes(self):
        routes = "".join(path.read_text() for path in (dist.TOP / "src" / "control").glob("http_*.c"))
        for name, path in (("livenessProbe", "/livez"), ("readinessProbe", "/readyz"), ("startupProbe", "/readyz")):
            self.assertEqual(self.container[name]["httpGet"], {"path": path, "port": "http"})
            self.assertIn(f'"{path}"', routes)

    def test_selectors(self):
        selectors = [self.stateful["spec"]["selector"]["matchLabels"]]
        selectors += [service["spec"]["selector"] for service in self.kinds["Service"]]
        selectors += [d["spec"]["selector"]["matchLabels"] for d in self.kinds["PodDisruptionBudget"]]
        selectors += [d["spec"]["podSelector"]["matchLabels"] for d in self.kinds["NetworkPolicy"]]
        for selector in selectors:
            self.assertTrue(selector.items() <= self.labels.items(), selector)
        self.assertIn(self.stateful["spec"]["serviceName"], [s["metadata"]["name"] for s in self.kinds["Service"]])
        self.assertEqual(self.stateful["spec"]["replicas"], 1)

    def test_the_image_fits(self):
        dockerfile = (dist.DIST / "container" / "Dockerfile").read_text()
        uid, gid = map(int, re.search(r"^USER (\d+):(\d+)$", dockerfile, re.M).groups())
        context = self.pod["securityContext"]
        self.assertEqual((context["runAsUser"], context["runAsGroup"], context["fsGroup"]), (uid, gid, gid))
        self.assertTrue(context["runAsNonRoot"])
        self.assertNotIn("command", self.container)  # the image's ENTRYPOINT

    def test_files_lie_in_volumes(self):
        mounts = {m["name"]: Path(m["mountPath"]) for m in self.container["volumeMounts"]}
        made = {t["metadata"]["name"] for t in self.stateful["spec"]["volumeClaimTemplates"]}
        self.assertEqual(set(mounts), made | {v["name"] for v in self.pod["volumes"]})
        self.assertEqual(Path(self.flags["store"]).parent, mounts["store"])
        self.assertEqual(Path(self.flags["admin-token-file"]).parent, mounts["admin"])
        self.assertTrue(self.container["securityContext"]["readOnlyRootFilesystem"])

    @unittest.skipUnless(shutil.which("kubeconform"), "kubeconform is not installed")
    def test_kubeconform(self):
        found = subprocess.run(["kubeconform", "-strict", *FOLDER.glob("*.yaml")], capture_output=True, text=True)
        self.assertEqual(found.returncode, 0, found.stdout + found.stderr)


if __name__ == "__main__":
    dist.main()
