/* Curves by training step, drawn with uPlot. Used by live-job.js and compare.js.

   new Chart(box, { lines: [{ key, label, colour, dash }], height, unit, words, mayBreak })
   box       the element whose server-drawn picture is replaced once there is something to draw
   colour    name of a token of static/css/tokens.css;  dash  of canvas, e.g. [6, 4]
   unit      "bytes", "share", "whole" or nothing: how values are written
   add({ step, [key]: value, ... })  a value may be "nan" or "inf": a gap, marked on the lower edge       */

const language = document.documentElement.lang || "en";

export function numberWords(value, digits) {
  if (typeof value !== "number" || !Number.isFinite(value)) return null;
  const options = digits !== undefined
    ? { maximumFractionDigits: digits }
    : Number.isInteger(value) ? {} : Math.abs(value) >= 1 ? { minimumFractionDigits: 2, maximumFractionDigits: 2 } : { maximumSignificantDigits: 3 };
  return new Intl.NumberFormat(language, options).format(value);
}

export function bytesWords(value) {
  if (typeof value !== "number" || !Number.isFinite(value)) return null;
  const units = ["bytes", "KB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log(Math.max(1, value)) / Math.log(1024))));
  const size = value / 1024 ** power;
  return `${numberWords(size, power === 0 || size >= 100 ? 0 : 1)} ${units[power]}`;
}

export function valueWords(value, unit) {
  if (unit === "bytes") return bytesWords(value);
  if (unit === "whole") return numberWords(value, 0);
  if (unit === "share") return typeof value === "number" ? `${numberWords(value * 100, 0)}%` : null;
  return numberWords(value);
}

/* A value as the chart wants it: a number; null = not a number (a gap); undefined = not measured at this step. */
function chartValue(value) {
  if (value === undefined || value === null) return undefined;
  const number = typeof value === "string" ? Number.parseFloat(value) : value;
  return Number.isFinite(number) ? number : null;
}

export class Chart {
  constructor(box, { lines, height = 280, unit = "", words = {}, mayBreak = false }) {
    Object.assign(this, { box, lines, fullHeight: height, unit, words, mayBreak });
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
    const known = this.points.get(step) || {};
    let isNew = false;
    for (const { key } of this.lines) {
      const value = chartValue(point[key]);
      if (value === undefined) continue;
      known[key] = value;
      isNew = true;
    }
    if (!isNew) return;
    this.points.set(step, known);
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
    return [steps, ...this.lines.map(({ key }) => steps.map((step) => shown(this.points.get(step)[key])))];
  }

  brokenSteps() {
    return [...this.points].filter(([, point]) => this.lines.some(({ key }) => point[key] === null)).map(([step]) => step);
  }

  setLog(isLog) {
    this.isLog = isLog;
    this.rebuild();
  }

  resize() {
    if (this.plot && this.box.clientWidth) this.plot.setSize({ width: this.box.clientWidth, height: this.height() });
  }

  height() {
    return this.box.clientWidth < 500 ? Math.min(220, this.fullHeight) : this.fullHeight;
  }

  rebuild() {
    if (!window.uPlot || this.points.size === 0 || !this.box.clientWidth) return; // until then the server's drawing stays
    const css = getComputedStyle(document.documentElement);
    const colour = (name) => css.getPropertyValue(name).trim();
    const axis = { stroke: colour("--ink-2"), grid: { stroke: colour("--grid"), width: 1 }, ticks: { stroke: colour("--grid"), width: 1 }, font: `12px ${css.getPropertyValue("--font-body")}` };
    const written = (raw) => (raw === null || raw === undefined ? "–" : valueWords(raw, this.unit) ?? "–");
    const tick = (value) => (value === null ? "" : this.unit ? valueWords(value, this.unit) : String(Number(value.toPrecision(3))));
    this.plot?.destroy();
    this.box.replaceChildren();
    this.plot = new window.uPlot({
      width: this.box.clientWidth,
      height: this.height(),
      cursor: { drag: { x: true, y: false } },
      scales: { x: { time: false }, y: this.isLog ? { distr: 3 } : {} },
      axes: [{ ...axis, size: 34 }, { ...axis, size: this.unit === "bytes" ? 70 : 64, values: (u, ticks) => ticks.map(tick) }],
      series: [
        { label: this.words.wordStep || "", value: (u, raw) => (raw === null || raw === undefined ? "–" : numberWords(raw, 0)) },
        ...this.lines.map((line) => ({
          label: line.label,
          stroke: colour(line.colour),
          width: 2,
          dash: line.dash,
          spanGaps: false,
          points: line.hasDots ? { show: true, size: 6, fill: colour(line.colour) } : {},
          value: (u, raw) => written(raw),
        })),
      ],
      hooks: this.mayBreak ? { draw: [(u) => this.markBroken(u, colour("--bad"))] } : {},
    }, this.data(), this.box);
    const canvas = this.plot.root.querySelector("canvas");
    canvas?.setAttribute("role", "img");
    canvas?.setAttribute("aria-label", this.description || this.box.dataset.name || document.title); // a picture must never be nameless
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
