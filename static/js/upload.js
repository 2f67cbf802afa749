/* Upload with a drop zone and a true progress bar. Without this file the form posts as any other.

   form[data-upload]          action and method as usual; enctype multipart/form-data; give the form an id
   [data-dropzone]            area that takes a dropped file; holds the <input type="file">
   [data-upload-name]         gets the name and size of the chosen file
   [data-upload-state]        hidden box with the three parts below
   progress[data-upload-progress], [data-upload-words], button[data-upload-cancel]
   Words on the form: data-word-sent="{percent}% of {size}", data-word-checking, data-word-failed, data-word-cancelled

   With data-parts-url the file goes in parts: POST {"name", "size"} there answers with the addresses of this upload, then
   each part is posted to part_url?offset=N, and complete_url answers {"url"}. What has arrived is the server's word:
   after a lost connection or a reload the script asks (state_url) and goes on from there. Also: data-word-waiting,
   data-word-resumed="Going on from {percent}%.", data-into (a key handed on to complete_url).

   Answer of the server to a form: a redirect (followed), JSON {"url"} or header HX-Redirect (followed), 422 with a page
   that contains the same form (it takes this one's place), or JSON {"error": {"message"}} (shown).              */

const LONGEST_PAUSE = 30000;
const MOST_TRIES = 12;

function sizeWords(bytes) {
  const units = ["bytes", "KB", "MB", "GB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${new Intl.NumberFormat(document.documentElement.lang || "en", { maximumFractionDigits: digits }).format(value)} ${units[unit]}`;
}

function sameOrigin(address) {
  const url = new URL(address, window.location.href);
  return url.origin === window.location.origin ? url.href : null;
}

function follow(address) {
  const url = sameOrigin(address);
  if (url) window.location.assign(url);
}

/* A mistake that sending again does not mend; its message is for people. */
class Refused extends Error {}

class Cancelled extends Error {}

/* One request. Resolves to {status, data}; rejects when there was no answer. Progress of what is sent goes to onSent. */
function ask(method, url, { body = null, type = "", token = "", onSent = null, hold = () => {} } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    request.setRequestHeader("Accept", "application/json");
    if (token) request.setRequestHeader("X-CSRFToken", token);
    if (type) request.setRequestHeader("Content-Type", type);
    if (onSent) request.upload.addEventListener("progress", (event) => onSent(event.loaded));
    request.addEventListener("load", () => {
      let data = {};
      try {
        data = JSON.parse(request.responseText);
      } catch (error) {
        /* A page instead of JSON: the status says enough. */
      }
      resolve({ status: request.status, data });
    });
    request.addEventListener("error", () => reject(new Error("no answer")));
    request.addEventListener("timeout", () => reject(new Error("no answer in time")));
    request.addEventListener("abort", () => reject(new Cancelled()));
    request.timeout = 120000;
    hold(request);
    request.send(body);
  });
}

/* Where an unfinished upload is remembered, so that a reload finds it again. */
class Memory {
  constructor(form, file) {
    this.key = `tunesmith-upload:${form.dataset.partsUrl}:${file.name}:${file.size}:${file.lastModified}`;
  }

  get() {
    try {
      return window.localStorage.getItem(this.key);
    } catch (error) {
      return null;
    }
  }

  set(value) {
    try {
      if (value) window.localStorage.setItem(this.key, value);
      else window.localStorage.removeItem(this.key);
    } catch (error) {
      /* Then a reload begins anew. */
    }
  }
}

/* A file on its way in parts. */
class Parts {
  constructor(form, file, view) {
    this.form = form;
    this.file = file;
    this.view = view;
    this.token = form.querySelector('input[name="csrfmiddlewaretoken"]')?.value || "";
    this.memory = new Memory(form, file);
    this.isCancelled = false;
    this.request = null;
    this.state = null;
    this.wake = () => {};
  }

  async run() {
    this.state = (await this.resumed()) || (await this.begun());
    this.memory.set(this.state.state_url);
    if (this.state.received > 0) this.view.resumed(this.state.received, this.file.size);
    while (this.state.received < this.file.size) await this.part();
    this.view.checking();
    const into = this.form.dataset.into;
    const url = into ? `${this.state.complete_url}?into=${encodeURIComponent(into)}` : this.state.complete_url;
    const { data } = await this.patiently(() => this.ask("POST", url));
    this.memory.set(null);
    return data.url;
  }

