"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
const PALETTE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8A8D93"];
const DASHES = ["solid", "dash", "dot", "dashdot"]; // of more than the palette has, for all eyes
const AXES = 8; // choices, and metrics, in the parallel coordinates
const ALBUM = 60; // pictures beside one another
const RUNS = DATA.runs;
const numeric = value => value !== "" && value !== undefined && value !== null && isFinite(value);
const at = id => document.getElementById(id);
const metrics = [...DATA.results, ...DATA.asides];
const varying = DATA.varying;
const groups = varying.filter(key => key !== "seed");
const points = name => RUNS.reduce((sum, run) => sum + (run.curves[name]?.[0].length ?? 0), 0);
const curveNames = metrics.filter(points).sort((a, b) => rank(a) - rank(b) || points(b) - points(a));
const telling = [...metrics].sort((a, b) => rank(a) - rank(b)); // results, then losses, then the rest
const differs = name => new Set(RUNS.map(run => run.metrics[name]).filter(numeric)).size > 1;
const kinds = [...new Set(RUNS.flatMap(run => Object.keys(run.pictures)))];

function rank(name) { return DATA.results.includes(name) ? 0 : name.endsWith("loss") ? 1 : 2; }

// What the user has chosen; it outlives a reload of the page.
const KEY = `cast_exp report ${location.pathname}`;
const state = Object.assign({
  filter: "", all: false, sort: null, descending: false, off: [], chosen: null, smooth: 0,
  lines: varying.includes("seed") && groups.length ? "seeds" : "run",
  colour: groups.length === 1 ? groups[0] : "",
  curve: curveNames[0] ?? "",
  y: telling[0] ?? "",
  x: ["model/gflops", ...telling.slice(1)].find(differs) ?? telling[0] ?? "",
  goal: telling[0] ?? "",
  kind: kinds.includes("images") ? "images" : kinds[0] ?? "", step: "", scroll: 0,
}, remembered());

function remembered() {
  try { return JSON.parse(sessionStorage.getItem(KEY)) ?? {}; } catch { return {}; }
}
function remember() {
  state.scroll = scrollY;
  try { sessionStorage.setItem(KEY, JSON.stringify(state)); } catch { /* private windows have none */ }
}

// ---- which runs are shown

const text = value => value === undefined || value === null ? "" : String(value);

function cell(run, column) {
  if (column === "name" || column === "status" || column === "started") return run[column];
  if (column in run.choices) return run.choices[column];
  return run.metrics[column];
}

function matches(run, words) {
  return words.every(word => {
    const compared = word.match(/^([^<>=]+)(<=|>=|=|<|>)(.*)$/);
    const column = compared && columns(true).find(name => name === compared[1]);
    if (!column) return whole(run).includes(word.toLowerCase());
    const [value, sign, wanted] = [cell(run, column), compared[2], compared[3]];
    if (sign === "=") {
      return numeric(value) && numeric(wanted) ? +value === +wanted : text(value) === wanted;
    }
    if (!numeric(value) || !numeric(wanted)) return false;
    const difference = value - wanted;
    return sign === "<" ? difference < 0 : sign === ">" ? difference > 0
      : sign === "<=" ? difference <= 0 : difference >= 0;
  });
}
function whole(run) {
  run.whole ??= [run.name, run.status, run.kind, ...Object.values(run.choices)].join(" ").toLowerCase();
  return run.whole;
}
const visible = () => RUNS.filter(run => matches(run, state.filter.split(/\s+/).filter(Boolean)));
const drawn = () => visible().filter(run => !state.off.includes(run.name));

const group = run => groups.map(key => run.choices[key]).join(" · ") || "all";
function label(run) { // what a line or point is coloured by
  if (state.colour) return `${state.colour}=${run.choices[state.colour] || "–"}`;
  return state.lines === "seeds" ? group(run) : run.name;
}
const LABELS = new Map(); // a label keeps its look whatever is filtered
function look(name) {
  if (!LABELS.has(name)) LABELS.set(name, LABELS.size);
  const number = LABELS.get(name);
  return {
    color: PALETTE[number % PALETTE.length],
    dash: DASHES[Math.floor(number / PALETTE.length) % DASHES.length],
  };
}

