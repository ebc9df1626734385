// Node's http and http2 as origins, on an ephemeral TCP port:
//
//   node server.mjs http1 SOCKET      and on that Unix socket
//   node server.mjs http2             without TLS, and without HTTP/1.1
//   node server.mjs http2 CERT KEY    with TLS, and with HTTP/1.1 if that is asked for
//
//   GET  /hello        a line, with Content-Length
//   ANY  /echo         the body, while it arrives, chunked
//   POST /sink         how many bytes came
//   GET  /bytes/N      N zero bytes, and no faster than they are taken
//   GET  /chunked/N    N lines, a chunk each
//   GET  /trailers     a line and trailers
//   POST /trailed      the trailers of the request, as JSON
//   GET  /early-hints  103, then 200
//   GET  /no-content   204
//   GET  /last         an answer with Connection: close
//   GET  /brief        an answer, and a close one second later
//   POST /once/ID/MS   a response, and a close MS milliseconds later
//   GET  /times        how often each ID has been posted, as "ID TIMES" lines
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createSecureServer, createServer as createHttp2Server } from "node:http2";
import { Readable } from "node:stream";

const times = new Map();

const piece = Buffer.alloc(64 << 10);

function* zeros(size) {
  for (let left = size; left > 0; left -= piece.length) {
    yield left < piece.length ? piece.subarray(0, left) : piece;
  }
}

function answer(request, response) {
  if (request.socket.encrypted) {
    response.setHeader("X-Resumed", String(request.socket.isSessionReused()));
  }
  const [, route, argument, milliseconds] = request.url.split("/");
  switch (route) {
    case "hello":
      response.setHeader("Content-Length", "17");
      response.end("Hello from Node!\n");
      break;
    case "echo":
      if (request.headers["content-type"]) {
        response.setHeader("Content-Type", request.headers["content-type"]);
      }
      request.pipe(response);
      break;
    case "sink": {
      let count = 0;
      request.on("data", (data) => (count += data.length));
      request.on("end", () => response.end(`${count}\n`));
      break;
    }
    case "bytes":
      response.setHeader("Content-Length", argument);
      Readable.from(zeros(Number(argument))).pipe(response);
      break;
    case "chunked":
      for (let line = 0; line < Number(argument); line += 1) {
        response.write(`line ${line}\n`);
      }
      response.end();
      break;
    case "trailers":
      response.writeHead(200, { Trailer: "X-Checksum" });
      response.write("a line\n");
      response.addTrailers({ "X-Checksum": "1234" });
      response.end();
      break;
    case "trailed":
      request.resume();
      request.on("end", () => response.end(JSON.stringify(request.trailers)));
      break;
    case "early-hints":
      response.writeEarlyHints({ link: "</style.css>; rel=preload; as=style" });
      response.end("after the hints\n");
      break;
    case "no-content":
      response.writeHead(204).end();
      break;
    case "last":
      response.setHeader("Connection", "close");
      response.end("last\n");
      break;
    case "brief":
      response.end("brief\n");
      setTimeout(() => request.socket.end(), 1000);
      break;
    case "once":
      times.set(argument, (times.get(argument) ?? 0) + 1);
      // Said by hand, this keeps Node from announcing when it would close.
      response.setHeader("Connection", "keep-alive");
      request.resume();
      request.on("end", () => {
        response.end("once\n");
        setTimeout(() => request.socket.end(), Number(milliseconds));
      });
      break;
    case "times":
      response.end([...times].map(([id, count]) => `${id} ${count}\n`).join(""));
      break;
    default:
      response.writeHead(404).end("no such route\n");
  }
}

function listen(server) {
  server.listen(0, "127.0.0.1", () => console.log(`ready ${server.address().port}`));
}

const [, , protocol, first, key] = process.argv;
if (protocol === "http1") {
  createServer(answer).listen(first, () => listen(createServer(answer)));
} else if (first) {
  const files = { cert: readFileSync(first), key: readFileSync(key) };
  listen(createSecureServer({ ...files, allowHTTP1: true }, answer));
} else {
  listen(createHttp2Server(answer));
}
