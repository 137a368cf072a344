"""Holds the chart against the programs that it starts, Kubernetes' schemas, its own schema and the rendered Kustomize base.

Usage: chart_test.py BIN_FOLDER; run by ctest as `chart_test`. Skipped (77) without Helm's library, which tests/cluster/setup.sh fetches.
"""
import json
import pathlib
import re
import subprocess
import sys
import unittest

import chart

BINARIES = pathlib.Path(sys.argv[1]).resolve()
TIERS = ("gateway", "vision", "language")
VALUE_FILES = [None, *sorted(chart.VALUES.glob("*.yaml"))]
# Kinds of extensions, whose schemas Kubernetes does not bring.
EXTENSIONS = {"BackendTLSPolicy", "Certificate", "GRPCRoute", "HTTPRoute", "InferencePool", "PodMonitor", "PrometheusRule", "ScaledObject"}
# Flags with which a program does something else than to serve.
NOT_FOR_SERVING = {"round_to", "show_devices"}
OF_ONE_HOST = {"nice"}  # among processes that share cores: what a pod asks for decides


def program(tier):
    return BINARIES / (tier if tier == "gateway" else f"{tier}_service")


def flags_of(binary):
    """The flags that --help lists."""
    return set(re.findall(r"^ +--(\w+) \(", subprocess.run([binary, "--help"], text=True, capture_output=True, check=False).stdout, re.MULTILINE))


def render(values):
    return chart.objects(chart.template(values))


def process_containers(things):
    for thing, container in chart.containers(things):
        if container["name"] in TIERS:
            yield thing, container


class RenderedTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.rendered = {values.stem if values else "defaults": render(values) for values in VALUE_FILES}

    def each(self):
        for name, things in self.rendered.items():
            with self.subTest(values=name):
                yield things

    def test_lint_finds_no_fault(self):
        for values in VALUE_FILES:
            self.assertEqual(chart.lint(values), [])

    def test_every_flag_exists_in_its_program(self):
        known = {tier: flags_of(program(tier)) for tier in TIERS}
        for things in self.each():
            for _, container in process_containers(things):
                for argument in container["args"]:
                    self.assertIn(argument.removeprefix("--").partition("=")[0], known[container["name"]], argument)
                for variable in container.get("env", []):
                    if variable["name"].startswith("DIPTYCH_"):
                        self.assertIn(variable["name"].removeprefix("DIPTYCH_").lower(), known[container["name"]])

    def test_every_flag_of_the_schema_exists_in_its_program(self):
        schema = json.loads((chart.CHART / "values.schema.json").read_text(encoding="utf-8"))
        for tier in TIERS:
            flags = schema["properties"][tier]["properties"]["flags"]["properties"]
            self.assertGreater(len(flags), 4)
            self.assertLessEqual(set(flags), flags_of(program(tier)), tier)

    def test_every_flag_of_a_program_can_be_set(self):
        schema = json.loads((chart.CHART / "values.schema.json").read_text(encoding="utf-8"))
        for tier in TIERS:
            known = set(schema["properties"][tier]["properties"]["flags"]["properties"])
            rendered = {argument.removeprefix("--").partition("=")[0] for things in self.rendered.values()
                        for _, container in process_containers(things) if container["name"] == tier for argument in container["args"]}
            environment = {"threads"}  # from the CPU request
            self.assertEqual(flags_of(program(tier)) - known - rendered - environment - OF_ONE_HOST, NOT_FOR_SERVING & flags_of(program(tier)), tier)

    def test_commands_are_programs_that_we_build(self):
        for things in self.each():
            for _, container in chart.containers(things):
                self.assertTrue((BINARIES / container["command"][0]).exists(), container["command"])

    def test_numbers_are_written_as_the_flags_take_them(self):
        arguments = [a for _, c in process_containers(self.rendered["everything"]) for a in c["args"]]
        self.assertIn("--max_image_pixels=64000000", arguments)

    def test_the_gateways_memory_follows_what_it_may_hold(self):
        for settings, limit in (((), "3328Mi"), (("gateway.flags.max_inflight_bytes=4GiB",), "12544Mi"),
                                (("gateway.flags.max_inflight_bytes=268435456",), "1792Mi"), (("gateway.resources.requests.memory=4.5Gi",), "4608Mi"),
                                (("gateway.flags.max_inflight_bytes=4GiB", "gateway.resources.limits.memory=6Gi"), "6Gi")):
            limits = [container["resources"]["limits"] for _, container in process_containers(chart.objects(chart.template(None, *settings)))
                      if container["name"] == "gateway"]
            self.assertEqual(limits, [{"memory": limit}], settings)

    def test_ports_are_the_ones_that_processes_listen_on(self):
        for things in self.each():
            for _, container in process_containers(things):
                flags = dict(argument.removeprefix("--").split("=", 1) for argument in container["args"])
                ports = {port["name"]: port["containerPort"] for port in container["ports"]}
                listens = {"grpc": "listen", "metrics": "metrics_listen", "http": "http_listen"}
                for name, port in ports.items():
                    self.assertEqual(flags[listens[name]], f"0.0.0.0:{port}")

    def test_services_and_monitors_name_ports_that_exist(self):
        for things in self.each():
            ports = {c["name"]: {p["name"]: p["containerPort"] for p in c["ports"]} for _, c in process_containers(things)}
            services = [thing for thing in things if thing["kind"] == "Service"]
            self.assertEqual(len(services), 4)
            for service in services:
                own = ports[service["spec"]["selector"]["app.kubernetes.io/component"]]
                for port in service["spec"]["ports"]:
                    self.assertEqual(own[port["targetPort"]], port["port"])
            for monitor in (thing for thing in things if thing["kind"] == "PodMonitor"):
                own = ports[monitor["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"]]
                self.assertIn(monitor["spec"]["podMetricsEndpoints"][0]["port"], own)

    def test_targets_are_headless_services_and_ports_of_the_tier(self):
        for things in self.each():
            services = {t["metadata"]["name"]: t["spec"] for t in things if t["kind"] == "Service"}
            targets = [a for _, c in process_containers(things) for a in c["args"] if "_target=" in a]
            self.assertEqual(len(targets), 3)
            for target in targets:
                name, port = re.fullmatch(r"--\w+_target=dns:///([\w-]+)\.diptych\.svc:(\d+)", target).groups()
                self.assertEqual(services[name]["clusterIP"], "None")
                self.assertIn(int(port), [p["port"] for p in services[name]["ports"]])
                self.assertTrue(target.startswith(f"--{services[name]['selector']['app.kubernetes.io/component']}_target"))

    def test_probes_ask_the_health_names_that_servers_have(self):
        for _, container in process_containers(self.rendered["defaults"]):
            services = {kind: container[kind]["grpc"]["service"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")}
            self.assertEqual(services, {"startupProbe": "liveness", "readinessProbe": "readiness", "livenessProbe": "liveness"})
            self.assertEqual(container["readinessProbe"]["grpc"]["port"], container["ports"][0]["containerPort"])

    def test_with_tls_probes_ask_the_metrics_port(self):
        for _, container in process_containers(self.rendered["everything"]):
            asked = {kind: container[kind]["httpGet"]["path"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")}
            self.assertEqual(asked, {"startupProbe": "/healthz/live", "readinessProbe": "/healthz/ready", "livenessProbe": "/healthz/live"})
            self.assertEqual(container["readinessProbe"]["httpGet"]["port"], "metrics")

    def test_services_say_which_ports_speak_tls(self):
        for name, things in self.rendered.items():
            tls = name == "everything"
            for port in (port for thing in things if thing["kind"] == "Service" for port in thing["spec"]["ports"] if "appProtocol" in port):
                plain = "kubernetes.io/h2c" if port["name"] == "grpc" else "http"
                self.assertEqual(port["appProtocol"], "https" if tls else plain, f"{name}: {port['name']}")

    def test_the_grace_period_outlasts_the_drain(self):
        for things in self.each():
            for thing, container in process_containers(things):
                flags = dict(argument.removeprefix("--").split("=", 1) for argument in container["args"])
                drain = sum(int(flags[name].removesuffix("s")) for name in ("drain_delay", "drain_timeout"))
                self.assertGreater(thing["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], drain)

    def test_every_mount_has_its_volume_and_every_file_flag_a_mount(self):
        for things in self.each():
            for thing, container in chart.containers(things):
                spec = thing["spec"].get("template", thing)["spec"]
                self.assertLessEqual({m["name"] for m in container["volumeMounts"]}, {v["name"] for v in spec["volumes"]})
                mounted = tuple(mount["mountPath"] + "/" for mount in container["volumeMounts"])
                for argument in container.get("args", []):
                    if "=/etc/" in argument:
                        self.assertTrue(argument.partition("=")[2].startswith(mounted), argument)

    def test_autoscalers_read_metrics_that_the_tier_shows(self):
        page = (chart.ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
        for scaler in (t for t in self.rendered["everything"] if t["kind"] == "HorizontalPodAutoscaler"):
            tier = scaler["metadata"]["labels"]["app.kubernetes.io/component"]
            for metric in (m for m in scaler["spec"]["metrics"] if m["type"] == "Pods"):
                name = metric["pods"]["metric"]["name"]
                row = next(line for line in page.splitlines() if line.startswith("|") and f"`{name}`" in line)
                self.assertRegex(row.split("|")[4], rf"all|{tier}")

    def test_a_tier_that_may_go_to_zero_is_woken_by_images_that_found_none(self):
        settings = ["vision.autoscaling.enabled=true", "vision.autoscaling.minReplicas=0", "autoscaling.hpaScaleToZero=true"]
        scaler = next(t for t in chart.objects(chart.template(None, *settings)) if t["kind"] == "HorizontalPodAutoscaler")
        self.assertIn("diptych_vision_demand", [m["external"]["metric"]["name"] for m in scaler["spec"]["metrics"] if m["type"] == "External"])
        scaled = next(t for t in self.rendered["keda"] if t["kind"] == "ScaledObject" and t["spec"]["minReplicaCount"] == 0)
        self.assertIn("TIER_UNAVAILABLE", scaled["spec"]["triggers"][-1]["metadata"]["query"])
        waits = {c["name"]: "--wait_for_vision=true" in c["args"] for _, c in process_containers(self.rendered["keda"])}
        self.assertEqual(waits, {"gateway": False, "vision": False, "language": True})

    def test_http_is_answered_under_the_names_of_services_and_routes(self):
        for name, things in self.rendered.items():
            hosts = next(a for _, c in process_containers(things) for a in c["args"] if a.startswith("--http_hosts=")).partition("=")[2].split(",")
            services = [t["metadata"]["name"] for t in things if t["kind"] == "Service" and t["spec"]["selector"]["app.kubernetes.io/component"] == "gateway"]
            self.assertLessEqual({f"{s}{rest}" for s in services for rest in ("", ".diptych", ".diptych.svc", ".diptych.svc.cluster.local")}, set(hosts))
            self.assertEqual("diptych.example.com" in hosts, name == "everything")

    def test_a_route_leads_to_every_path_but_the_metrics(self):
        paths = json.loads((chart.ROOT / "gateway" / "http" / "openapi.json").read_text(encoding="utf-8"))["paths"]
        paths = {path for path in paths if path != "/metrics"} | {path.removeprefix("/v1") for path in paths if path.startswith("/v1/") and "diptych" not in path}
        route = next(t for t in self.rendered["everything"] if t["kind"] == "HTTPRoute")
        matches = [match["path"] for match in route["spec"]["rules"][0]["matches"]]
        leads = lambda path: any(path == m["value"] or m["type"] == "PathPrefix" and path.startswith(m["value"] + "/") for m in matches)  # noqa: E731
        self.assertEqual([path for path in sorted(paths) if not leads(path)], [])
        self.assertFalse(leads("/metrics"))

    def test_under_tls_the_edge_is_told_to_speak_it(self):
        things = self.rendered["everything"]
        policy = next(t for t in things if t["kind"] == "BackendTLSPolicy")["spec"]
        backends = {(t["kind"], b["name"]) for t in things if t["kind"] in ("GRPCRoute", "HTTPRoute") for rule in t["spec"]["rules"] for b in rule["backendRefs"]}
        self.assertEqual(backends, {(kind, policy["targetRefs"][0]["name"]) for kind in ("GRPCRoute", "HTTPRoute")})
        certificate = next(t for t in things if t["kind"] == "Certificate" and t["metadata"]["labels"]["app.kubernetes.io/component"] == "gateway")
        self.assertLessEqual({policy["validation"]["hostname"], "diptych.example.com", "grpc.example.com"}, set(certificate["spec"]["dnsNames"]))

    def test_an_autoscaled_tier_has_no_replicas_of_its_own(self):
        for thing in self.rendered["keda"]:
            if thing["kind"] == "Deployment":
                self.assertNotIn("replicas", thing["spec"])

    def test_only_the_way_of_a_question_is_open(self):
        policies = {p["metadata"]["labels"]["app.kubernetes.io/component"]: p["spec"] for p in self.rendered["defaults"] if p["kind"] == "NetworkPolicy"}
        callers = lambda tier: {peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"]  # noqa: E731
                                for rule in policies[tier]["ingress"] if {"port": "grpc"} in rule["ports"] for peer in rule.get("from", [])}
        self.assertEqual(callers("language"), {"gateway"})
        self.assertEqual(callers("vision"), {"gateway", "language"})
        self.assertEqual(policies["vision"]["egress"], [])
        for spec in policies.values():
            self.assertEqual(spec["policyTypes"], ["Ingress", "Egress"])

    def test_every_process_reaches_the_collector_that_it_sends_spans_to(self):
        things = self.rendered["everything"]
        for _, container in process_containers(things):
            self.assertIn("--otlp_endpoint=collector.monitoring:4317", container["args"])
            self.assertIn("--trace_sample_ratio=0.1", container["args"])
        for policy in (thing for thing in things if thing["kind"] == "NetworkPolicy"):
            ports = [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]
            self.assertIn(4317, ports)
            self.assertIn(53, ports, "its name is looked up")

    def test_a_tier_is_spread_over_hosts_where_there_are_no_zones(self):
        """The scheduler scores no spread constraint on nodes that lack the label of one of them."""
        for things in self.each():
            for thing in things:
                if thing["kind"] == "Deployment":
                    keys = [c["topologyKey"] for c in thing["spec"]["template"]["spec"]["topologySpreadConstraints"]]
                    self.assertEqual(keys, ["kubernetes.io/hostname"])

    def test_helm_can_show_what_its_tests_said(self):
        """It asks for the log of each test hook, so each has to be a pod."""
        for things in self.each():
            hooks = [t for t in things if t["metadata"].get("annotations", {}).get("helm.sh/hook") == "test"]
            self.assertEqual({t["kind"] for t in hooks}, {"Pod"})

    def test_kubernetes_schemas_take_every_object(self):
        for things in self.each():
            for thing in things:
                if thing["kind"] not in EXTENSIONS:
                    chart.validate(thing)

    def test_the_schemas_refuse_a_field_that_does_not_exist(self):
        import kubernetes_validate  # pylint: disable=import-outside-toplevel
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"port": 1}}
        with self.assertRaises(kubernetes_validate.ValidationError):
            chart.validate(service)

    def test_the_kustomize_base_is_what_the_chart_renders(self):
        by_name = lambda things: {(t["kind"], t["metadata"]["name"]): t for t in things}  # noqa: E731
        base = by_name(chart.objects(chart.BASE.read_text(encoding="utf-8")))
        self.assertEqual(base, by_name(chart.objects(chart.template(tests=False))), "run deploy/kustomize/render.sh")


if __name__ == "__main__":
    if not chart.is_possible():
        print("skipped: Helm's library is not there; tests/cluster/setup.sh fetches it")
        sys.exit(77)
    unittest.main(argv=sys.argv[1:])
