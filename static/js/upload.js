/* Upload with a drop zone and a true progress bar. Without this file the form posts as any other.

   form[data-upload]          action and method as usual; enctype multipart/form-data; give the form an id
   [data-dropzone]            area that takes a dropped file; holds the <input type="file">
   [data-upload-name]         gets the name and size of the chosen file
   [data-upload-state]        hidden box with the three parts below
   progress[data-upload-progress], [data-upload-words], button[data-upload-cancel]
   Words on the form: data-word-sent="{percent}% of {size}", data-word-checking, data-word-failed, data-word-cancelled

   Answer of the server: a redirect (followed), JSON {"url"} or header HX-Redirect (followed), 422 with a page that
   contains the same form (it takes this one's place), or JSON {"error": {"message"}} (shown).                        */

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
      this.send(event.submitter);
    });
    this.form.querySelector("[data-upload-cancel]")?.addEventListener("click", () => this.request?.abort());
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

  send(submitter) {
    const request = new XMLHttpRequest();
    const body = new FormData(this.form, submitter || undefined);
    this.request = request;
    request.open("POST", this.form.action);
    request.setRequestHeader("Accept", "text/html, application/json");
    request.upload.addEventListener("progress", (event) => this.onProgress(event));
    request.upload.addEventListener("load", () => {
      this.bar?.removeAttribute("value"); // sent; now the server reads the file
      this.say(this.form.dataset.wordChecking);
    });
    request.addEventListener("load", () => this.onAnswer(request));
    request.addEventListener("error", () => this.fail(this.form.dataset.wordFailed));
    request.addEventListener("abort", () => this.fail(this.form.dataset.wordCancelled));
    this.busy(true);
    request.send(body);
  }

  onProgress(event) {
    if (!event.lengthComputable) return;
    if (this.bar) {
      this.bar.max = event.total;
      this.bar.value = event.loaded;
    }
    const percent = String(Math.floor((event.loaded / event.total) * 100));
    this.say((this.form.dataset.wordSent || "{percent}%").replace("{percent}", percent).replace("{size}", sizeWords(event.total)));
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
