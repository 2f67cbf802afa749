/* The live view of a job (templates/web_kit/_live_job.html). The server draws the state of the moment; this file
   carries on from the event stream, and after a reload starts where that page was drawn.

   On the section      data-live-job, data-events-url (absent when the job is over), data-last-event-id (optional),
                       data-points (id of a JSON block: [{step, train_loss, valid_loss, ...}]), data-icons, data-word-*
   Inside, data-live=  state, phase, connection, reading, progress (<progress>), amount, eta, train_loss, valid_loss,
                       tokens_per_second, chart, gaps, samples, log (<ol>), result (a link inside it gets the address)
   data-live-curve     key of a metric: a small drawing, with [data-curve-box] and [data-curve-value] inside; shown with
                       its first value; data-unit on it is that of charts.js
   data-live-log-scale checkbox: logarithmic loss axis
   data-live-log-level, data-live-log-text   select (all, warning, error) and search field: which lines of the log show
   template[data-live-sample]   how a sample looks: [data-sample=prompt|answer|reference] inside
   Elsewhere           data-live-only="running" is hidden at the end, data-live-only="finished" is shown then
   Events on document  "livejob:state", "livejob:checkpoint" and "livejob:end" (detail = the data), e.g.
                       hx-trigger="livejob:end from:document"

   Stream: phase {phase,label} · progress {done,total,unit,eta_seconds,percent} · metric {step,train_loss,valid_loss?,
   learning_rate?,grad_norm?,tokens_per_second?,memory_bytes?,...} · sample {step,prompt,answer,reference} ·
   checkpoint {step,is_best,message,at} · log {level,message,at} · state {state,label,tone} · reading {sentence} ·
   end {state,url}; what is replayed has an id. Loss values may be "nan" or "inf": shown as a gap with a mark.          */

import { Chart, numberWords, valueWords } from "./charts.js";

const TONE_ICONS = { ok: "circle-check", warn: "triangle-alert", bad: "octagon-x", info: "info", running: "circle-dot", idle: "circle" };
const MAX_LOG_LINES = 500;

