/* A playground that streams. Without this file the form posts and the server draws the answer.

   form[data-playground]             posts its fields (with the CSRF token) to its action
   textarea[data-playground-input]   the question; Ctrl or Cmd + Enter sends
   button[data-playground-stop]      hidden until an answer is being written; Escape does the same
   button[data-playground-anew]      hidden until something was asked; empties the conversation
   template[data-feedback-template]  the form form[data-feedback] that is put under each answer; the word REQUEST in it
                                     becomes the answer's request id
   [data-playground-pane]            one or more, also outside the form: data-model (sent as the field "model"; one
                                     request per pane); holds [data-playground-messages]
   Words on the form: data-word-you, data-word-model, data-word-stopped, data-word-failed

   Sent besides the form's fields: model (of the pane) and history = JSON [{role, content}] of the pane's finished
   turns. The answer is text/event-stream: token {text} · done {facts: [sentence], request_id} · error {message}. A JSON
   answer {"error": {"message"}} is shown as well. Every text is set as a text node.

   form[data-feedback] posts the button that was pressed with its fields and shows the sentence of the JSON answer in
   [data-feedback-said]; [data-feedback-more] opens with a thumb down, [data-feedback-undo] is shown after a verdict.  */

class Told extends Error {} // a sentence of the server; what a browser throws is in its own jargon

async function* readEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      buffer = (buffer + value).replace(/\r\n/g, "\n");
      let end = buffer.indexOf("\n\n");
      while (end >= 0) {
        const event = parseEvent(buffer.slice(0, end));
        buffer = buffer.slice(end + 2);
        if (event) yield event;
        end = buffer.indexOf("\n\n");
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parseEvent(block) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
  }
  return data.length ? { name, data: JSON.parse(data.join("\n")) } : null;
}

function sentenceOf(error, words) {
  return (error instanceof Told && error.message) || words.wordFailed;
}

function bubble(role, name, text) {
  const box = document.createElement("div");
  box.className = `bubble bubble-${role}`;
  const who = document.createElement("span");
  who.className = "bubble-role";
  who.textContent = name;
  const words = document.createElement("div");
  words.className = "bubble-text";
  words.append(document.createTextNode(text));
  box.append(who, words);
  return box;
}

class Pane {
  constructor(node, form) {
    this.node = node;
    this.form = form;
    this.list = node.querySelector("[data-playground-messages]") || node;
    this.history = [];
  }

  async ask(question, signal) {
    const words = this.form.dataset;
    this.list.append(bubble("user", words.wordYou || "You", question));
    const answer = bubble("assistant", this.node.dataset.name || words.wordModel || "Model", "");
    answer.setAttribute("aria-busy", "true");
    this.list.append(answer);
    const text = answer.querySelector(".bubble-text").firstChild;
    try {
      const done = await this.stream(question, signal, (piece) => text.appendData(piece));
      this.history.push({ role: "user", content: question }, { role: "assistant", content: text.data });
      this.foot(answer, done);
    } catch (error) {
      if (signal.aborted) this.note(answer, words.wordStopped);
      else this.fail(answer, sentenceOf(error, words));
    } finally {
      answer.removeAttribute("aria-busy");
    }
  }

  async stream(question, signal, onPiece) {
    const body = new FormData(this.form);
    if (this.node.dataset.model) body.set("model", this.node.dataset.model);
    body.set("history", JSON.stringify(this.history));
    const response = await fetch(this.form.action, { method: "POST", body, signal, headers: { Accept: "text/event-stream" }, credentials: "same-origin" });
    const kind = response.headers.get("Content-Type") || "";
    if (!kind.startsWith("text/event-stream")) {
      const data = kind.includes("json") ? await response.json() : {};
      throw new Told(data.error?.message || "");
    }
    for await (const event of readEvents(response.body)) {
      if (event.name === "token") onPiece(String(event.data.text ?? ""));
      if (event.name === "error") throw new Told(event.data.message || "");
      if (event.name === "done") return event.data;
    }
    throw new Told(""); // the stream broke off
  }

