// Passes everything on to the platform, for a suite that can do two things less than a client of ours: it sends no
// key, and it calls tools by names of its own. Such a name stands for a skill that behaves as the scenario asks.
import http from "node:http";

const target = new URL(process.env.SKILLGATE_URL);
const STAND_INS = {
  test_simple_text: ["summarize", { text: "A cat sat on a mat." }],
  test_error_handling: ["summarize", {}],
  test_tool_with_progress: ["summarize", { text: "A cat. [[emulator:chunk_ms:80]] [[emulator:words:60]]" }],
};

function translated(body) {
  try {
    const message = JSON.parse(body);
    const standIn = message.method === "tools/call" && STAND_INS[message.params?.name];
    if (!standIn) return body;
    const [name, given] = standIn;
    return Buffer.from(JSON.stringify({ ...message, params: { ...message.params, name, arguments: given } }));
  } catch {
    return body;
  }
}

async function pass(request, response) {
  const parts = [];
  for await (const part of request) parts.push(part);
  const body = translated(Buffer.concat(parts));
  const headers = { ...request.headers, "x-api-key": process.env.SKILLGATE_KEY, "content-length": body.length };
  delete headers["transfer-encoding"];
  const { hostname: host, port } = target;
  const passed = http.request({ host, port, method: request.method, path: request.url, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  passed.on("error", () => response.destroy());
  response.on("close", () => passed.destroy());
  passed.end(body);
}

const server = http.createServer(pass);
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