function settleLooks() {
  LABELS.clear();
  for (const run of RUNS) look(label(run));
}

// ---- table

function columns(all) {
  const rest = all ? DATA.choices.filter(key => !varying.includes(key)) : [];
  return ["name", "status", ...varying, ...rest, ...DATA.results, ...(all ? ["started", ...DATA.asides] : [])];
}

function sorted(runs) {
  if (!state.sort) return runs;
  const sign = state.descending ? -1 : 1;
  return [...runs].sort((first, second) => {
    const [a, b] = [cell(first, state.sort), cell(second, state.sort)];
    if (text(a) === "" || text(b) === "") return (text(a) === "") - (text(b) === ""); // always last
    return sign * (numeric(a) && numeric(b) ? a - b : text(a).localeCompare(text(b), undefined, { numeric: true }));
  });
}

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function drawTable() {
  const names = columns(state.all);
  const best = new Map(DATA.results.map(name => {
    const values = visible().map(run => run.metrics[name]).filter(numeric);
    return [name, values.length > 1 ? Math[DATA.lower.includes(name) ? "min" : "max"](...values) : null];
  }));
  const head = make("tr");
  for (const name of names) {
    const button = make("button", { type: "button", textContent: name, onclick: () => sortBy(name) });
    const th = make("th", { scope: "col", className: varying.includes(name) ? "differs" : metrics.includes(name) ? "number" : "" }, button);
    if (state.sort === name) th.ariaSort = state.descending ? "descending" : "ascending";
    head.append(th);
  }
  const body = sorted(visible()).map(run => {
    const shown = !state.off.includes(run.name);
    const box = make("input", { type: "checkbox", checked: shown, onchange: () => toggle(run) });
    const swatch = make("span", { className: "swatch" });
    swatch.style.background = shown ? look(label(run)).color : "transparent";
    const row = make("tr", { className: shown ? "" : "hidden" },
      make("td", {}, make("label", { title: run.folder }, box, swatch, run.name)));
    row.dataset.name = run.name;
    row.classList.toggle("chosen", run.name === state.chosen);
    for (const name of names.slice(1)) {
      const value = cell(run, name);
      const number = typeof value === "number";
      const td = make("td", { textContent: number ? shortened(value) : text(value) });
      if (number) td.className = "number";
      else if (text(value).length > 30) Object.assign(td, { className: "long", title: value });
      if (varying.includes(name)) td.classList.add("differs");
      if (number && value === best.get(name)) td.classList.add("best");
      if (name === "status") Object.assign(td, { className: `status-${value}`, title: run.error });
      row.append(td);
    }
    return row;
  });
  at("table").tHead.replaceChildren(head);
  at("table").tBodies[0].replaceChildren(...body);
  const count = drawn().length;
  at("about").textContent = `${RUNS.length} runs, ${body.length} listed, ${count} drawn`;
}
const shortened = value => Number.isInteger(value) ? String(value) : value.toPrecision(4);

function sortBy(name) {
  const metric = metrics.includes(name);
  if (state.sort === name) state.descending = !state.descending;
  else Object.assign(state, { sort: name, descending: metric && !DATA.lower.includes(name) });
  drawTable();
  [...at("table").tHead.querySelectorAll("button")].find(b => b.textContent === name)?.focus();
}
function toggle(run) {
  const off = new Set(state.off);
  if (!off.delete(run.name)) off.add(run.name);
  state.off = [...off];
  draw();
  at("table").querySelector(`tr[data-name="${CSS.escape(run.name)}"] input`)?.focus();
}
function choose(name) {
  state.chosen = name;
  drawTable();
  at("table").querySelector("tr.chosen")?.scrollIntoView({ block: "nearest" });
}