  foot(answer, done) {
    this.note(answer, ...(done.facts || []));
    if (done.request_id) this.askOpinion(answer, done.request_id);
  }

  askOpinion(answer, requestId) {
    const template = document.querySelector("template[data-feedback-template]");
    if (!template) return;
    const box = template.content.cloneNode(true);
    for (const node of box.querySelectorAll("[id], [for], [action]")) {
      for (const name of ["id", "for", "action"]) {
        if (node.hasAttribute(name)) node.setAttribute(name, node.getAttribute(name).replace("REQUEST", requestId));
      }
    }
    answer.append(box);
  }

  clear() {
    this.history = [];
    this.list.replaceChildren();
  }

  note(answer, ...facts) {
    const foot = document.createElement("div");
    foot.className = "bubble-foot";
    for (const fact of facts.filter(Boolean)) {
      const part = document.createElement("span");
      part.textContent = fact;
      foot.append(part);
    }
    answer.append(foot);
  }

  fail(answer, sentence) {
    answer.classList.add("bubble-error");
    answer.setAttribute("role", "alert");
    this.note(answer, sentence);
  }
}

class Playground {
  constructor(form) {
    this.form = form;
    this.input = form.querySelector("[data-playground-input]");
    this.stop = form.querySelector("[data-playground-stop]");
    this.anew = form.querySelector("[data-playground-anew]");
    const panes = document.querySelectorAll("[data-playground-pane]");
    this.panes = [...panes].map((node) => new Pane(node, form));
    form.addEventListener("submit", (event) => {
      if (!this.panes.length) return;
      event.preventDefault();
      this.ask();
    });
    this.input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        form.requestSubmit();
      }
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.controller?.abort();
    });
    this.stop?.addEventListener("click", () => this.controller?.abort());
    this.anew?.addEventListener("click", () => {
      this.controller?.abort();
      this.panes.forEach((pane) => pane.clear());
      this.anew.hidden = true;
      this.input.focus();
    });
  }

  async ask() {
    const question = this.input.value.trim();
    if (!question || this.controller) return;
    this.controller = new AbortController();
    const send = this.form.querySelector('button[type="submit"], button:not([type])');
    if (send) send.disabled = true;
    if (this.stop) this.stop.hidden = false;
    if (this.anew) this.anew.hidden = false;
    const work = Promise.all(this.panes.map((pane) => pane.ask(question, this.controller.signal)));
    this.input.value = "";
    await work;
    this.controller = null;
    if (send) send.disabled = false;
    if (this.stop) this.stop.hidden = true;
    if (!document.activeElement?.closest("[data-feedback]")) this.input.focus();
  }
}

async function sendFeedback(form, button) {
  const body = new FormData(form);
  body.set(button.name, button.value);
  const response = await fetch(form.action, { method: "POST", body, headers: { Accept: "application/json" }, credentials: "same-origin" });
  const kind = response.headers.get("Content-Type") || "";
  const told = kind.includes("json") ? await response.json() : {};
  if (!response.ok) throw new Told(told.error?.message || "");
  return told;
}

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-feedback]");
  const button = event.submitter;
  if (!form || !button) return;
  event.preventDefault();
  const said = form.querySelector("[data-feedback-said]");
  const more = form.querySelector("[data-feedback-more]");
  const undo = form.querySelector("[data-feedback-undo]");
  try {
    const told = await sendFeedback(form, button);
    said.textContent = told.sentence;
    undo.hidden = !told.verdict;
    for (const thumb of form.querySelectorAll("button.button-icon")) {
      thumb.setAttribute("aria-pressed", String(thumb.value === told.verdict));
    }
    more.open = told.verdict === "bad" && !told.corrected;
    if (more.open) more.querySelector("textarea")?.focus();
  } catch (error) {
    said.textContent = sentenceOf(error, form.dataset);
  }
});

document.querySelectorAll("form[data-playground]").forEach((form) => new Playground(form));
