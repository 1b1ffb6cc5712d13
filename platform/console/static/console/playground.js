// The playground: sends the form, shows the stream as it comes, ends it by the stop button or by leaving.
(() => {
  const form = document.querySelector("[data-playground]");
  const choose = document.querySelector("[data-choose]");
  if (!form || !choose) return;
  const at = (name) => document.querySelector(`[data-${name}]`);
  const fact = (name, text) => { document.querySelector(`[data-fact="${name}"]`).textContent = text; };
  const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(2)} s`;
  let underWay = null;
  let began = 0;
  let hasText = false;

  for (const name of ["skill", "at"]) {
    choose.elements[name].addEventListener("change", () => {
      if (name === "skill") choose.elements.at.value = "";
      choose.requestSubmit();
    });
  }

  const say = (text) => { at("state").textContent = text; };

  const fail = (status, envelope) => {
    const { type, message, ...details } = envelope.error;
    const box = at("fault");
    box.replaceChildren();
    const head = document.createElement("strong");
    head.textContent = `${status ? `${status} ` : ""}${type}`;
    const words = document.createElement("p");
    words.textContent = message;
    box.append(head, words);
    if (Object.keys(details).length) {
      const rest = document.createElement("pre");
      rest.textContent = JSON.stringify(details, null, 2);
      box.append(rest);
    }
    box.hidden = false;
    say("Refused or failed. This is what a caller sees.");
  };

  const shown = {
    call: (data) => { document.getElementById("curl").value = data.curl; at("call").hidden = false; },
    "run.started": (data) => {
      at("facts").hidden = false;
      fact("model", data.model);
      fact("version", `${data.version}${data.label ? ` (${data.label})` : ""}`);
      fact("run", data.run_id);
    },
    text: (data) => {
      if (!hasText) fact("first", seconds(began));
      hasText = true;
      at("answer").textContent += data.text;
    },
    output: (data) => {
      if (!hasText) fact("first", `${seconds(began)} (whole)`);
      const cited = data.citations.length ? `\n\n${JSON.stringify(data.citations, null, 2)}` : "";
      at("answer").textContent = (typeof data.output === "string" ? data.output : JSON.stringify(data.output, null, 2)) + cited;
      say(`Done: ${data.stop_reason}.`);
    },
    usage: (data) => {
      const cached = data.cache_read_input_tokens ? `, ${data.cache_read_input_tokens} read from the cache` : "";
      fact("tokens", `${data.total_tokens} (${data.input_tokens} in, ${data.output_tokens} out${cached})${data.is_estimated ? ", estimated" : ""}`);
      fact("cost", `$${data.cost_usd}${data.attempts > 1 ? ` in ${data.attempts} attempts` : ""}`);
    },
    error: (data) => fail(data.status, data),
  };

  const frame = (text) => {
    const lines = text.split("\n");
    const value = (name) => lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2)).join("\n");
    const show = shown[value("event")];
    if (show) show(JSON.parse(value("data")));
  };

  const follow = async (body) => {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const frames = (rest + value).split("\n\n");
      rest = frames.pop();
      frames.forEach(frame);
    }
  };

  const reset = () => {
    at("answer").textContent = "";
    at("fault").hidden = true;
    at("facts").hidden = true;
    document.querySelectorAll("[data-fact]").forEach((one) => { one.textContent = "–"; });
    hasText = false;
    began = performance.now();
    say("Running…");
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (underWay) return;
    reset();
    underWay = new AbortController();
    at("run").disabled = true;
    at("stop").disabled = false;
    const sent = new FormData(form);
    sent.set("key", choose.elements.key.value);
    try {
      const answer = await fetch(form.action, { method: "POST", body: sent, signal: underWay.signal, redirect: "error" });
      if (answer.ok) await follow(answer.body);
      else if ((answer.headers.get("Content-Type") || "").includes("json")) fail(answer.status, await answer.json());
      else fail(answer.status, { error: { type: "refused", message: "Sign in again, or ask for the right to use the playground." } });
    } catch (fault) {
      if (underWay.signal.aborted) say("Stopped. What was produced until then is billed.");
      else fail(0, { error: { type: "connection", message: "The connection broke. Try again." } });
    } finally {
      fact("took", seconds(began));
      underWay = null;
      at("run").disabled = false;
      at("stop").disabled = true;
    }
  });

  at("stop").addEventListener("click", () => underWay && underWay.abort());
  window.addEventListener("pagehide", () => underWay && underWay.abort());
})();