function csv() {
  const names = columns(state.all);
  const quoted = value => /[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
  const lines = [names, ...sorted(visible()).map(run => names.map(name => text(cell(run, name))))];
  return lines.map(line => line.map(quoted).join(",")).join("\n") + "\n";
}
function saveCsv() {
  const link = make("a", { download: `${DATA.title}.csv` });
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.click();
  URL.revokeObjectURL(link.href);
}

// ---- plots

const colour = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
function layout(extra) {
  const axis = { gridcolor: colour("rule"), zerolinecolor: colour("rule"), automargin: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("ink"), family: "system-ui, sans-serif", size: 12 },
    margin: { l: 56, r: 16, t: 12, b: 44 }, hovermode: "closest", showlegend: true,
    legend: { orientation: "h", y: -0.2 }, uirevision: "kept", ...extra,
    xaxis: { ...axis, ...extra.xaxis }, yaxis: { ...axis, ...extra.yaxis },
  };
}
const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };

/** Exponential moving average that starts at the first value. */
function smoothed(values, weight) {
  let mean = values[0];
  return values.map(value => (mean = weight * mean + (1 - weight) * value));
}

/** Value of a curve at a step between two of its own; null before its first and after its last. */
function valueAt([steps, values], step) {
  if (step < steps[0] || step > steps.at(-1)) return null;
  let low = 0, high = steps.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (steps[middle] <= step) low = middle; else high = middle;
  }
  const span = steps[high] - steps[low];
  return span ? values[low] + (values[high] - values[low]) * (step - steps[low]) / span : values[low];
}

function moments(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const square = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return [mean, values.length > 1 ? Math.sqrt(square / (values.length - 1)) : 0];
}

/** Steps, mean and standard deviation of several curves at the steps of the longest of them. */
function spread(curves) {
  const longest = curves.reduce((a, b) => b[0].length > a[0].length ? b : a);
  const rows = longest[0].map(step => moments(curves.map(curve => valueAt(curve, step)).filter(v => v !== null)));
  return [longest[0], rows.map(row => row[0]), rows.map(row => row[1])];
}

function curveOf(run) {
  const curve = run.curves[state.curve];
  return curve && [curve[0], smoothed(curve[1], state.smooth)];
}

function drawCurves() {
  const runs = drawn().filter(run => run.curves[state.curve]);
  const traces = [], seen = new Set();
  const trace = (name, x, y, extra) => {
    traces.push({
      x, y, name, mode: x.length > 1 ? "lines" : "markers", legendgroup: name, showlegend: !seen.has(name),
      line: { ...look(name), width: 1.8 }, marker: { color: look(name).color }, ...extra,
    });
    seen.add(name);
  };
  if (state.lines === "seeds") {
    for (const members of Map.groupBy(runs, group).values()) {
      const [steps, mean, deviation] = spread(members.map(curveOf));
      const name = label(members[0]);
      if (members.length > 1) {
        traces.push({
          x: [...steps, ...steps.toReversed()], fill: "toself", mode: "none", hoverinfo: "skip", showlegend: false,
          y: [...mean.map((m, i) => m + deviation[i]), ...mean.map((m, i) => m - deviation[i]).toReversed()],
          fillcolor: look(name).color + "33", legendgroup: name,
        });
      }
      trace(name, steps, mean, {
        customdata: deviation.map(d => [members.length, d]),
        hovertemplate: "%{y:.4g} ± %{customdata[1]:.2g} (%{customdata[0]} runs)<br>step %{x}<extra>%{fullData.name}</extra>",
      });
    }
  } else {
    for (const run of runs) {
      const [steps, values] = curveOf(run);
      trace(label(run), steps, values, { meta: run.name, text: run.name, hovertemplate: "%{y:.4g}, step %{x}<br>%{text}<extra></extra>" });
    }
  }
  plot("curves", traces, { xaxis: { title: { text: "step" } }, yaxis: { title: { text: state.curve } }, showlegend: legible(seen.size) });
}