  async resumed() {
    const url = this.memory.get();
    if (!url || !sameOrigin(url)) return null;
    const { status, data } = await this.patiently(() => this.ask("GET", url), true);
    return status === 200 && data.status === "pending" && data.size === this.file.size ? data : null;
  }

  async begun() {
    const body = JSON.stringify({ name: this.file.name, size: this.file.size, type: this.file.type });
    const options = { body, type: "application/json" };
    return (await this.patiently(() => this.ask("POST", this.form.dataset.partsUrl, options))).data;
  }

  async part() {
    const offset = this.state.received;
    const blob = this.file.slice(offset, offset + this.state.part_bytes);
    const { status, data } = await this.patiently(async () => {
      try {
        return await this.ask("POST", `${this.state.part_url}?offset=${offset}`, {
          body: blob,
          type: "application/octet-stream",
          onSent: (sent) => this.view.sent(Math.min(offset + sent, this.file.size), this.file.size),
        });
      } catch (error) {
        if (error instanceof Cancelled) throw error;
        const asked = await this.ask("GET", this.state.state_url); // the part may have arrived, only the answer did not
        if (asked.status === 200 && asked.data.received !== offset) return asked;
        throw error;
      }
    }, true);
    if (status === 409 && data.error?.code === "wrong_offset") {
      this.state.received = Number(data.error.expected);
    } else if (status >= 400) {
      if (data.error?.code === "upload_not_open") this.memory.set(null);
      throw new Refused(data.error?.message || "");
    } else {
      this.state.received = data.received;
    }
    this.view.sent(this.state.received, this.file.size);
  }

  ask(method, url, options = {}) {
    return ask(method, url, { ...options, token: this.token, hold: (request) => { this.request = request; } });
  }

  /* Again and again while there is no answer or the server is in trouble; a refusal is final. */
  async patiently(act, takesRefusals = false) {
    for (let tries = 1; ; tries += 1) {
      if (this.isCancelled) throw new Cancelled();
      try {
        const answer = await act();
        if (answer.status < 500 && answer.status !== 429 && answer.status !== 408) {
          if (answer.status >= 400 && !takesRefusals) throw new Refused(answer.data.error?.message || "");
          return answer;
        }
        if (answer.status === 429 && answer.data.error?.code === "too_many_uploads") throw new Refused(answer.data.error.message);
      } catch (error) {
        if (error instanceof Refused || error instanceof Cancelled) throw error;
      }
      if (tries >= MOST_TRIES) throw new Error("no answer after many tries");
      this.view.waiting();
      await this.pause(Math.min(1000 * 2 ** (tries - 1), LONGEST_PAUSE));
    }
  }

  pause(milliseconds) {
    return new Promise((resolve) => {
      const done = () => {
        window.removeEventListener("online", done);
        window.clearTimeout(timer);
        resolve();
      };
      const timer = window.setTimeout(done, milliseconds);
      window.addEventListener("online", done);
      this.wake = done;
    });
  }

  cancel() {
    this.isCancelled = true;
    this.request?.abort();
    this.wake();
    this.memory.set(null);
    if (this.state) ask("POST", this.state.cancel_url, { token: this.token }).catch(() => {});
  }
}

class Upload {
  constructor(form) {
    this.form = form;
    this.input = form.querySelector('input[type="file"]');
    this.zone = form.querySelector("[data-dropzone]");
    this.state = form.querySelector("[data-upload-state]");
    this.bar = form.querySelector("[data-upload-progress]");
    this.words = form.querySelector("[data-upload-words]");
    this.listen();
  }

  listen() {
    this.input.addEventListener("change", () => this.showChosen());
    this.form.addEventListener("submit", (event) => {
      if (!this.input.files.length) return; // the browser says that a file is needed
      event.preventDefault();
      const file = this.input.files[0];
      if (this.form.dataset.partsUrl && file.size > 0) this.sendParts(file);
      else this.send(event.submitter);
    });
    this.form.querySelector("[data-upload-cancel]")?.addEventListener("click", () => {
      if (this.parts) this.parts.cancel();
      else this.request?.abort();
    });
    if (!this.zone) return;
    for (const name of ["dragenter", "dragover"]) {
      this.zone.addEventListener(name, (event) => {
        event.preventDefault();
        this.zone.setAttribute("data-over", "");
      });
    }
    for (const name of ["dragleave", "drop"]) this.zone.addEventListener(name, () => this.zone.removeAttribute("data-over"));
    this.zone.addEventListener("drop", (event) => {
      event.preventDefault();
      if (!event.dataTransfer.files.length) return;
      this.input.files = event.dataTransfer.files;
      this.showChosen();
    });
  }

