"""Values that somebody might give: each renders what Kubernetes takes, or is refused by its name.

Run by ctest as `chart_values_test`. Skipped (77) without Helm's library, which tests/cluster/setup.sh fetches.
"""
import json
import pathlib
import re
import sys
import tempfile
import unittest

import chart

EXTENSIONS = {"BackendTLSPolicy", "Certificate", "GRPCRoute", "HTTPRoute", "InferencePool", "PodMonitor", "PrometheusRule", "ScaledObject"}
LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
DIGEST = "sha256:" + "0123456789abcdef" * 4
EDGE = ("routes.enabled=true", "routes.parentRefs[0].name=edge")
TLS = ("tls.enabled=true",)


def render(*settings, file=None, **release):
    return chart.objects(chart.template(file, *settings, **release))


def of_kind(things, kind):
    return [thing for thing in things if thing["kind"] == kind]


def pod_specs(things):
    return [thing["spec"]["template"]["spec"] for thing in of_kind(things, "Deployment")] + [thing["spec"] for thing in of_kind(things, "Pod")]


class TakenValuesTest(unittest.TestCase):
    def taken(self, *settings, **release):
        """What is rendered, once Kubernetes' rules for names and labels and its schemas take it."""
        things = render(*settings, **release)
        for thing in things:
            name = thing["metadata"]["name"]
            self.assertRegex(name, rf"^{(SERVICE if thing['kind'] == 'Service' else NAME).pattern}$")
            metadata = [thing["metadata"]] + ([thing["spec"]["template"]["metadata"]] if thing["kind"] == "Deployment" else [])
            for value in (value for part in metadata for value in part.get("labels", {}).values()):
                self.assertRegex(value, rf"^{LABEL.pattern}$", name)
            if thing["kind"] not in EXTENSIONS:
                chart.validate(thing)
        names = [(thing["kind"], thing["metadata"]["name"]) for thing in things]
        self.assertEqual(len(names), len(set(names)))
        return things

    def test_names_of_any_length_and_kind(self):
        longest = "a" + "-b2" * 17 + "c"  # the 53 characters that helm takes
        for name in (longest, "team.app", "x", "diptych-2", "a" * 47 + "-b"):
            with self.subTest(name=name):
                self.taken("metrics.podMonitor.enabled=true", "metrics.dashboard.enabled=true", "vision.autoscaling.enabled=true", name=name)
        self.taken(f"fullnameOverride={'n' * 63}", f"nameOverride={'m' * 63}")
        self.taken("fullnameOverride=blip", name="123", namespace="456")

    def test_words_that_are_also_numbers(self):
        words = {"networkPolicy": {"monitoringNamespace": "1", "dnsNamespace": "1e3"}, "tls": {"enabled": True, "gatewaySecret": "2", "tierSecret": "on"},
                 "image": {"pullSecrets": ["3"], "tag": "1.10"}, "gateway": {"priorityClassName": "4"}, "vision": {"runtimeClassName": "5"},
                 "serviceAccount": {"name": "6"}, "apiKeys": {"secretName": "7", "testSecret": {"name": "8"}}, "model": {"name": "9", "source": "claim", "claim": {"name": "10"}},
                 "commonLabels": {"year": "2026"}}
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            json.dump(words, file)
            file.flush()
            self.taken(file=pathlib.Path(file.name))

    def test_labels_and_annotations_stand_once_and_the_nearer_one_holds(self):
        things = self.taken("commonLabels.team=a", "commonLabels.cost=b", "vision.podLabels.team=c", "metrics.podMonitor.enabled=true", "metrics.podMonitor.labels.team=d",
                            "vision.podAnnotations.kubectl\\.kubernetes\\.io/default-container=other", "metrics.dashboard.enabled=true", "metrics.dashboard.labels.cost=e")
        pod = next(t for t in of_kind(things, "Deployment") if t["metadata"]["name"] == "diptych-vision")["spec"]["template"]["metadata"]
        self.assertEqual((pod["labels"]["team"], pod["labels"]["cost"]), ("c", "b"))
        self.assertEqual(pod["annotations"]["kubectl.kubernetes.io/default-container"], "other")
        self.assertEqual({t["metadata"]["labels"]["team"] for t in of_kind(things, "PodMonitor")}, {"d"})
        self.assertTrue(all("team" not in t["spec"].get("selector", {}).get("matchLabels", {}) for t in things if "spec" in t))

    def test_images_by_tag_and_by_digest(self):
        for settings, images in (((), {"diptych-gateway:0.1.0", "diptych-tier-cpu:0.1.0"}),
                                 (("image.tag=1.2-rc.1", "image.registry=localhost:5000/team"), {"localhost:5000/team/diptych-gateway:1.2-rc.1", "localhost:5000/team/diptych-tier-cpu:1.2-rc.1"}),
                                 ((f"image.gateway=gate@{DIGEST}", "image.cpu=cpu:7", "image.registry=r.example.com"), {f"r.example.com/gate@{DIGEST}", "r.example.com/cpu:7"}),
                                 ((f"image.gateway=r.example.com:5000/x/gate@{DIGEST}", "image.cpu=r.example.com:5000/x/cpu"), {f"r.example.com:5000/x/gate@{DIGEST}", "r.example.com:5000/x/cpu:0.1.0"})):
            things = self.taken(*settings)
            self.assertEqual({container["image"] for _, container in chart.containers(things)}, images)

    def test_pods_go_where_they_are_told(self):
        things = self.taken("gateway.tolerations[0].key=team,gateway.tolerations[0].operator=Exists", "gateway.nodeSelector.pool=a", "image.pullSecrets={one,two}",
                            "vision.priorityClassName=high", "serviceAccount.create=false", "serviceAccount.name=team-robot")
        specs = pod_specs(things)
        self.assertEqual({spec["serviceAccountName"] for spec in specs}, {"team-robot"})
        self.assertFalse(of_kind(things, "ServiceAccount"))
        self.assertTrue(all([s["name"] for s in spec["imagePullSecrets"]] == ["one", "two"] for spec in specs))
        placed = [spec for spec in specs if spec.get("nodeSelector") == {"pool": "a"} and spec["tolerations"] == [{"key": "team", "operator": "Exists"}]]
        self.assertEqual({spec["containers"][0]["name"] for spec in placed}, {"gateway", "ask"}, "helm's test has to find a node, too")
        self.assertEqual([spec["priorityClassName"] for spec in specs if "priorityClassName" in spec], ["high"])
        self.assertEqual({spec["serviceAccountName"] for spec in pod_specs(self.taken("serviceAccount.create=false"))}, {"default"})

    def test_no_replicas(self):
        for tier in ("gateway", "vision", "language"):
            things = self.taken(f"{tier}.replicas=0")
            self.assertEqual([t["spec"]["replicas"] for t in of_kind(things, "Deployment")].count(0), 1)

    def test_both_tiers_scale(self):
        for engine, kind in (("hpa", "HorizontalPodAutoscaler"), ("keda", "ScaledObject")):
            things = self.taken(f"autoscaling.engine={engine}", *[f"{tier}.autoscaling.enabled=true" for tier in ("gateway", "vision", "language")])
            self.assertEqual(len(of_kind(things, kind)), 3)
            self.assertEqual(len(of_kind(things, "HorizontalPodAutoscaler")) + len(of_kind(things, "ScaledObject")), 3)

    def test_keda_reads_the_series_of_its_own_release(self):
        queries = {name: [trigger["metadata"]["query"] for t in of_kind(render("autoscaling.engine=keda", "vision.autoscaling.enabled=true", "vision.autoscaling.minReplicas=0", name=name), "ScaledObject")
                          for trigger in t["spec"]["triggers"]] for name in ("diptych", "diptych-vision-2")}
        self.assertEqual(len(queries["diptych"]), 3)
        for name, pods in (("diptych", "diptych-{}-6d5f7c9b8d-x2k4p"), ("diptych-vision-2", "diptych-vision-2-{}-6d5f7c9b8d-x2k4p")):
            for query in queries[name]:
                tier = re.search(r'job="diptych-(\w+)"', query)[1]
                chosen = re.search(r'pod=~"([^"]+)"', query)[1]
                self.assertTrue(re.fullmatch(chosen, pods.format(tier)))
                others = ("diptych-{}-6d5f7c9b8d-x2k4p", "diptych-vision-2-{}-6d5f7c9b8d-x2k4p", "other-{}-6d5f7c9b8d-x2k4p")
                self.assertEqual([other for other in others if re.fullmatch(chosen, other.format(tier))], [pods])

    def test_a_gateway_that_requests_more_memory_may_have_it(self):
        limit = lambda *settings: next(c for _, c in chart.containers(self.taken(*settings)) if c["name"] == "gateway")["resources"]["limits"]["memory"]  # noqa: E731
        self.assertEqual(limit("gateway.resources.requests.memory=8Gi"), "8192Mi")
        self.assertEqual(limit("gateway.resources.requests.memory=1G"), "3328Mi")

    def test_a_proxy_reaches_those_who_fetch(self):
        things = self.taken("model.source=pull", "model.pull.id=a/b", "vision.extraEnv[0].name=HTTPS_PROXY,vision.extraEnv[0].value=http://proxy:3128",
                            "networkPolicy.egress[0].ports[0].port=3128")
        fetching = {thing["metadata"]["name"]: {e["name"] for e in c["env"]} for thing, c in chart.containers(things) if c["name"] == "pull"}
        self.assertIn("HTTPS_PROXY", fetching["diptych-vision"])
        self.assertNotIn("HTTPS_PROXY", fetching["diptych-language"])
        for policy in of_kind(things, "NetworkPolicy"):
            self.assertIn({"ports": [{"port": 3128}]}, policy["spec"]["egress"])

    def test_routes(self):
        things = self.taken(*EDGE, *TLS, "routes.hostnames[0]=a.example.com", "routes.grpcHostnames[0]=b.example.com", "routes.backendTls.caConfigMap=edge-ca")
        self.assertEqual({kind: len(of_kind(things, kind)) for kind in ("GRPCRoute", "HTTPRoute", "BackendTLSPolicy")}, {"GRPCRoute": 1, "HTTPRoute": 1, "BackendTLSPolicy": 1})
        self.assertEqual(of_kind(things, "BackendTLSPolicy")[0]["spec"]["validation"]["caCertificateRefs"], [{"group": "", "kind": "ConfigMap", "name": "edge-ca"}])
        for settings in (("routes.http=false",), ("routes.grpc=false",), ("routes.grpcParentRefs[0].name=edge,routes.grpcParentRefs[0].sectionName=grpc",),
                         ("routes.hostnames[0]=a.example.com", "routes.grpcHostnames[0]=*.b.example.com")):
            self.assertFalse(of_kind(self.taken(*EDGE, *settings), "BackendTLSPolicy"), "there is no TLS")
        self.assertFalse(of_kind(self.taken(*EDGE, *TLS, "routes.grpc=false", "routes.backendTls.enabled=false"), "BackendTLSPolicy"))

    def test_helms_test_shows_a_certificate_where_callers_must(self):
        for settings, shown in ((TLS, False), ((*TLS, "tls.clientCa=true"), True)):
            pod = of_kind(self.taken(*settings), "Pod")[0]["spec"]
            names = {variable["name"] for variable in pod["containers"][0]["env"]}
            self.assertIn("DIPTYCH_TLS_CA", names)
            self.assertEqual({"DIPTYCH_TLS_CERT", "DIPTYCH_TLS_KEY"} <= names, shown)
            volume = next(v for v in pod["volumes"] if v["name"] == "tls")["secret"]
            self.assertEqual("items" in volume, not shown, "the key is mounted where it is used")


