/* Two to six trainings over one another (templates/jobs_app/compare.html).

   [data-compare] holds one [data-compare-chart="train_loss|valid_loss"] for each drawing and the JSON block #compare-curves:
   [{number, name, points: [{step, train_loss, valid_loss}]}]; [data-compare-log] is the checkbox of the logarithmic scale.
   The lines look like the keys .key-run-1 to .key-run-6 of training.css.                                            */

import { Chart } from "./charts.js";

const LOOKS = [
  { colour: "--series-1" },
  { colour: "--series-2", dash: [6, 4] },
  { colour: "--series-3", dash: [2, 4] },
  { colour: "--series-base" },
  { colour: "--series-1", dash: [8, 3] },
  { colour: "--series-2", dash: [2, 3] },
];

const section = document.querySelector("[data-compare]");
const runs = JSON.parse(document.getElementById("compare-curves").textContent);
const charts = [...section.querySelectorAll("[data-compare-chart]")].map((box) => {
  const key = box.dataset.compareChart;
  const lines = runs.map((run, at) => ({ key: `run-${run.number}`, label: run.name, hasDots: key === "valid_loss", ...LOOKS[at % LOOKS.length] }));
  const chart = new Chart(box, { lines, words: section.dataset, mayBreak: true });
  for (const run of runs) for (const point of run.points) chart.add({ step: point.step, [`run-${run.number}`]: point[key] });
  return chart;
});
section.querySelector("[data-compare-log]")?.addEventListener("change", (event) => charts.forEach((chart) => chart.setLog(event.target.checked)));
