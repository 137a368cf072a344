"""The asyncio client does what the other one does.

Usage: client_asyncio_test.py FOLDER_OF_BINARIES FOLDER_OF_THE_PACKAGE LIBRARIES; run by ctest with the oldest and the newest versions
of the libraries that the package allows, as `python_asyncio_oldest_test` and `python_asyncio_newest_test`.
"""
import asyncio

import client_stack
from client_stack import LONG, QUESTION, ClientTest

import diptych
from http_stack import SAMPLE


class AsyncioTest(ClientTest):
    def test_the_async_client_does_the_same(self):
        async def ask():
            async with diptych.AsyncClient(self.address) as client:
                await client.wait_until_ready(10)
                answer = await client.ask(SAMPLE, QUESTION)
                async with client.stream(SAMPLE) as stream:
                    started = await stream.started()
                    text = "".join([piece.text async for piece in stream])
                    whole = await stream.answer()
                analysis = await client.analyze(SAMPLE)
                plan = await client.plan([224], patch_size=14)
                with self.assertRaises(diptych.InvalidRequest) as raised:
                    await client.ask(b"no image")
                with self.assertRaises(diptych.InvalidRequest) as streamed:
                    await client.stream(b"no image").answer()
                with self.assertRaises(diptych.DeadlineExceeded):
                    await client.ask(SAMPLE, timeout=0.001, **LONG)
            return (answer.text, started.model, text == whole.text, analysis.visual_tokens, plan.patch_tokens,
                    raised.exception.reason, streamed.exception.reason)

        self.assertEqual(asyncio.run(ask()), ("red", "demo", True, 65, (256,), "IMAGE_FORMAT", "IMAGE_FORMAT"))

    def test_a_cancelled_async_stream_ends_but_its_task_goes_on(self):
        async def ask():
            async with diptych.AsyncClient(self.address) as client:
                stream = client.stream(SAMPLE, **LONG)
                await stream.started()
                stream.cancel()
                with self.assertRaises(diptych.Cancelled):
                    await stream.answer()
                return (await client.ask(SAMPLE, QUESTION)).text

        self.assertEqual(asyncio.run(ask()), "red")

    def test_cancelling_a_task_cancels_the_request(self):
        async def ask():
            async with diptych.AsyncClient(self.address) as client:
                task = asyncio.ensure_future(client.ask(SAMPLE, **LONG))
                await asyncio.sleep(0)
                task.cancel()
                await task

        with self.assertRaises(asyncio.CancelledError):
            asyncio.run(ask())


if __name__ == "__main__":
    client_stack.main()
