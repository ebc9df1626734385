"""An ASGI application for Hypercorn.

GET  /hello         a line
GET  /bytes/N       N zero bytes, and no faster than they are taken
POST /echo          the body, while it arrives
POST /sink          how many bytes came
GET  /trailers      a line and trailers (HTTP/2 only)
GET  /early-hints   103, then 200
"""

PIECE = bytes(64 << 10)


async def body(receive):
    more = True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            return
        more = event.get("more_body", False)
        yield event.get("body", b"")


async def application(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("HTTP only")  # which is how to say so of "lifespan"

    async def start(status=200, headers=(), trailers=False):
        event = {"type": "http.response.start", "status": status, "headers": list(headers)}
        if trailers:
            event["trailers"] = True
        await send(event)

    async def more(data, is_last=False):
        await send({"type": "http.response.body", "body": data, "more_body": not is_last})

    _, route, *arguments = scope["path"].split("/")
    if route == "hello":
        await start(headers=[(b"content-length", b"22")])
        await more(b"Hello from Hypercorn!\n", is_last=True)
    elif route == "bytes":
        left = int(arguments[0])
        await start(headers=[(b"content-length", str(left).encode())])
        while left > len(PIECE):
            await more(PIECE)
            left -= len(PIECE)
        await more(PIECE[:left], is_last=True)
    elif route == "echo":
        await start()
        async for data in body(receive):
            await more(data)
        await more(b"", is_last=True)
    elif route == "sink":
        count = 0
        async for data in body(receive):
            count += len(data)
        await start()
        await more(f"{count}\n".encode(), is_last=True)
    elif route == "trailers":
        await start(trailers=True)
        await more(b"a line\n", is_last=True)
        trailers = [(b"x-checksum", b"1234")]
        await send({"type": "http.response.trailers", "headers": trailers})
    elif route == "early-hints":
        links = [b"</style.css>; rel=preload; as=style"]
        await send({"type": "http.response.early_hint", "links": links})
        await start()
        await more(b"after the hints\n", is_last=True)
    else:
        await start(404)
        await more(b"no such route\n", is_last=True)
