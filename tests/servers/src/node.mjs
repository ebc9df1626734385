// Node's http as an origin: TCP on an ephemeral port, and the Unix socket named as the argument.
//
//   GET  /hello        a line, with Content-Length
//   ANY  /echo         the body, while it arrives, chunked
//   POST /sink         how many bytes came
//   GET  /chunked/N    N lines, a chunk each
//   GET  /trailers     a line and trailers
//   GET  /early-hints  103, then 200
//   GET  /no-content   204
//   GET  /last         an answer with Connection: close
//   GET  /brief        an answer, and a close one second later
//   POST /once/ID/MS   an answer, and a close so many milliseconds later
//   GET  /times        how often each ID has been posted, as "ID TIMES" lines
import { createServer } from "node:http";

const times = new Map();

function answer(request, response) {
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

const tcp = createServer(answer);
const unix = createServer(answer);
unix.listen(process.argv[2], () => {
  tcp.listen(0, "127.0.0.1", () => console.log(`ready ${tcp.address().port}`));
});