/** Whether a legend is to be shown; single runs are told by the colours of the table. */
function legible(count) {
  return (state.lines === "seeds" || state.colour !== "") && count > 1 && count <= 24;
}

function drawScatter() {
  const runs = drawn().filter(run => numeric(run.metrics[state.x]) && numeric(run.metrics[state.y]));
  const names = Map.groupBy(runs, label);
  const traces = [...names].map(([name, members]) => ({
    name, mode: "markers", x: members.map(run => run.metrics[state.x]), y: members.map(run => run.metrics[state.y]),
    text: members.map(run => [run.name, ...varying.map(key => `${key}=${run.choices[key]}`)].join("<br>")),
    customdata: members.map(run => run.name), hovertemplate: "%{x:.4g}, %{y:.4g}<br>%{text}<extra></extra>",
    marker: { color: look(name).color, size: 10, symbol: DASHES.indexOf(look(name).dash) },
  }));
  plot("scatter", traces, { xaxis: { title: { text: state.x } }, yaxis: { title: { text: state.y } }, showlegend: legible(names.size) });
}

function dimension(name, runs) {
  const values = runs.map(run => cell(run, name));
  if (values.every(numeric)) return { label: name, values: values.map(Number) };
  const options = [...new Set(values.map(text))].sort();
  return {
    label: name, values: values.map(value => options.indexOf(text(value))),
    tickvals: options.map((_, number) => number), ticktext: options.map(option => option.slice(0, 24) || "–"),
  };
}

function drawParallel() {
  const all = drawn();
  const choices = groups.slice(0, AXES);
  const common = DATA.results.filter(name => all.filter(run => numeric(run.metrics[name])).length > all.length / 2);
  const axes = [...new Set([...common.slice(0, AXES), state.goal])].filter(Boolean);
  const runs = all.filter(run => axes.every(name => numeric(run.metrics[name])));
  const lacking = all.length - runs.length;
  at("lacking").textContent = lacking ? `${lacking} runs that lack some of the metrics are left out` : "";
  const traces = runs.length === 0 ? [] : [{
    type: "parcoords", labelside: "bottom", labelangle: -12, labelfont: { color: colour("ink") }, tickfont: { color: colour("ink") },
    rangefont: { color: "rgba(0,0,0,0)" }, dimensions: [...choices, ...axes].map(name => dimension(name, runs)),
    line: {
      color: runs.map(run => run.metrics[state.goal]), colorscale: [[0, PALETTE[5]], [1, PALETTE[1]]], showscale: true,
      colorbar: { title: { text: state.goal, side: "right" } },
    },
  }];
  plot("parallel", traces, { margin: { l: 90, r: 60, t: 24, b: 60 } });
}

function plot(id, traces, extra) {
  Plotly.react(id, traces, layout(extra), CONFIG);
  const element = at(id);
  if (!element.listens) {
    element.listens = true;
    element.on("plotly_click", ({ points: [point] }) => {
      const name = typeof point.customdata === "string" ? point.customdata : point.data.meta;
      if (name) choose(name);
    });
  }
}

// ---- pictures

function drawAlbum() {
  const runs = drawn().filter(run => Object.keys(run.pictures[state.kind] ?? {}).length);
  const steps = [...new Set(runs.flatMap(run => Object.keys(run.pictures[state.kind])))].sort(
    (a, b) => a.localeCompare(b, undefined, { numeric: true }));
  options("step", [["", "the last"], ...steps.map(step => [step, step])]);
  const figures = runs.slice(0, ALBUM).map(run => {
    const there = run.pictures[state.kind];
    const step = state.step || Object.keys(there).at(-1);
    const caption = make("figcaption", { textContent: `${run.name}, ${step}` });
    if (!(step in there)) return make("figure", {}, make("figcaption", { textContent: `${run.name}: none at ${step}` }));
    return make("figure", {}, make("img", { src: DATA.pictures[there[step]], alt: `${state.kind} of ${run.name}, ${step}`, loading: "lazy" }), caption);
  });
  at("pictures").replaceChildren(...figures);
  const notes = [];
  if (runs.length > ALBUM) notes.push(`the first ${ALBUM} of ${runs.length} runs; filter to see others`);
  if (DATA.left_out) notes.push(`${DATA.left_out} pictures left out to keep the page small (--pictures)`);
  at("left").textContent = notes.join("; ");
}

