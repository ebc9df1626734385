"""Python's httpcore under the command line of the other clients (see benches/src/lib.rs)."""

import asyncio
import json
import socket
import ssl
import sys
import time

import httpcore

CANNOT = 3
QUANTILES = (0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 1)
PIECE = bytes(64 << 10)


def parse(words):
    task = {"work": words[0], "requests": 1, "in-flight": 1, "size": 0}
    words = iter(words[1:])
    for word in words:
        name = word.removeprefix("--")
        if name in ("http2", "resume", "latencies"):
            task[name] = True
        else:
            value = next(words)
            task[name] = int(value) if value.isdigit() else value
    return task


async def pieces(size):
    while size > 0:
        yield PIECE[:size]
        size -= len(PIECE)


async def ask(pool, task):
    if task["work"] == "upload":
        headers = {"Content-Length": str(task["size"])}
        call = pool.stream("POST", task["url"], headers=headers, content=pieces(task["size"]))
    else:
        call = pool.stream("GET", task["url"])
    length = 0
    async with call as response:
        if response.status != 200:
            raise RuntimeError(f"answered with {response.status}")
        async for piece in response.aiter_stream():
            length += len(piece)
    return length


async def together(pool, task, requests):
    times = []

    async def one_by_one(share):
        length = 0
        for _ in range(share):
            begun = time.perf_counter_ns()
            length += await ask(pool, task)
            times.append(time.perf_counter_ns() - begun)
        return length

    workers = task["in-flight"]
    shares = [requests // workers + (n < requests % workers) for n in range(workers)]
    wall, cpu = time.perf_counter_ns(), time.process_time_ns()
    lengths = await asyncio.gather(*(one_by_one(share) for share in shares))
    wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
    times.sort()
    quantiles = [[q, times[round(q * (len(times) - 1))]] for q in QUANTILES] if times else []
    return {
        "requests": requests,
        "bytes": sum(lengths),
        "cpu_ns": cpu,
        "wall_ns": wall,
        "latency_ns": quantiles if task.get("latencies") else [],
    }


def know(addresses):
    """Every name has these addresses."""
    known = []
    for host, _, port in (address.rpartition(":") for address in addresses):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        address = (host.strip("[]"), int(port)) + ((0, 0) if ":" in host else ())
        known.append((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address))
    socket.getaddrinfo = lambda *_, **__: known


async def main(task):
    if task["work"] not in ("get", "upload", "connect", "happy-eyeballs") or task.get("resume"):
        sys.exit(CANNOT)
    context = None
    if "ca" in task:
        # The pool says by ALPN what it may speak.
        context = ssl.create_default_context(cafile=task["ca"])
    if task["work"] == "happy-eyeballs":
        know(task["addresses"].split(","))
    pool = httpcore.AsyncConnectionPool(
        ssl_context=context,
        max_connections=task["in-flight"],
        max_keepalive_connections=0 if task["work"] == "connect" else task["in-flight"],
        http1=not task.get("http2"),
        http2=bool(task.get("http2")),
    )
    async with pool:
        if task["work"] in ("get", "upload"):
            await together(pool, task, task["in-flight"])
        print(json.dumps(await together(pool, task, task["requests"])))


asyncio.run(main(parse(sys.argv[1:])))
