"""What goes wrong around the processes and their networks, and what callers see of it: real processes, real faults (fault_case.py)."""
import json
import resource
import signal
import socket
import ssl
import threading
import time

from certificates import Authority
from chaos_proxy import ChaosProxy
from fault_case import BINARIES, WHOLE, FaultCase, new_image, run, whole_only
from fault_stack import JSON, Broken, Callers, Process, Stack, free_port


class FaultsTest(FaultCase):
    # Processes that end.

    def test_a_vision_replica_is_killed_and_comes_back(self):
        with Stack(BINARIES, vision=2) as stack:
            callers = Callers(4, self.ask_new(stack))
            for _ in range(5 if WHOLE else 2):
                lost = self.random.choice(stack.visions)
                callers.await_more(self.random.randrange(5, 20))
                lost.kill()
                callers.await_more(10)
                lost.restart()
            outcomes = callers.stop()
            self.expect_true(outcomes)
            stack.await_idle()
            self.measure(f"{len(outcomes)} of {len(outcomes)} answered, the slowest in {self.slowest(outcomes):.2f} s")

    def test_a_language_replica_is_killed_in_the_middle_of_streams(self):
        """Again and again, once all streams of a round have begun, until so many have lost the replica that had begun them."""
        at_once, wanted, streams, lost = 20, 200 if WHOLE else 20, 0, 0
        with Stack(BINARIES, language=2, gateway_flags=["--affinity=none"]) as stack:
            while lost < wanted:
                questions = [self.question_of_stream(streams + number) for number in range(at_once)]
                expected, _ = self.stream_all(stack, questions)
                streamed, resumed = self.stream_all(stack, questions, replica := self.random.choice(stack.languages))
                for question, got, true in zip(questions, streamed, expected):
                    self.assertIsInstance(true, str, true)
                    self.assertEqual(got, true, question)
                streams, lost = streams + at_once, lost + resumed
                self.await_asked(stack, replica)
            stack.await_idle()
            self.assertEqual(sum(" resumed=" in line for line in stack.gateway.log().splitlines()), lost, "in the gateway's log")
            self.measure(f"{streams} of {streams} streams whole and identical, of which {lost} lost their replica")

    @staticmethod
    def await_asked(stack, replica):
        """Until the gateway has found it again and gives it questions."""
        end = time.monotonic() + 60
        while not replica.metric("diptych_requests_total"):
            if time.monotonic() > end:
                raise AssertionError("a replica that came back is not asked")
            stack.ask(image=None)

    def question_of_stream(self, number):
        options = {"text": f"What is number {number}?", "max_tokens": 80, "ignore_eos": True}
        if number % 3 == 1:
            options |= {"temperature": 1.0, "seed": self.random.randrange(1 << 30)}
        elif number % 3 == 2:
            options |= {"frequency_penalty": 0.7, "repetition_penalty": 1.2}
        return options

    def stream_all(self, stack, questions, lost=None):
        """The text or error of each, all asked at once, and how many went on elsewhere. `lost` is killed when each has begun or failed."""
        texts, resumed = [None] * len(questions), [0] * len(questions)
        begun = [threading.Event() for _ in questions]

        def work(number):
            def note(timings):
                resumed[number] = timings.get("resumed", 0)

            try:
                texts[number] = stack.stream(**questions[number], on_piece=begun[number].set, on_timings=note)
            except (Broken, OSError) as error:
                texts[number] = error
            begun[number].set()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(len(questions))]
        for thread in threads:
            thread.start()
        for event in begun:
            event.wait()
        if lost:
            lost.kill()
            lost.restart()
        for thread in threads:
            thread.join()
        return texts, sum(count > 0 for count in resumed)

    def test_without_any_language_replica_callers_are_told_at_once(self):
        with Stack(BINARIES) as stack:
            stack.languages[0].kill()
            status, _, seconds = stack.ask()
            self.assertEqual(status, 503)
            self.assertLess(seconds, 4)  # one second where the machine is at rest
            status, _, later = stack.ask()
            self.assertEqual(status, 503)
            stack.languages[0].restart()
            back = stack.await_ready(seconds=5)
            stack.await_idle()
            self.measure(f"503 after {seconds:.2f} s, then {later:.2f} s, served {back:.2f} s after the replica was back")

    @whole_only
    def test_the_gateway_is_killed(self):
        with Stack(BINARIES) as stack:
            callers = Callers(8, lambda: stack.stream(max_tokens=100, ignore_eos=True))
            callers.await_more(self.random.randrange(1, 8))
            stack.gateway.kill()
            begin = time.monotonic()
            callers.stop()
            stack.await_idle(seconds=5)
            idle = time.monotonic() - begin
            stack.gateway.restart()
            self.expect_true([stack.ask()])
            self.measure(f"the tiers held nothing for it any more after {idle:.1f} s")

    # Processes that stand still.

    @whole_only
    def test_a_vision_replica_stands_still(self):
        self.stand_still("vision")

    def test_a_language_replica_stands_still(self):
        self.stand_still("language")

    def stand_still(self, tier):
        with Stack(BINARIES, **{tier: 2}) as stack:
            replicas = stack.visions if tier == "vision" else stack.languages
            callers = Callers(4, self.ask_new(stack))
            callers.await_more(10)
            self.random.choice(replicas).signal(signal.SIGSTOP)
            callers.await_more(12)
            outcomes = callers.stop()
            for replica in replicas:
                replica.signal(signal.SIGCONT)
            self.expect_true(outcomes)
            self.assertLess(self.slowest(outcomes), 15)
            stack.await_idle()
            self.measure(f"{len(outcomes)} of {len(outcomes)} answered, the slowest in {self.slowest(outcomes):.1f} s")

    @whole_only
    def test_the_gateway_stands_still_and_goes_on(self):
        with Stack(BINARIES) as stack:
            callers = Callers(4, self.ask_new(stack))
            callers.await_more(5)
            stack.gateway.signal(signal.SIGSTOP)
            time.sleep(self.random.uniform(1, 4))
            stack.gateway.signal(signal.SIGCONT)
            callers.await_more(10)
            self.expect_true(outcomes := callers.stop())
            stack.await_idle()
            self.measure(f"{len(outcomes)} of {len(outcomes)} answered")

    # Networks.

    def proxied(self, tier, **stack):
        """A stack whose replicas of `tier` are reached through proxies, and these."""
        proxies = []

        def via(name, port):
            if name != tier:
                return port
            proxies.append(ChaosProxy(port))
            self.addCleanup(proxies[-1].stop)
            return proxies[-1].port

        running = Stack(BINARIES, via=via, **stack)
        self.addCleanup(running.stop)
        return running, proxies

    @whole_only
    def test_a_connection_is_half_open(self):
        stack, proxies = self.proxied("language", language=2)
        callers = Callers(4, self.ask_new(stack))
        callers.await_more(10)
        self.random.choice(proxies).frozen = True
        callers.await_more(12)
        self.expect_true(outcomes := callers.stop())
        self.assertLess(self.slowest(outcomes), 15)
        for proxy in proxies:
            proxy.frozen = False
        self.measure(f"{len(outcomes)} of {len(outcomes)} answered, the slowest in {self.slowest(outcomes):.1f} s")

    @whole_only
    def test_a_link_carries_one_megabit_a_second(self):
        stack, proxies = self.proxied("language")
        for proxy in proxies:
            proxy.bytes_per_second, proxy.delay = 125_000, 0.01
        outcomes = [stack.ask(image=new_image(number)) for number in range(10)]
        self.expect_true(outcomes)
        stack.await_idle()
        self.measure(f"10 of 10 answered, the slowest in {self.slowest(outcomes):.1f} s")

    @whole_only
    def test_connections_are_reset(self):
        stack, proxies = self.proxied("language", language=2)
        callers = Callers(4, self.ask_new(stack))
        earlier = before = [-1] * 4
        for _ in range(10):
            callers.await_more(self.random.randrange(3, 10))
            callers.await_each(earlier)  # so that a question loses two of its three attempts at most
            self.random.choice(proxies).reset_all()
            earlier, before = before, callers.had()
        self.expect_true(outcomes := callers.stop())
        stack.await_idle()
        self.measure(f"{len(outcomes)} of {len(outcomes)} answered over 10 resets")

    def test_bytes_are_corrupted_between_the_tiers(self):
        """A bit that is another one may cost its request, which is then told so; it changes no answer, and ends no process."""
        stack, proxies = self.proxied("vision", vision=2, gateway_flags=["--request_timeout=10s"])
        for proxy in proxies:
            proxy.chance = self.random
        ask, outcomes = self.ask_new(stack), []
        while len(outcomes) < (200 if WHOLE else 40) or sum(proxy.corrupted for proxy in proxies) < 10:
            outcomes.append(ask())
        for proxy in proxies:
            proxy.chance = None
        self.expect_true(true := [outcome for outcome in outcomes if outcome[0] == 200])
        told = [outcome for outcome in outcomes if outcome[0] != 200]
        for status, reply, _ in told:
            self.assertTrue(status >= 400 and reply["error"]["code"], reply)
            self.assertFalse(reply["error"]["code"].startswith("IMAGE_"), f"a good image is called bad: {reply}")
        stack.await_ready(seconds=30)
        self.assertTrue(all(process.alive() for process in stack.processes))
        stack.await_idle()
        self.measure(f"{sum(proxy.corrupted for proxy in proxies)} bits: {len(true)} of {len(outcomes)} answered, and rightly; "
                     f"{len(told)} told with a status")

    # Callers.

    @whole_only
    def test_callers_that_trickle_or_never_read_end_and_honest_ones_are_served(self):
        with Stack(BINARIES) as stack:
            slow = [self.trickler(stack, kind) for kind in ("announces", "half a header") for _ in range(20)]
            outcomes = [stack.ask() for _ in range(10)]
            self.expect_true(outcomes)
            begin = time.monotonic()
            for connection in slow:
                connection.settimeout(20)
                while True:  # to its end
                    try:
                        if not connection.recv(4096):
                            break
                    except ConnectionResetError:
                        break
                connection.close()
            took = time.monotonic() - begin
            stack.await_idle()
            self.measure(f"40 of them ended within {took:.1f} s; honest callers' slowest answer {self.slowest(outcomes):.2f} s")

    @staticmethod
    def trickler(stack, kind):
        connection = socket.create_connection(("127.0.0.1", stack.http_port))
        head = "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        connection.sendall((head + ("content-length: 9000\r\n\r\n{" if kind == "announces" else "x-")).encode())
        return connection

    # What the machine runs out of.

    def test_a_gateway_with_few_descriptors_outlasts_many_connections(self):
        few = 64

        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (few, few))

        with Stack(BINARIES, tier_flags=["--max_connection_age=1s"]) as stack:
            gateway = Process(BINARIES / "gateway", [
                f"--http_listen=127.0.0.1:{(port := free_port())}", f"--vision_target=127.0.0.1:{stack.visions[0].port}",
                f"--language_target=127.0.0.1:{stack.languages[0].port}"], preexec=limit)
            self.addCleanup(gateway.stop)
            gateway.wait_ready()
            stack.http_port = port
            self.expect_true([stack.ask()])
            honest = stack.connect()
            self.assertEqual(self.status_on(honest), 200)
            crowd = [self.connect_at_once(taken) for taken in (gateway.port, port) for _ in range(2 * few)]
            end = time.monotonic() + 2.5  # the connections to the tiers are renewed meanwhile
            while time.monotonic() < end:
                self.assertEqual(self.status_on(honest), 200, "its descriptors were taken")
                time.sleep(0.1)
            self.assertTrue(gateway.alive())
            honest.close()
            for connection in crowd:
                connection.close()
            back = stack.await_ready(seconds=10)
            self.measure(f"under {2 * few} connections on each port one that was there is served, new ones {back:.2f} s after they left")

    @staticmethod
    def status_on(connection):
        connection.request("POST", "/v1/completions", json.dumps({"prompt": "a", "max_tokens": 1}), JSON)
        reply = connection.getresponse()
        reply.read()
        return reply.status

    @staticmethod
    def connect_at_once(port):
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(("127.0.0.1", port))
        return connection

    def test_the_disk_of_the_logs_is_full(self):
        with open("/dev/full", "w") as full, Stack(BINARIES, log=full) as stack:
            outcomes = [stack.ask(image=new_image(number)) for number in range(5)]
            self.expect_true(outcomes)
            stack.await_idle()
            self.assertEqual([process.stop() for process in stack.processes], [0, 0, 0])
            self.measure("5 of 5 answered, all processes ended well")

    # Certificates.

    def test_certificates_that_are_wrong_expired_and_renewed(self):
        ours, theirs = Authority(), Authority()

        def shown(name):
            cert, key = ours.sign(name)
            return [f"--tls_cert={cert}", f"--tls_key={key}"]

        known = f"--tls_client_ca={ours.certificate}"
        with Stack(BINARIES, vision=2, tier_flags=[known], vision_flags=shown("vision"), language_flags=shown("language"),
                   gateway_flags=[*shown("gateway"), f"--tls_tier_ca={ours.certificate}"],
                   http_context=ssl.create_default_context(cafile=ours.certificate)) as stack:
            self.expect_true([stack.ask()])
            port = stack.languages[0].port
            self.assertTrue(self.is_heard(port, ours, ours.sign("caller")))
            self.assertFalse(self.is_heard(port, ours, theirs.sign("caller")), "a stranger")
            self.assertFalse(self.is_heard(port, ours, ours.sign("caller", expired=True)), "an expired one")
            self.assertFalse(self.is_heard(port, ours, None), "nobody")
            for wrong in ({"names": "DNS:elsewhere.invalid"}, {"expired": True}):
                stack.languages[0].kill()
                ours.sign("language", **wrong)
                stack.languages[0].restart()
                time.sleep(2)  # the gateway tries once a second
                status, _, seconds = stack.ask()
                self.assertEqual(status, 503, f"a tier is believed whose certificate is wrong: {wrong}")
                self.assertLess(seconds, 5)
                ours.sign("language")
                back = stack.await_ready(seconds=30)
            self.measure(f"refused in {seconds:.2f} s; served {back:.1f} s after the new certificate was there, without a restart")

    @staticmethod
    def is_heard(port, authority, shown):
        """Whether a gRPC server begins to talk with a caller that shows this certificate."""
        context = ssl.create_default_context(cafile=authority.certificate)
        context.set_alpn_protocols(["h2"])
        if shown:
            context.load_cert_chain(*shown)
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as plain, \
                    context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
                connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
                return len(connection.recv(9)) > 0
        except (ssl.SSLError, ConnectionError):
            return False


if __name__ == "__main__":
    run()
