/* The live view of a job (templates/web_kit/_live_job.html). The server draws the state of the moment; this file
   carries on from the event stream, and after a reload starts where that page was drawn.

   On the section      data-live-job, data-events-url (absent when the job is over), data-last-event-id (optional),
                       data-points (id of a JSON block: [{step, train_loss, valid_loss, ...}]), data-icons, data-word-*
   Inside, data-live=  state, phase, connection, reading, progress (<progress>), amount, eta, train_loss, valid_loss,
                       tokens_per_second, chart, gaps, log (<ol>), result (a link inside it gets the address)
   data-live-log-scale checkbox: logarithmic loss axis
   Elsewhere           data-live-only="running" is hidden at the end, data-live-only="finished" is shown then
   Events on document  "livejob:state" and "livejob:end" (detail = the data), e.g. hx-trigger="livejob:end from:document"

   Stream: phase {phase,label} · progress {done,total,unit,eta_seconds,percent} · metric {step,train_loss,valid_loss?,
   train_accuracy?,tokens_per_second?} · log {level,message,at} · state {state,label,tone} · reading {sentence} ·
   end {state,url}; every message has an id. Loss values may be "nan" or "inf": shown as a gap with a mark.          */

const TONE_ICONS = { ok: "circle-check", warn: "triangle-alert", bad: "octagon-x", info: "info", running: "circle-dot", idle: "circle" };
const MAX_LOG_LINES = 500;
const language = document.documentElement.lang || "en";

function numberWords(value, digits) {
  if (typeof value !== "number" || !Number.isFinite(value)) return null;
  const options = digits !== undefined
    ? { maximumFractionDigits: digits }
    : Number.isInteger(value) ? {} : Math.abs(value) >= 1 ? { minimumFractionDigits: 2, maximumFractionDigits: 2 } : { maximumSignificantDigits: 3 };
  return new Intl.NumberFormat(language, options).format(value);
}

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

/* A loss as the chart wants it: a number; null = not a number (a gap); undefined = not measured at this step. */
function lossValue(value) {
  if (value === undefined || value === null) return undefined;
  const number = typeof value === "string" ? Number.parseFloat(value) : value;
  return Number.isFinite(number) ? number : null;
}

class LossChart {
  constructor(box, words) {
    this.box = box;
    this.words = words;
    this.points = new Map();
    this.isLog = false;
    this.isDue = false;
    this.plot = null;
    this.size = new ResizeObserver(() => this.resize());
    this.size.observe(box);
    document.addEventListener("themechange", () => this.rebuild());
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.rebuild());
  }

  add(point) {
    const step = Number(point.step);
    if (!Number.isFinite(step)) return;
    const old = this.points.get(step) || {};
    const train = lossValue(point.train_loss);
    const valid = lossValue(point.valid_loss);
    this.points.set(step, { train: train === undefined ? old.train : train, valid: valid === undefined ? old.valid : valid });
    this.draw();
  }

  draw() {
    if (this.isDue) return;
    this.isDue = true;
    window.requestAnimationFrame(() => {
      this.isDue = false;
      if (this.plot) this.plot.setData(this.data());
      else this.rebuild();
    });
  }

  data() {
    const steps = [...this.points.keys()].sort((a, b) => a - b);
    const shown = (value) => (this.isLog && typeof value === "number" && value <= 0 ? null : value);
    return [steps, steps.map((s) => shown(this.points.get(s).train)), steps.map((s) => shown(this.points.get(s).valid))];
  }

  brokenSteps() {
    return [...this.points].filter(([, p]) => p.train === null || p.valid === null).map(([step]) => step);
  }

  setLog(isLog) {
    this.isLog = isLog;
    this.rebuild();
  }

  resize() {
    if (this.plot && this.box.clientWidth) this.plot.setSize({ width: this.box.clientWidth, height: this.height() });
  }

  height() {
    return this.box.clientWidth < 500 ? 220 : 280;
  }

  rebuild() {
    if (!window.uPlot || this.points.size === 0) return; // until then the server's drawing stays
    const css = getComputedStyle(document.documentElement);
    const colour = (name) => css.getPropertyValue(name).trim();
    const axis = { stroke: colour("--ink-2"), grid: { stroke: colour("--grid"), width: 1 }, ticks: { stroke: colour("--grid"), width: 1 }, font: `12px ${css.getPropertyValue("--font-body")}` };
    const label = (raw) => (raw === null || raw === undefined ? "–" : numberWords(raw, 4));
    this.plot?.destroy();
    this.box.replaceChildren();
    this.plot = new window.uPlot({
      width: this.box.clientWidth || 600,
      height: this.height(),
      cursor: { drag: { x: true, y: false } },
      scales: { x: { time: false }, y: this.isLog ? { distr: 3 } : {} },
      axes: [{ ...axis, size: 34 }, { ...axis, size: 58, values: (u, ticks) => ticks.map((t) => (t === null ? "" : String(Number(t.toPrecision(3))))) }],
      series: [
        { label: this.words.wordStep, value: (u, raw) => (raw === null || raw === undefined ? "–" : numberWords(raw, 0)) },
        { label: this.words.wordTraining, stroke: colour("--series-1"), width: 2, spanGaps: false, value: (u, raw) => label(raw) },
        { label: this.words.wordValidation, stroke: colour("--series-2"), width: 2, dash: [6, 4], spanGaps: false, points: { show: true, size: 6, fill: colour("--series-2") }, value: (u, raw) => label(raw) },
      ],
      hooks: { draw: [(u) => this.markBroken(u, colour("--bad"))] },
    }, this.data(), this.box);
    const canvas = this.plot.root.querySelector("canvas");
    canvas?.setAttribute("role", "img");
    canvas?.setAttribute("aria-label", this.description || document.title); // a picture must never be nameless
  }

  markBroken(u, colour) {
    const context = u.ctx;
    context.save();
    context.fillStyle = colour;
    const bottom = u.bbox.top + u.bbox.height;
    for (const step of this.brokenSteps()) {
      const x = u.valToPos(step, "x", true);
      context.fillRect(x - 1.5, bottom - 12, 3, 12);
    }
    context.restore();
  }

  describe(text) {
    this.description = text;
    this.box.querySelector("canvas")?.setAttribute("aria-label", text);
  }
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
    this.chart = chart ? new LossChart(chart, section.dataset) : null;
    this.readPoints();
    section.querySelector("[data-live-log-scale]")?.addEventListener("change", (event) => this.chart?.setLog(event.target.checked));
    if (section.dataset.eventsUrl) this.connect();
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
    const handlers = { phase: "onPhase", progress: "onProgress", metric: "onMetric", log: "onLog", state: "onState", reading: "onReading", end: "onEnd" };
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