  showChosen() {
    const node = this.form.querySelector("[data-upload-name]");
    if (!node) return;
    node.textContent = [...this.input.files].map((file) => `${file.name} (${sizeWords(file.size)})`).join(", ");
  }

  say(text) {
    if (this.words) this.words.textContent = text || "";
  }

  busy(isBusy) {
    if (this.state) this.state.hidden = !isBusy;
    this.form.toggleAttribute("aria-busy", isBusy);
    this.form.querySelectorAll('button[type="submit"], button:not([type])').forEach((button) => { button.disabled = isBusy; });
  }

  async sendParts(file) {
    this.parts = new Parts(this.form, file, this);
    this.busy(true);
    this.sent(0, file.size);
    try {
      follow(await this.parts.run());
    } catch (error) {
      if (error instanceof Cancelled) this.fail(this.form.dataset.wordCancelled);
      else this.fail((error instanceof Refused && error.message) || this.form.dataset.wordFailed);
    }
    this.parts = null;
  }

  /* What Parts tells. */
  sent(done, total) {
    if (this.bar) {
      this.bar.max = total;
      this.bar.value = done;
    }
    this.say(this.percentWords(this.form.dataset.wordSent || "{percent}%", done, total));
  }

  resumed(done, total) {
    this.sent(done, total);
    if (this.form.dataset.wordResumed) this.say(this.percentWords(this.form.dataset.wordResumed, done, total));
  }

  waiting() {
    this.say(this.form.dataset.wordWaiting);
  }

  checking() {
    this.bar?.removeAttribute("value"); // sent; now the server reads the file
    this.say(this.form.dataset.wordChecking);
  }

  percentWords(words, done, total) {
    return words.replace("{percent}", String(Math.floor((done / total) * 100))).replace("{size}", sizeWords(total));
  }

  /* The whole form in one request. */
  send(submitter) {
    const request = new XMLHttpRequest();
    const body = new FormData(this.form, submitter || undefined);
    this.request = request;
    request.open("POST", this.form.action);
    request.setRequestHeader("Accept", "text/html, application/json");
    request.upload.addEventListener("progress", (event) => { if (event.lengthComputable) this.sent(event.loaded, event.total); });
    request.upload.addEventListener("load", () => this.checking());
    request.addEventListener("load", () => this.onAnswer(request));
    request.addEventListener("error", () => this.fail(this.form.dataset.wordFailed));
    request.addEventListener("abort", () => this.fail(this.form.dataset.wordCancelled));
    this.busy(true);
    request.send(body);
  }

  onAnswer(request) {
    const isJson = (request.getResponseHeader("Content-Type") || "").includes("json");
    const told = request.getResponseHeader("HX-Redirect");
    if (told) return follow(told);
    if (isJson) return this.onJson(request);
    if (request.status < 400) return follow(request.responseURL || this.form.action);
    const page = new DOMParser().parseFromString(request.responseText, "text/html");
    const fresh = this.form.id ? page.getElementById(this.form.id) : null;
    if (!fresh) return this.fail(this.form.dataset.wordFailed);
    this.form.replaceWith(document.importNode(fresh, true));
    const placed = document.getElementById(fresh.id);
    new Upload(placed);
    const summary = placed.querySelector("[data-form-errors]");
    if (summary) {
      summary.tabIndex = -1;
      summary.focus();
    }
    return undefined;
  }

  onJson(request) {
    let data = {};
    try {
      data = JSON.parse(request.responseText);
    } catch (error) {
      return this.fail(this.form.dataset.wordFailed);
    }
    if (request.status < 400 && data.url) return follow(data.url);
    return this.fail(data.error?.message || this.form.dataset.wordFailed);
  }

  fail(sentence) {
    this.busy(false);
    if (this.state) this.state.hidden = false;
    if (this.bar) {
      this.bar.max = 1;
      this.bar.value = 0;
    }
    this.say(sentence);
  }
}

document.querySelectorAll("form[data-upload]").forEach((form) => new Upload(form));
