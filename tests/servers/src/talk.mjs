// Servers that go on talking: an echo of the package ws, and Server-Sent Events.
//
// WS   /echo         everything back, message by message
// WS   /close/CODE   a close with that code and the reason "because"
// GET  /events/N     N events from 0, or from behind Last-Event-ID; 204 behind the last
// GET  /endless      the same without an end, one every millisecond
//
// Called with the folder of the packages, and a port, which may be 0.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

const [folder, port] = process.argv.slice(2);

const server = createServer(async (request, response) => {
  const [, route, argument] = request.url.split('/');
  let number = Number(request.headers['last-event-id'] ?? -1) + 1;
  const count = route === 'events' ? Number(argument) : Infinity;
  if (route !== 'events' && route !== 'endless') {
    response.writeHead(404).end('no such route\n');
  } else if (number >= count) {
    response.writeHead(204).end();
  } else {
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
    for (; number < count && !response.destroyed; number += 1) {
      const room = response.write(`id: ${number}\ndata: event ${number}\n\n`);
      if (count === Infinity) {
        await new Promise((done) => setTimeout(done, 1));
      } else if (!room) {
        await Promise.race([once(response, 'drain'), once(response, 'close')]);
      }
    }
    response.end();
  }
});

// Events need no packages.
if (folder) {
  const { WebSocketServer } = createRequire(`${folder}/`)('ws');
  const sockets = new WebSocketServer({ server, maxPayload: 0 });
  sockets.on('connection', (socket, request) => {
    const [, route, argument] = request.url.split('/');
    if (route === 'close') socket.close(Number(argument), 'because');
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
    socket.on('error', () => {});
  });
}

server.listen(Number(port), '127.0.0.1', () => console.log(`ready ${server.address().port}`));