class DocumentedValuesTest(unittest.TestCase):
    def test_the_values_of_the_guide_render_as_it_says(self):
        guide = (chart.ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
        blocks = re.findall(r"```yaml\n(# \w+\.yaml: .*?)```", guide, re.DOTALL)
        self.assertEqual(len(blocks), 1)
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(blocks[0].replace("REGISTRY", "r.example.com"))
            file.flush()
            things = render(file=pathlib.Path(file.name))
        for thing in things:
            if thing["kind"] not in EXTENSIONS:
                chart.validate(thing)
        self.assertEqual({container["image"].partition("/")[0] for _, container in chart.containers(things)}, {"r.example.com"})
        claims = {v["persistentVolumeClaim"]["claimName"] for spec in pod_specs(things) for v in spec.get("volumes", []) if "persistentVolumeClaim" in v}
        secrets = {v["secret"]["secretName"] for spec in pod_specs(things) for v in spec.get("volumes", []) if "secret" in v}
        for name in (*claims, *secrets):
            self.assertRegex(guide, rf"name: {name}\b|secret generic {name} ", "nothing makes it")


class NotesTest(unittest.TestCase):
    def test_they_say_how_to_ask_this_release(self):
        plain = chart.notes()
        self.assertIn("diptych ask --server 127.0.0.1:7000 photo.jpg", plain)
        self.assertIn("http://127.0.0.1:8080/ is the playground", plain)
        self.assertIn("Nobody is asked for a key", plain)
        keyed = chart.notes("apiKeys.secretName=keys")
        self.assertIn("DIPTYCH_API_KEY=KEY diptych ask", keyed)
        self.assertNotIn("Nobody is asked for a key", keyed)
        self.assertIn("apiKeys.testSecret.name", keyed)

    def test_under_tls_they_give_authority_and_name(self):
        secure = chart.notes(*TLS, "gateway.ports.grpc=7443")
        self.assertIn("get secret diptych-gateway-tls -o 'jsonpath={.data.ca\\.crt}'", secure)
        self.assertIn("diptych ask --server diptych.team.svc:7443 --tls_ca ca.crt photo.jpg", secure)
        self.assertIn("https://diptych.team.svc:8080/", secure)
        self.assertIn("--tls_cert CERT --tls_key KEY", chart.notes(*TLS, "tls.clientCa=true"))

    def test_they_name_what_is_off(self):
        self.assertIn("No tier scales by itself", chart.notes())
        self.assertNotIn("No tier scales by itself", chart.notes("vision.autoscaling.enabled=true"))
        self.assertIn("metrics.podMonitor.enabled", chart.notes())
        self.assertIn("knows only coloured shapes", chart.notes())
        self.assertNotIn("knows only coloured shapes", chart.notes("model.source=claim", "model.claim.name=c"))


class RefusedValuesTest(unittest.TestCase):
    def refused(self, *settings):
        import helm_python  # pylint: disable=import-outside-toplevel
        with self.assertRaises(helm_python.HelmError) as caught:
            chart.template(None, *settings)
        return str(caught.exception)

    def test_the_message_names_the_value(self):
        for setting, named in (("vision.replica=3", "replica"), ("vision.dtype=float8", "dtype"), ("language.flags.max_bach=4", "max_bach"),
                               ("gateway.flags.max_inflight=many", "max_inflight"), ("gateway.ports.grpc=70000", "grpc"),
                               ("drain.delay=soon", "delay"), ("language.autoscaling.minReplicas=0", "minReplicas"),
                               ("vision.flags.cache_bytes=lots", "cache_bytes"), ("model.source=ftp", "source"), ("autoscaling.engine=vpa", "engine"),
                               ("vision.extraArgs[0]=cache_bytes", "extraArgs"), ("model.name=../x", "name"), ("visoin.replicas=1", "visoin"),
                               ("tracing.endpoint=http://collector:4317", "endpoint"), ("tracing.sampleRatio=2", "sampleRatio"),
                               (f"image.tag={DIGEST}", "/image/tag"), ("image.registry=https://r.example.com", "/image/registry"), ("image.registry=r.example.com/", "/image/registry"),
                               ("image.cpu=cpu@sha256:12", "/image/cpu"), ("vision.autoscaling.targets.waiting=0", "/vision/autoscaling/targets/waiting"),
                               (f"commonLabels.team={'a' * 64}", "/commonLabels/team"), ("commonLabels.team=two words", "/commonLabels/team"),
                               ("fullnameOverride=Team_A", "/fullnameOverride"), ("routes.hostnames[0]=https://a", "/routes/hostnames/0"), ("tls.gatewaySecret=My Secret", "/tls/gatewaySecret"),
                               ("vision.replicas=1000000", "/vision/replicas"), ("language.autoscaling.behavior.scaleUp.tolerance=much", "/language/autoscaling/behavior/scaleUp/tolerance"),
                               ("vision.extraEnv[0].name=DIPTYCH_THREADS", "/vision/extraEnv/0/name"), ("serviceAccount.name=A_B", "/serviceAccount/name")):
            with self.subTest(setting=setting):
                self.assertIn(named, self.refused(setting))

    def test_values_that_need_another_say_which(self):
        self.assertIn("model.claim.name", self.refused("model.source=claim"))
        self.assertIn("model.oci.reference", self.refused("model.source=oci"))
        self.assertIn("model.pull.id", self.refused("model.source=pull"))
        self.assertIn("autoscaling.engine=keda", self.refused("vision.autoscaling.enabled=true", "vision.autoscaling.minReplicas=0"))
        self.assertIn("maxReplicas", self.refused("vision.autoscaling.enabled=true", "vision.autoscaling.minReplicas=9"))
        self.assertIn("maxConnectionAge", self.refused("drain.delay=8s"))
        self.assertIn("routes.parentRefs", self.refused("routes.enabled=true"))
        self.assertIn("tls.certManager.issuer.name", self.refused("tls.enabled=true", "tls.certManager.enabled=true"))
        self.assertIn("tls.enabled", self.refused("tls.clientCa=true"))
        self.assertIn("tls.enabled", self.refused("tls.certManager.enabled=true"))
        self.assertIn("tls.tierSecret", self.refused(*TLS, "tls.certManager.enabled=true", "tls.certManager.issuer.name=i", "tls.gatewaySecret=one", "tls.tierSecret=one"))

    def test_values_that_contradict_each_other(self):
        self.assertIn("gateway.ports", self.refused("gateway.ports.http=7000"))
        self.assertIn("vision.ports", self.refused("vision.ports.metrics=7001"))
        for nothing in ("0", "0%"):
            self.assertIn("language.strategy", self.refused(f"language.strategy.maxSurge={nothing}", "language.strategy.maxUnavailable=0"))
        nulls = [f"language.autoscaling.targets.{name}=null" for name in ("waiting", "running", "kvUsageRatio")]
        self.assertIn("language.autoscaling.targets", self.refused("language.autoscaling.enabled=true", *nulls))

    def test_what_could_not_run(self):
        for settings, named in ((("vision.resources.requests.memory=4Gi",), "vision.resources: requests.memory, 4Gi"),
                                (("language.resources.requests.memory=1.5Gi", "language.resources.limits.memory=1.25Gi"), "language.resources"),
                                (("vision.resources.limit.memory=4Gi",), "/vision/resources"), (("gateway.resources.requests.cpu=many",), "/gateway/resources/requests/cpu"),
                                (("podSecurityContext.runAsUser=0",), "podSecurityContext.runAsUser"),
                                (("vision.extraArgs[0]=--listen=0.0.0.0:1",), "vision.ports.grpc"), (("gateway.extraArgs[0]=--http_listen=",), "gateway.ports.http"),
                                (("language.extraArgs[0]=--drain_delay=1h",), "drain.delay"),
                                (("vision.autoscaling.enabled=true", "vision.autoscaling.targets.busyRatio=1100m"), "vision.autoscaling.targets.busyRatio")):
            with self.subTest(settings=settings):
                self.assertIn(named, self.refused(*settings))

    def test_routes_of_two_kinds_for_one_host(self):
        for hosts in ((), ("routes.hostnames[0]=a.example.com",), ("routes.hostnames[0]=a.example.com", "routes.grpcHostnames[0]=a.example.com"),
                      ("routes.hostnames[0]=*.example.com", "routes.grpcHostnames[0]=grpc.example.com"), ("routes.hostnames[0]=a.b.c", "routes.grpcHostnames[0]=*.b.c")):
            self.assertIn("routes.grpcHostnames", self.refused(*EDGE, *hosts))

    def test_labels_that_are_the_charts_own(self):
        for setting in ("commonLabels", "vision.podLabels", "metrics.rules.labels"):
            self.assertIn("app.kubernetes.io/component", self.refused(setting + ".app\\.kubernetes\\.io/component=x"))

    def test_a_block_that_was_taken_out_is_missed_by_name(self):
        for block in ("vision.autoscaling", "gateway.ports", "tls", "routes.backendTls", "image.cpu"):
            self.assertIn(block.rpartition(".")[2], self.refused(f"{block}=null"))

    def test_a_release_whose_name_no_service_can_have(self):
        import helm_python  # pylint: disable=import-outside-toplevel
        with self.assertRaisesRegex(helm_python.HelmError, "fullnameOverride"):
            chart.template(name="7b")


if __name__ == "__main__":
    if not chart.is_possible():
        print("skipped: Helm's library is not there; tests/cluster/setup.sh fetches it")
        sys.exit(77)
    unittest.main(argv=sys.argv[1:])
