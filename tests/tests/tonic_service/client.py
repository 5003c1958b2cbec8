"""Calls the orders service with grpcio, without generated code. Reads steps as JSON, and writes
the outcome of each as JSON."""

import json
import sys
import threading

import grpc

TEA = b"\x0a\x03tea\x10\x01"  # Line: article = "tea", quantity = 1
THREE_PRICES = b"\x0a\x03tea\x10\x03"  # WatchRequest: article = "tea", times = 3
NO_END = b"\x0a\x03tea"  # WatchRequest: article = "tea", until the client leaves
NEVER = threading.Event()

REQUESTS = {
    "Place": TEA,
    "Watch": THREE_PRICES,
    "Import": [TEA, TEA],
    "Quote": [TEA, TEA],
}


def endless():
    """A stream of requests that is opened and never closed."""
    yield TEA
    NEVER.wait()


def megabyte():
    """A stream of a million bytes in 16 messages."""
    for _ in range(16):
        yield bytes(1 << 16)


def start(channel, step):
    """Starts a call; returns an iterator over its responses."""
    kind = step["kind"]
    path = f"/orders.v1.Orders/{kind}"
    options = {"metadata": [], "timeout": step.get("deadline", 60)}
    if step.get("token"):
        options["metadata"] = [("authorization", f"Bearer {step['token']}")]
    request = REQUESTS[kind]
    if step.get("endless"):
        request = NO_END if kind == "Watch" else endless()
    elif step.get("megabyte"):
        request = megabyte()
    elif isinstance(request, list):
        request = iter(request)
    if kind == "Place":
        return channel.unary_unary(path).future(request, **options)
    if kind == "Watch":
        return channel.unary_stream(path)(request, **options)
    if kind == "Import":
        return channel.stream_unary(path).future(request, **options)
    return channel.stream_stream(path)(request, **options)


def finish(call, step):
    """Reads a call to its end, or cancels it after some responses."""
    answers = 0
    try:
        if step["kind"] in ("Place", "Import"):
            call.result()
            answers = 1
        else:
            for _ in call:
                answers += 1
                if answers == step.get("cancel_after"):
                    call.cancel()
    except grpc.RpcError:
        pass  # The status is read below.
    except grpc.FutureCancelledError:
        pass
    return {"code": call.code().value[0], "details": call.details(), "answers": answers}


def main():
    job = json.load(sys.stdin)
    # No retries, and no proxy from the environment.
    options = [("grpc.enable_retries", 0), ("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(job["at"], options) as channel:
        if job.get("together"):
            calls = [(start(channel, step), step) for step in job["steps"]]
            done = [finish(call, step) for call, step in calls]
        else:
            done = [finish(start(channel, step), step) for step in job["steps"]]
    NEVER.set()
    json.dump(done, sys.stdout)


main()