function durationWords(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const days = Math.floor(whole / 86400);
  const hours = Math.floor((whole % 86400) / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  if (days) return `${days} d ${hours} h`;
  if (hours) return minutes ? `${hours} h ${minutes} min` : `${hours} h`;
  if (minutes) return minutes < 10 && whole % 60 ? `${minutes} min ${whole % 60} s` : `${minutes} min`;
  return `${whole} s`;
}

class LiveJob {
  constructor(section) {
    this.section = section;
    this.words = section.dataset;
    this.lastId = Number(section.dataset.lastEventId || 0);
    this.isFresh = !section.dataset.lastEventId;
    this.retries = 0;
    this.latest = {};
    const chart = this.part("chart");
    this.chart = chart ? new Chart(chart, {
      words: section.dataset,
      mayBreak: true,
      lines: [
        { key: "train_loss", label: this.words.wordTraining, colour: "--series-1" },
        { key: "valid_loss", label: this.words.wordValidation, colour: "--series-2", dash: [6, 4], hasDots: true },
      ],
    }) : null;
    this.curves = [...section.querySelectorAll("[data-live-curve]")].map((figure) => this.curve(figure));
    this.readPoints();
    section.querySelector("[data-live-log-scale]")?.addEventListener("change", (event) => this.chart?.setLog(event.target.checked));
    this.level = section.querySelector("[data-live-log-level]");
    this.search = section.querySelector("[data-live-log-text]");
    this.level?.addEventListener("change", () => this.sieveLog());
    this.search?.addEventListener("input", () => this.sieveLog());
    if (section.dataset.eventsUrl) this.connect();
  }

  curve(figure) {
    const { liveCurve: key, unit, name } = figure.dataset;
    const box = figure.querySelector("[data-curve-box]");
    const lines = [{ key, label: name, colour: "--series-1" }];
    const chart = new Chart(box, { words: this.words, height: 130, unit, lines });
    return { figure, key, unit, chart, value: figure.querySelector("[data-curve-value]") };
  }

  part(name) {
    return this.section.querySelector(`[data-live="${name}"]`);
  }

  say(name, text) {
    const node = this.part(name);
    if (node && text !== null && text !== undefined) node.textContent = text;
  }

  readPoints() {
    const block = document.getElementById(this.words.points || "");
    if (!block) return;
    for (const point of JSON.parse(block.textContent)) this.onMetric(point);
  }

  connect() {
    const floor = this.lastId;
    const url = new URL(this.words.eventsUrl, window.location.href);
    if (this.lastId) url.searchParams.set("after", String(this.lastId));
    const source = new EventSource(url);
    this.source = source;
    source.addEventListener("open", () => {
      this.retries = 0;
      this.say("connection", this.words.wordLive);
    });
    source.addEventListener("error", () => {
      this.say("connection", this.words.wordLost);
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      this.retries += 1;
      window.setTimeout(() => this.connect(), Math.min(30000, 1000 * 2 ** this.retries));
    });
    const handlers = { phase: "onPhase", progress: "onProgress", metric: "onMetric", sample: "onSample", checkpoint: "onCheckpoint", log: "onLog", state: "onState", reading: "onReading", end: "onEnd" };
    for (const [name, method] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => {
        const id = Number(event.lastEventId);
        if (id && id <= floor) return; // a server that sends everything again
        if (id) this.lastId = id; // a message without an id carries the last one
        this[method](JSON.parse(event.data));
      });
    }
    window.addEventListener("pagehide", () => source.close(), { once: true });
  }

  onPhase(data) {
    this.say("phase", data.label || data.phase);
  }

  onReading(data) {
    const node = this.part("reading");
    if (!node) return;
    node.textContent = data.sentence || "";
    node.hidden = !data.sentence;
  }

  onProgress(data) {
    const bar = this.part("progress");
    if (bar && data.total) {
      bar.max = data.total;
      bar.value = data.done || 0;
    } else if (bar && typeof data.percent === "number") {
      bar.max = 100;
      bar.value = data.percent;
    } else if (bar) {
      bar.removeAttribute("value");
    }
    const amount = data.total
      ? `${numberWords(data.done || 0, 0)} / ${numberWords(data.total, 0)} ${data.unit || ""}`
      : typeof data.percent === "number" ? `${numberWords(data.percent, 0)}%` : "";
    this.say("amount", amount.trim());
    const hasEta = typeof data.eta_seconds === "number";
    this.say("eta", hasEta ? (this.words.wordEta || "{span}").replace("{span}", durationWords(data.eta_seconds)) : "");
  }

  onMetric(data) {
    for (const name of ["train_loss", "valid_loss", "tokens_per_second"]) {
      if (data[name] === undefined || data[name] === null) continue;
      const words = numberWords(data[name], name === "tokens_per_second" ? 0 : undefined) ?? this.words.wordNan;
      this.latest[name] = words;
      this.say(name, words);
    }
    for (const { figure, key, unit, chart, value } of this.curves) {
      if (data[key] === undefined || data[key] === null) continue;
      figure.hidden = false;
      value.textContent = valueWords(data[key], unit) ?? this.words.wordNan;
      chart.add(data);
    }
    if (!this.chart) return;
    this.chart.add(data);
    const gaps = this.chart.brokenSteps().length;
    const note = this.part("gaps");
    if (note) {
      note.hidden = gaps === 0;
      note.textContent = (this.words.wordGaps || "").replace("{n}", numberWords(gaps, 0));
    }
    this.describeSoon(data.step);
  }

  describeSoon(step) {
    window.clearTimeout(this.describing);
    this.describing = window.setTimeout(() => {
      const text = (this.words.wordChart || "")
        .replace("{train}", this.latest.train_loss || "–")
        .replace("{valid}", this.latest.valid_loss || "–")
        .replace("{step}", String(step));
      this.chart.describe(text);
    }, 300);
  }

  onCheckpoint(data) {
    this.onLog(data);
    document.dispatchEvent(new CustomEvent("livejob:checkpoint", { detail: data }));
  }

  /* The samples of one check stand together; the newest check is on top and open. */
  onSample(data) {
    const box = this.part("samples");
    const form = this.section.querySelector("template[data-live-sample]");
    if (!box || !form) return;
    const step = String(data.step ?? 0);
    let group = [...box.children].find((node) => node.dataset.step === step);
    if (!group) {
      group = document.createElement("details");
      group.className = "fold";
      group.dataset.step = step;
      const summary = document.createElement("summary");
      summary.textContent = (this.words.wordSamples || "{step}").replace("{step}", numberWords(Number(step), 0));
      const body = document.createElement("div");
      body.className = "fold-body stack";
      group.append(summary, body);
      for (const node of box.children) node.open = false;
      group.open = true;
      box.prepend(group);
    }
    const card = form.content.cloneNode(true);
    for (const name of ["prompt", "answer", "reference"]) {
      const node = card.querySelector(`[data-sample="${name}"]`);
      node.textContent = data[name] || "";
      if (!data[name]) node.closest("[data-sample-part]").hidden = true;
    }
    group.querySelector(".fold-body").append(card);
    const section = box.closest("[hidden]");
    if (section) section.hidden = false;
  }

  sieveLog() {
    for (const line of this.part("log").children) line.hidden = !this.passes(line);
  }

  passes(line) {
    const level = this.level?.value || "";
    const isSevere = line.classList.contains("log-error") || line.classList.contains("log-warning") || line.classList.contains("log-warn");
    if (level === "warning" && !isSevere) return false;
    if (level === "error" && !line.classList.contains("log-error")) return false;
    return line.textContent.toLowerCase().includes((this.search?.value || "").trim().toLowerCase());
  }

  onLog(data) {
    const list = this.part("log");
    if (!list) return;
    if (this.isFresh) {
      list.replaceChildren(); // all lines come again from the start of the stream
      this.isFresh = false;
    }
    const isAtEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 8;
    const line = document.createElement("li");
    line.className = `log-${["warning", "warn", "error"].includes(data.level) ? data.level : "info"}`;
    const time = document.createElement("time");
    const moment = new Date(typeof data.at === "number" ? data.at * 1000 : data.at);
    if (!Number.isNaN(moment.getTime())) {
      time.dateTime = moment.toISOString();
      time.textContent = moment.toISOString().slice(11, 19);
    }
    const words = document.createElement("span");
    words.textContent = data.message || "";
    line.append(time, words);
    line.hidden = !this.passes(line);
    list.append(line);
    while (list.children.length > MAX_LOG_LINES) list.firstElementChild.remove();
    if (isAtEnd) list.scrollTop = list.scrollHeight;
  }

  onState(data) {
    const box = this.part("state");
    if (box) box.replaceChildren(this.badge(data));
    document.dispatchEvent(new CustomEvent("livejob:state", { detail: data }));
  }

  badge(data) {
    const tone = TONE_ICONS[data.tone] ? data.tone : "idle";
    const badge = document.createElement("span");
    badge.className = `badge badge-${tone}`;
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("class", "icon");
    svg.setAttribute("aria-hidden", "true");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    use.setAttribute("href", `${this.words.icons}#${TONE_ICONS[tone]}`);
    svg.append(use);
    badge.append(svg, document.createTextNode(data.label || data.state || ""));
    return badge;
  }

  onEnd(data) {
    this.source?.close();
    this.say("connection", "");
    this.say("eta", "");
    const bar = this.part("progress");
    if (bar && !bar.hasAttribute("value")) {
      bar.max = 1;
      bar.value = ["succeeded", "ready"].includes(data.state) ? 1 : 0;
    }
    this.showResult(data.url);
    document.querySelectorAll('[data-live-only="running"]').forEach((node) => { node.hidden = true; });
    document.querySelectorAll('[data-live-only="finished"]').forEach((node) => { node.hidden = false; });
    document.dispatchEvent(new CustomEvent("livejob:end", { detail: data }));
  }

  showResult(address) {
    const box = this.part("result");
    const link = box?.querySelector("a");
    if (!address || !link) return;
    const url = new URL(address, window.location.href);
    if (url.origin !== window.location.origin) return; // an event may not lead out of the house
    link.href = url.href;
    box.hidden = false;
  }
}

document.querySelectorAll("[data-live-job]").forEach((section) => new LiveJob(section));
