"""Reads responses with h11: one in each line of the input, told in one line of the output."""

import sys

import h11


def fields(headers):
    return ";".join(f"{bytes(name).hex()}={bytes(value).hex()}" for name, value in headers)


def read(kind, eof, response):
    method = {"UPGRADE": "GET", "CLOSE": "GET", "1.0": "GET"}.get(kind, kind)
    headers = [("Host", "localhost")]
    if kind == "UPGRADE":
        headers += [("Connection", "upgrade"), ("Upgrade", "websocket")]
    if kind == "CLOSE":
        headers += [("Connection", "close")]
    if kind == "POST":
        headers += [("Content-Length", "0")]
    client = h11.Connection(h11.CLIENT)
    target = "localhost:80" if method == "CONNECT" else "/"
    client.send(h11.Request(method=method, target=target, headers=headers))
    client.send(h11.EndOfMessage())
    status, head, body, trailers, end = 0, "", b"", "", "waiting"
    try:
        client.receive_data(response)
        if eof:
            client.receive_data(b"")
        while end == "waiting":
            event = client.next_event()
            if event is h11.NEED_DATA:
                break
            if event is h11.PAUSED:
                end = "switched"
            elif isinstance(event, h11.InformationalResponse):
                if event.status_code == 101:
                    status, head = 101, fields(event.headers)
            elif isinstance(event, h11.Response):
                status, head = event.status_code, fields(event.headers)
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                trailers = fields(event.headers)
                switched = client.their_state is h11.SWITCHED_PROTOCOL
                end = "switched" if switched else "complete"
            else:
                end = f"unexpected {event!r}"
    except h11.RemoteProtocolError as error:
        end = str(error).replace("\n", " ")
    return f"{status}|{head}|{body.hex()}|{trailers}|{end}"


for line in sys.stdin:
    kind, eof, response = (line.rstrip("\n") + " ").split(" ")[:3]
    print(read(kind, eof == "1", bytes.fromhex(response)))
