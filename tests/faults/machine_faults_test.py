"""What goes wrong with the machine under the processes: disk, memory, clock, packets, whoever reads the log (fault_case.py). Wants root."""
import fcntl
import http.client
import json
import os
import pathlib
import subprocess
import tempfile
import threading
import unittest

import own_namespaces

own_namespaces.enter()

from fault_case import BINARIES, FaultCase, new_image, run, whole_only  # noqa: E402
from fault_stack import JSON, Callers, Process, Stack, body_of, free_port  # noqa: E402
from memory_cap import MemoryCap  # noqa: E402
from test_programs import environment, library, program  # noqa: E402

FAKETIME = library("faketime/libfaketimeMT.so.1")
NFT = program("nft")


class MachineFaultsTest(FaultCase):
    CAP = 2 << 30  # the chart's for a gateway

    # Disks.

    def test_no_file_system_can_be_written(self):
        with tempfile.TemporaryFile("w+") as log, Stack(BINARIES, log=log, preexec=own_namespaces.seal) as stack:
            outcomes = [stack.ask(image=new_image(number)) for number in range(5)]
            self.expect_true(outcomes)
            self.assertEqual([process.stop() for process in stack.processes], [0, 0, 0])
            self.measure("5 of 5 answered, all processes ended well")

    # Whoever reads the log.

    def test_nobody_reads_the_logs(self):
        read_end, write_end = os.pipe()
        os.close(read_end)
        with os.fdopen(write_end, "w") as broken, Stack(BINARIES, log=broken) as stack:
            self.expect_true([stack.ask(image=new_image(number)) for number in range(5)])
            self.measure("5 of 5 answered")

    def test_the_reader_of_the_logs_stands_still(self):
        read_end, write_end = os.pipe()
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)  # full after some lines
        with os.fdopen(read_end) as reader, os.fdopen(write_end, "w") as stuck, Stack(BINARIES, log=stuck) as stack:
            outcomes = [stack.ask(image=new_image(number)) for number in range(40)]
            self.expect_true(outcomes)
            stack.await_idle()
            os.set_blocking(reader.fileno(), False)
            while reader.read(1 << 16):
                pass
            self.expect_true([stack.ask(image=new_image(40))])
            self.assertIn("lines of the log were lost", reader.read())
            self.assertEqual([process.stop() for process in stack.processes], [0, 0, 0])
            self.measure(f"40 of 40 answered, the slowest in {self.slowest(outcomes):.2f} s; the log says how many lines are missing")

    # Memory.

    @whole_only
    def test_a_gateway_with_little_memory_meets_large_questions(self):
        """--max_inflight_bytes is what keeps it below its cap."""
        try:
            cap = MemoryCap(self.CAP)
        except OSError as error:
            raise unittest.SkipTest(f"no cgroup can be made: {error}") from None
        self.addCleanup(cap.remove)
        large = new_image(0) + bytes(24 << 20)
        with Stack(BINARIES) as stack:
            gateway = Process(BINARIES / "gateway", [
                f"--http_listen=127.0.0.1:{(port := free_port())}",
                f"--vision_target=127.0.0.1:{stack.visions[0].port}", f"--language_target=127.0.0.1:{stack.languages[0].port}"],
                preexec=cap.enter)
            self.addCleanup(gateway.stop)
            gateway.wait_ready()
            stack.http_port, outcomes, lock = port, [], threading.Lock()

            def ask():
                status = self.status_of(stack, large)
                with lock:
                    outcomes.append(status)

            threads = [threading.Thread(target=ask) for _ in range(30)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertTrue(gateway.alive(), gateway.log()[-2000:])
            self.expect_true([stack.ask()])
            self.assertLessEqual(set(outcomes), {200, 408, 413, 429, 503, None})
            told = [outcome for outcome in outcomes if outcome]
            self.measure(f"30 questions of 33 MB each: {told.count(200)} answered, {len(told) - told.count(200)} refused, {30 - len(told)} of which "
                         f"the caller, still sending, saw only the end; peak {cap.peak() >> 20} of {self.CAP >> 20} MiB")

    @staticmethod
    def status_of(stack, image):
        """None where the connection ended first."""
        connection = stack.connect(timeout=120)
        try:
            try:
                connection.request("POST", "/v1/chat/completions", json.dumps(body_of("What color is the circle?", image)), JSON)
            except OSError:
                pass  # it was refused before it was whole: the answer may be here
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    # Clocks.

    @unittest.skipUnless(FAKETIME, "libfaketime is not installed")
    def test_the_clock_jumps(self):
        with tempfile.TemporaryDirectory() as folder:
            offset = pathlib.Path(folder) / "offset"
            offset.write_text("+0")
            environment = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1",
                           "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
            os.environ.update(environment)
            try:
                stack = Stack(BINARIES)
            finally:
                for name in environment:
                    del os.environ[name]
            with stack:
                callers = Callers(4, self.ask_new(stack))
                for jump in ("+3600", "+3590", "+86400"):
                    callers.await_more(self.random.randrange(5, 15))
                    (offset.with_suffix(".new")).write_text(jump)
                    offset.with_suffix(".new").replace(offset)
                callers.await_more(10)
                self.expect_true(outcomes := callers.stop())
                stack.await_idle()
                for process in stack.processes:  # libfaketime does not reach the waits of gRPC, so an orderly end would be late
                    process.kill()
                self.measure(f"{len(outcomes)} of {len(outcomes)} answered over jumps of an hour, ten seconds back, and a day, "
                             f"the slowest in {self.slowest(outcomes):.2f} s")

    # Packets.

    @whole_only
    @unittest.skipUnless(NFT, "nft is not installed")
    def test_packets_are_lost(self):
        with Stack(BINARIES) as stack:
            for percent in (1, 5):
                self.lose(percent)
                callers = Callers(4, self.ask_new(stack))
                callers.await_more(25, seconds=120)
                self.expect_true(outcomes := callers.stop())
                self.measure(f"{len(outcomes)} of {len(outcomes)} answered with {percent} % lost, the slowest in {self.slowest(outcomes):.1f} s")
            subprocess.run([NFT, "flush", "ruleset"], check=True, env=environment())
            stack.await_idle()

    def lose(self, percent):
        """Of all packets between the processes and their callers."""
        rules = ("flush ruleset; table inet loss { chain input { type filter hook input priority 0; "
                 f"meta l4proto tcp numgen random mod 100 < {percent} drop; }}; }}")
        subprocess.run([NFT, rules], check=True, env=environment())
        self.addCleanup(subprocess.run, [NFT, "flush", "ruleset"], check=True, env=environment())


if __name__ == "__main__":
    run()
