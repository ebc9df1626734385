"""Servers that go on talking: an ASGI application for Hypercorn and uvicorn, and, run as a program,
an echo of the package websockets.

WS   /echo         everything back, message by message
WS   /close/CODE   a close with that code and the reason "because"
WS   /refuse       403
GET  /events/N     N events from 0, or from behind Last-Event-ID; 204 behind the last
GET  /endless      the same without an end, one every millisecond

The echo of websockets knows the first three, /fragments (a message in five frames), /busy (401 with
a body) and /plain (200), and chooses the subprotocol "chat.v2".
"""

import asyncio


def after(headers):
    for name, value in headers:
        if name == b"last-event-id":
            return int(value) + 1
    return 0


async def websocket(scope, receive, send):
    await receive()
    _, route, *arguments = scope["path"].split("/")
    if route == "refuse":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    if route == "close":
        await send({"type": "websocket.close", "code": int(arguments[0]), "reason": "because"})
        return
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event.get("text"), "bytes": event.get("bytes")})


async def application(scope, receive, send):
    if scope["type"] == "websocket":
        return await websocket(scope, receive, send)
    if scope["type"] != "http":
        raise RuntimeError("HTTP and WebSockets only")  # which is how to say so of "lifespan"

    async def start(status, headers=()):
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def more(data, is_last=False):
        await send({"type": "http.response.body", "body": data, "more_body": not is_last})

    _, route, *arguments = scope["path"].split("/")
    first = after(scope["headers"])
    count = int(arguments[0]) if route == "events" else None
    if route not in ("events", "endless"):
        await start(404)
        await more(b"no such route\n", is_last=True)
    elif count is not None and first >= count:
        await start(204)
        await more(b"", is_last=True)
    else:
        await start(200, [(b"content-type", b"text/event-stream")])
        number = first
        while count is None or number < count:
            await more(f"id: {number}\ndata: event {number}\n\n".encode())
            number += 1
            if count is None:
                await asyncio.sleep(0.001)
        await more(b"", is_last=True)


async def echo(socket):
    _, route, *arguments = socket.request.path.split("/")
    if route == "close":
        await socket.close(int(arguments[0]), "because")
    elif route == "fragments":
        await socket.send(["one ", "two ", "", "three ", "four"])
    async for message in socket:
        await socket.send(message)


def refuse(connection, request):
    if request.path == "/refuse":
        return connection.respond(403, "no\n")
    if request.path == "/busy":
        return connection.respond(401, "who are you?\n")
    if request.path == "/plain":
        return connection.respond(200, "just text\n")


def choose(connection, offered):
    if not offered or "chat.v2" in offered:
        return "chat.v2" if offered else None
    raise NegotiationError("chat.v2 or nothing")


async def main():

    settings = {"max_size": None, "process_request": refuse, "select_subprotocol": choose}
    async with serve(echo, "127.0.0.1", 0, **settings) as server:
        print("ready", server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    from websockets.asyncio.server import serve
    from websockets.exceptions import NegotiationError

    asyncio.run(main())