// ---- controls

function options(id, pairs) {
  const select = at(id);
  select.replaceChildren(...pairs.map(([value, title]) => make("option", { value, textContent: title })));
  if (!pairs.some(([value]) => value === state[id])) state[id] = pairs[0]?.[0] ?? "";
  select.value = state[id];
}

const same = names => names.map(name => [name, name]);
const PARTS = { curves: drawCurves, scatter: drawScatter, parallel: drawParallel, pictures: drawAlbum };
const PART_OF = {
  curve: "curves", smooth: "curves", x: "scatter", y: "scatter", goal: "parallel", kind: "pictures", step: "pictures",
};
const stale = new Set(), seen = new Set(); // parts to be drawn once they are seen; those that are

function renew(...ids) {
  for (const id of ids) {
    if (seen.has(id)) PARTS[id](); else stale.add(id);
  }
}
const watcher = new IntersectionObserver(entries => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) seen.delete(target.id);
    else if (seen.add(target.id) && stale.delete(target.id)) PARTS[target.id]();
  }
}, { rootMargin: "200px" });

function draw() {
  remember();
  drawTable();
  renew(...Object.keys(PARTS));
}

/** Bring the controls and all parts to what the state says. */
function settle() {
  options("colour", [["", "run or choices"], ...same(varying)]);
  options("curve", same(curveNames));
  for (const id of ["x", "y", "goal"]) options(id, same(metrics));
  options("kind", same(kinds));
  for (const id of ["lines", "smooth", "filter"]) at(id).value = state[id];
  at("all").checked = state.all;
  settleLooks();
  draw();
}

function start() {
  const top = state.scroll;
  settle();
  scrollTo(0, top);
  at("album").hidden = kinds.length === 0;
  addEventListener("load", () => { // Plotly, which takes a while, comes after the table
    for (const id of Object.keys(PARTS)) watcher.observe(at(id));
  });
  for (const [id, part] of Object.entries(PART_OF)) {
    at(id).addEventListener("input", () => {
      state[id] = id === "smooth" ? +at(id).value : at(id).value;
      renew(part);
      remember();
    });
  }
  for (const id of ["lines", "colour"]) {
    at(id).addEventListener("input", () => {
      state[id] = at(id).value;
      settleLooks();
      draw();
    });
  }
  at("filter").addEventListener("input", () => {
    state.filter = at("filter").value;
    later(draw);
  });
  at("all").addEventListener("input", () => {
    state.all = at("all").checked;
    drawTable();
    remember();
  });
  at("csv").addEventListener("click", saveCsv);
  document.addEventListener("keydown", keys);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("pagehide", remember);
  if (DATA.reload) setTimeout(() => location.reload(), 1000 * DATA.reload);
}

let waiting;
function later(action) { clearTimeout(waiting); waiting = setTimeout(action, 150); }

function keys(event) {
  const typing = event.target.matches("input[type=search], select");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    at("filter").focus();
  } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && event.target.closest?.("tbody")) {
    event.preventDefault();
    const row = event.target.closest("tr");
    (event.key === "ArrowDown" ? row.nextSibling : row.previousSibling)?.querySelector("input").focus();
  } else if (event.key === "ArrowDown" && event.target === at("filter")) {
    event.preventDefault();
    at("table").querySelector("tbody input")?.focus();
  }
}

start();
