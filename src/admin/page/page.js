// The live page. Reports are hostile input: every datum passes text() and becomes a text node, never markup.
"use strict";

const ROWS = 200; // in the table at most
const WINDOW = 500; // events that admin keeps, and the most that wait while paused
const FLUSH_MS = 200;
const POLL_MS = 3000;
const ANNOUNCE_MS = 5000;
const DETAIL_CHARS = 65536;
const NOISES = ["none", "extension", "injected", "intermediary", "browser", "local", "bot"];
const SORTS = ["clients", "count", "first", "last"];
const EXPORTS = { console: "Console (stdout)", otlp_logs: "OTLP logs", otlp_metrics: "OTLP metrics", otlp_recovered: "OTLP logs of an earlier process" };
const CLASSES = { runs: "runs code", exfiltrates: "sends data out", other: "other class" };
// What the outcomes of uploads and the reasons of rejected reports mean.
const OUTCOMES = {
  invalid_json: "the body is not JSON", no_reports: "JSON that holds no report",
  reports_unknown_site: "every report is of a site that is not configured", unknown_site: "the site is not configured",
  expect_ct_host_mismatch: "an Expect-CT report of another host", expect_ct_unknown_version: "an Expect-CT report of an undefined version",
  too_large: "the body is over intake.max_body_bytes", inflate_ratio: "gzip that inflates beyond the permitted ratio",
  unsupported_encoding: "a Content-Encoding other than gzip", invalid_encoding: "gzip that does not inflate",
  body_timeout: "the body came too slowly", client_disconnected: "the client disconnected before the body was complete",
  overloaded: "more uploads in flight than permitted", rate_limited: "the client is over intake.rate_limit",
  retired: "the site or path is retired", unknown_path: "a path that intake does not serve", invalid_host: "not exactly one Host header",
  method_not_allowed: "a method that the path does not allow", bad_key: "the site's key is missing or wrong",
  not_an_object: "the item is not a JSON object", unparsable: "the item is nested too deeply or has a number out of range",
  too_many_values: "the item has too many values", missing_type: "the item has no type", invalid_body: "the report's body is not an object",
  missing_host: "an Expect-CT report without host or port", over_limit: "beyond intake.max_reports",
};
// Characters without a shape of their own, or that reorder others.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const filter = { site: query.get("site") || "", kind: query.get("kind") || "", noise: query.get("noise") || "", q: query.get("q") || "" };
const findings = { sort: SORTS.includes(query.get("sort")) ? query.get("sort") : "last", fresh: query.get("new") === "true", open: query.get("finding") || "" };
const live = { events: [], fresh: [], early: [], loaded: false, paused: false, missed: 0, last: undefined, chosen: undefined, awaited: false, timer: 0 };
const items = new WeakMap(); // a row's button to its datum
const seen = { site: new Set(), kind: new Set(), noise: new Set(NOISES) };
const shown = {}; // what was drawn last, as JSON, by name
let started, now = Date.now(), grafana = "";

// A link to a board of Grafana, about a site if one is given. `admin.grafana` is an http or https URL without a query.
function board(name, label, site) {
  const query = site ? `?var-site=${encodeURIComponent(site)}` : "";
  return el("a", { href: `${grafana.replace(/\/+$/, "")}/d/lookoutd-${name}${query}`, rel: "noopener noreferrer" }, label);
}

// --- Text and elements

function text(value, most = 300) {
  const whole = String(value ?? "");
  const cut = whole.length > most ? whole.slice(0, most) + "…" : whole;
  return cut.replace(HIDDEN, (c) => `\\u{${c.codePointAt(0).toString(16).toUpperCase()}}`);
}

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== undefined && child !== ""));
  return node;
}

function td(value, name) {
  return el("td", { class: name }, value instanceof Node ? value : text(value));
}

const words = (token) => text(token).replaceAll("_", " ");
const plural = (value, one) => `${number(value)} ${one}${Number(value) === 1 ? "" : "s"}`;
const number = (value) => Number(value ?? 0).toLocaleString();
const sum = (counts) => Object.values(counts || {}).reduce((total, one) => total + Number(one), 0);

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) { value /= 1024; at += 1; }
  return `${at && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[at]}`;
}

const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const CLOCK = new Intl.DateTimeFormat([], clock);
const DAY = new Intl.DateTimeFormat([], { month: "short", day: "numeric", ...clock });
const YEAR = new Intl.DateTimeFormat([], { year: "numeric", month: "short", day: "numeric" });

// A local time, with UTC in its title.
function time(stamp, relative) {
  const date = new Date(stamp);
  if (Number.isNaN(date.getTime())) return text(stamp ?? "–", 40);
  const near = Math.abs(now - date) < 43200000 || date.toDateString() === new Date(now).toDateString();
  const local = (near ? CLOCK : Math.abs(now - date) < 2592000000 ? DAY : YEAR).format(date);
  const iso = date.toISOString();
  return el("time", { datetime: iso, title: iso.replace("T", " ").replace("Z", " UTC") }, relative ? ago(date) : local);
}

function ago(date) {
  const seconds = Math.round((now - date.getTime()) / 1000);
  const size = Math.abs(seconds);
  const said = size < 90 ? `${size} s` : size < 5400 ? `${Math.round(size / 60)} min` : size < 129600 ? `${Math.round(size / 3600)} h` : `${Math.round(size / 86400)} d`;
  return seconds < 0 ? `in ${said}` : `${said} ago`;
}

function meter(value, most, label) {
  const share = most > 0 ? value / most : 0;
  return el("meter", { min: 0, max: 1, low: 0.75, high: 0.95, optimum: 0, value: Math.min(share, 1), "aria-label": label }, `${Math.round(share * 100)} %`);
}

function facts(...pairs) {
  const list = el("dl", { class: "facts" });
  for (const [name, value] of pairs) {
    if (value !== undefined && value !== "") list.append(el("dt", {}, name), el("dd", {}, value instanceof Node ? value : text(value, 2048)));
  }
  return list;
}

const pretty = (value) => el("pre", {}, text(JSON.stringify(value, null, 2), DETAIL_CHARS));

// Draws only what has changed, and keeps the focus on the same row.
function draw(name, data, build) {
  const json = JSON.stringify(data);
  if (shown[name] === json) return;
  shown[name] = json;
  const key = document.activeElement?.dataset?.key;
  build(data);
  if (key && document.activeElement === document.body) {
    document.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
  }
}

let announced = 0, announcing = 0, toAnnounce = "";
// For screen readers: the latest message only, and not more often than they can read.
function announce(message) {
  toAnnounce = message;
  if (announcing) return;
  announcing = setTimeout(() => {
    announcing = 0;
    announced = Date.now();
    $("announce").textContent = toAnnounce;
  }, Math.max(0, announced + ANNOUNCE_MS - Date.now()));
}

function tag(node, message, tone) {
  if (node.textContent !== message) node.textContent = message;
  node.className = `tag ${tone}`;
}

// --- The API

async function api(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "" && value !== undefined);
  const answer = await fetch(`api/v1/${path}${given.length ? "?" + new URLSearchParams(given) : ""}`, { headers: { Accept: "application/json" }, cache: "no-store" });
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw Object.assign(new Error(text(problem.detail || problem.title || answer.statusText)), { status: answer.status });
  }
  return answer.json();
}

function report(error) {
  const at = $("problem");
  const said = !error ? ""
    : error.status === 401 ? "lookoutd requires credentials (admin.auth): reload the page and enter them."
    : error.status === 403 ? "lookoutd does not permit this: this host name is not in admin.hosts, or the credentials do not suffice."
    : error.status ? `lookoutd answered ${error.status}: ${error.message}`
    : "lookoutd does not answer, trying again.";
  at.hidden = !said;
  if (at.textContent !== said) at.textContent = said;
}

let polls = 0;
async function poll() {
  if (!document.hidden) {
    try {
      const status = await api("status");
      now = Date.parse(status.now) || Date.now();
      showStatus(status);
      report();
      await Promise.all([pollRejected(), status.findings ? pollFindings() : noFindings(), polls++ % 5 ? undefined : pollPolicy()]);
    } catch (error) {
      report(error);
      if (!error.status) tag($("ready"), "no answer", "bad");
    }
  }
  // What was drawn before has moved the section to which the address leads.
  if (polls === 1 && location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
  setTimeout(poll, POLL_MS);
}

// --- Health

function showStatus(status) {
  const intake = status.intake || {};
  tag($("ready"), status.ready ? "ready" : "not ready", status.ready ? "ok" : "bad");
  draw("ready", status.ready, (ready) => announce(ready ? "lookoutd is ready" : "lookoutd is not ready"));
  $("version").textContent = text(`${status.version || ""}${status.revision ? ` (${status.revision})` : ""}`, 60);
  const warnings = (status.settings && status.settings.warnings) || [];
  draw("why", [status.ready ? "" : status.not_ready_reason || "not ready", warnings], ([reason, list]) => {
    $("why").replaceChildren(...(reason ? [el("li", { class: "notice bad" }, "Not ready: ", text(reason, 1000))] : []),
      ...list.map((one) => el("li", { class: "notice warn" }, "Warning: ", text(one, 1000))));
    $("why").hidden = !reason && !list.length;
  });
  const accepted = (intake.uploads || {}).accepted || 0;
  const refused = sum(intake.uploads) - accepted;
  $("numbers").replaceChildren(
    ...pair("Reports", number(intake.reports), intake.last_report ? el("small", {}, "last ", time(intake.last_report, true)) : el("small", {}, "none yet")),
    ...pair("Rejected", number(refused + sum(intake.rejected)), el("small", {}, `${plural(refused, "upload")}, ${plural(sum(intake.rejected), "report")}`)),
    ...pair("Connections", number(intake.connections), el("small", { class: "datum" }, text(intake.address, 100))),
    ...pair("Last scrape", (status.scrape || {}).last ? time(status.scrape.last, true) : "none"),
    ...(status.spool ? pair("Spool", bytes(status.spool.bytes), meter(status.spool.bytes, status.spool.max_bytes, "Spool used"), el("small", {}, `of ${bytes(status.spool.max_bytes)} in `, text(status.spool.directory, 200))) : []),
    ...(status.certificates || []).flatMap((one) => pair(`Certificate (${text(one.listener, 40)})`, certificate(one.not_after), el("small", {}, "ends ", time(one.not_after)))),
    ...pair("Started", time(status.started, true)));
  draw("exports", [status.exports, Math.floor(now / POLL_MS)], ([list]) => $("exports").replaceChildren(
    ...(list || []).map(exportCard), ...((list || []).length ? [] : [el("p", { class: "muted" }, "No export is enabled; the scrape is.")])));
  draw("settings", status.settings || {}, (settings) => {
    $("settings-summary").textContent = text(settings.summary, 2000);
    const changed = settings.changed || [];
    $("settings-box").querySelector("summary").textContent = `Settings (${changed.length} changed)`;
    $("settings").replaceChildren(...changed.map((one) => el("tr", {}, el("td", {}, el("code", {}, text(one.key))),
      td(typeof one.value === "object" ? JSON.stringify(one.value) : one.value), td(one.source))));
  });
  (status.sites || []).forEach((site) => note("site", site));
  sites(status.sites || []);
  showSeries(status.series);
  grafana = status.grafana || "";
  if (grafana) draw("boards", grafana, () => $("boards").replaceChildren("Grafana: ", board("overview", "the overview"), ", and a board from each finding"));
  welcome(status);
  if (started && started !== status.started) restart();
  started = status.started;
}

const pair = (name, value, ...more) => [el("div", {}, el("dt", {}, name), el("dd", {}, value, ...more))];

function certificate(end) {
  const days = Math.floor((Date.parse(end) - now) / 86400000);
  return el("span", { class: days < 3 ? "bad" : days < 14 ? "warn" : undefined }, days < 0 ? "expired" : `${days} days`);
}

function exportCard(one) {
  const pending = one.pending || {};
  const failing = one.failing_since;
  const card = el("article", { class: "card" }, el("h4", {}, EXPORTS[one.name] || text(one.name, 60),
    el("span", { class: `tag ${failing ? "bad" : "ok"}` }, failing ? "failing" : one.last_success || (one.outcomes || {}).delivered ? "delivering" : "nothing sent yet")));
  if (one.endpoint) card.append(el("p", { class: "muted datum" }, text(one.endpoint)));
  if (failing) card.append(el("p", { class: "bad" }, "Failing since ", time(failing), `, ${ago(new Date(failing))}`, one.error ? `: ${text(one.error, 500)}` : ""));
  if (one.last_success || one.name !== "console") card.append(el("p", {}, "Last success: ", one.last_success ? time(one.last_success, true) : "none"));
  if (one.pending) card.append(el("p", {}, `Pending: ${number(sum(pending))}`, sum(pending) ? ` (${counted(pending)})` : ""));
  if (one.outcomes && sum(one.outcomes)) card.append(el("p", {}, counted(one.outcomes)));
  return card;
}

const counted = (counts) => Object.entries(counts).filter(([, value]) => value).map(([name, value]) => `${number(value)} ${words(name)}`).join(", ");

// --- Before the first report

function welcome(status) {
  const intake = status.intake || {};
  const waiting = !intake.reports && !live.events.length;
  $("welcome").hidden = !waiting;
  if (waiting) {
    const url = new URL(intake.address || "http://0.0.0.0:8480");
    if (["0.0.0.0", "[::]"].includes(url.hostname)) url.hostname = location.hostname;
    const address = `${url.origin}/report`;
    $("try-curl").textContent = `curl -i ${address} -H 'Content-Type: application/reports+json' -d '[{"type":"csp-violation","url":"https://www.shop.example/cart","body":{"effectiveDirective":"script-src-elem","blockedURL":"https://cdn.example/cart.js","disposition":"report"}}]'`;
    $("try-send").textContent = `lookoutd send ${address} --kind csp-violation`;
    if (!live.awaited) headers();
    live.awaited = true;
  }
}

function headers() {
  const name = $("public").value.trim().replace(/^https?:\/\//, "").replace(/\/.*$/, "") || "reports.example";
  $("headers").textContent = `Reporting-Endpoints: default="https://${name}/report"\nContent-Security-Policy-Report-Only: default-src 'self'; report-to default; report-uri https://${name}/csp/report-only`;
}

// --- Live reports

function matches(item) {
  const about = item.event.lookout || {};
  return ["site", "kind", "noise"].every((name) => !filter[name] || about[name] === filter[name])
    && (!filter.q || JSON.stringify(item.event).toLowerCase().includes(filter.q.toLowerCase()));
}

// Takes a report of the stream, or of the list after a gap; older ones are there already.
function receive(item) {
  if (live.last !== undefined) {
    if (item.id <= live.last) return;
    live.missed += item.id - live.last - 1;
  }
  live.last = item.id;
  for (const name of ["site", "kind", "noise"]) note(name, (item.event.lookout || {})[name]);
  if (!matches(item)) return schedule();
  live.fresh.push(item);
  if (live.fresh.length > 2 * WINDOW) live.fresh.splice(0, WINDOW);
  schedule();
}

function schedule() {
  live.timer ||= setTimeout(() => requestAnimationFrame(flush), FLUSH_MS);
}

function flush() {
  live.timer = 0;
  if (!live.paused && live.fresh.length) {
    const fresh = live.fresh.splice(0).slice(-WINDOW).reverse();
    live.events = [...fresh, ...live.events].slice(0, WINDOW);
    const body = $("events-rows");
    const focused = body.contains(document.activeElement);
    body.prepend(...fresh.slice(0, ROWS).map(eventRow));
    while (body.rows.length > ROWS) body.lastElementChild.remove();
    rove(body, focused);
  }
  tally();
}

function redraw() {
  live.events = live.events.filter(matches);
  const body = $("events-rows");
  body.replaceChildren(...live.events.slice(0, ROWS).map(eventRow));
  rove(body);
  tally();
}

function tally() {
  const rows = $("events-rows").rows.length;
  if (live.awaited && rows) { // the first report is shown at once, with its details
    live.awaited = false;
    $("welcome").hidden = true;
    announce("The first report has arrived");
    choose($("events-rows").querySelector("button"));
  }
  $("events-none").hidden = rows > 0;
  $("events-none").textContent = live.last ? "No report matches." : "No report yet.";
  $("shown").textContent = live.paused && live.fresh.length ? `${number(Math.min(live.fresh.length, WINDOW))}${live.fresh.length >= WINDOW ? " or more" : ""} new while paused`
    : live.events.length > rows ? `the newest ${rows} of ${number(live.events.length)}` : `${rows} shown`;
  $("missed").textContent = live.missed ? `${number(live.missed)} missed: they came faster than this list takes, and are counted and exported all the same` : "";
  options();
}

function eventRow(item) {
  const about = item.event.lookout || {};
  const noisy = about.noise && about.noise !== "none";
  const level = { ERROR: "error", WARN: "warning" }[about.severity] || "";
  const button = el("button", { type: "button", tabindex: -1, title: text(about.severity, 20) }, text(about.summary || item.event.type));
  items.set(button, item);
  if (item.id === live.chosen) button.setAttribute("aria-current", "true");
  return el("tr", { class: `${level}${noisy ? " noisy" : ""}${item.id === live.chosen ? " chosen" : ""}` }, td(time(about.received)), td(about.site), td(about.kind), el("td", { class: "main" }, button, noisy ? " " : "", noisy ? el("span", { class: "tag" }, text(about.noise, 40)) : ""));
}

// Exactly one row is in the order of Tab: the selected one, else the first.
function rove(body, focused) {
  const old = body.querySelector("[tabindex='0']");
  const next = body.querySelector("[aria-current]") || body.querySelector("button");
  if (old !== next) {
    old?.setAttribute("tabindex", -1);
    next?.setAttribute("tabindex", 0);
  }
  if (focused && !body.contains(document.activeElement)) next?.focus({ preventScroll: true });
}

function choose(button) {
  if (!button) return;
  const body = button.closest("tbody");
  for (const old of body.querySelectorAll("[aria-current]")) {
    old.removeAttribute("aria-current");
    old.closest("tr").classList.remove("chosen");
  }
  button.setAttribute("aria-current", "true");
  button.closest("tr").classList.add("chosen");
  rove(body);
  const item = items.get(button);
  if (body.id === "events-rows") showEvent(item); else openFinding(item.fingerprint);
}

function listen(body) {
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row && !String(getSelection())) choose(row.querySelector("button"));
  });
  body.addEventListener("keydown", (event) => {
    const buttons = [...body.querySelectorAll("button")];
    const at = buttons.indexOf(event.target);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + 10, PageUp: at - 10, Home: 0, End: buttons.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const button = buttons[Math.max(0, Math.min(to, buttons.length - 1))];
    button.focus();
    choose(button);
  });
}

function showEvent(item) {
  live.chosen = item.id;
  const about = item.event.lookout || {};
  const series = item.series || [], redacted = item.redacted || [];
  $("detail").replaceChildren(
    el("h3", { class: "datum" }, text(about.summary || item.event.type, 2048)),
    facts(["Occurred", time(about.occurred)], ["Received", time(about.received)], ["Site", about.site], ["Kind", about.kind], ["Severity", about.severity],
      ["Noise", about.noise], ["Rule", item.rule && rule(item.rule)], ["Browser", about.browser],
      ["Finding", about.fingerprint && findingLink(about)]),
    el("h4", {}, "Counted under"), list(series, (one) => el("code", {}, text(label(one), 1000)), "no series"),
    el("h4", {}, "Redacted"), list(redacted, (one) => [el("code", {}, text(one.pointer)), ` by the rule ${words(one.rule)}`], "nothing"),
    el("h4", {}, "Event"), pretty(item.event));
  $("detail").scrollTop = 0;
}

const label = (one) => `${one.name}{${Object.entries(one.labels || {}).map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(", ")}}`;

function list(values, show, none) {
  return values.length ? el("ul", {}, ...values.map((one) => el("li", {}, ...[show(one)].flat()))) : el("p", { class: "muted" }, none);
}

function rule(one) {
  return el("span", {}, text(one.name), one.source ? " from " : "", one.source ? link(one.source) : undefined);
}

// A link for https only; any other text stays text.
function link(address) {
  try {
    if (new URL(address).protocol === "https:") return el("a", { href: address, rel: "noopener noreferrer", target: "_blank" }, text(address));
  } catch { /* not an address */ }
  return text(address);
}

const findingLink = (about) => el("a", { href: `?finding=${encodeURIComponent(about.fingerprint)}#findings`, "data-finding": about.fingerprint }, text(about.fingerprint, 40), about.new ? " (new)" : "");

// The list of the window: all at first, after a filter has changed, and what a broken connection has missed.
async function load(again) {
  const list = (await api("events", { detail: "true", limit: WINDOW })).items;
  const newest = list.length ? list[0].id : 0;
  if (live.last !== undefined && newest < live.last && !again) live.last = undefined;
  if (live.last === undefined || again) {
    live.fresh = [];
    live.events = list;
    for (const item of list) for (const name of ["site", "kind", "noise"]) note(name, (item.event.lookout || {})[name]);
    live.last = Math.max(newest, again ? live.last ?? 0 : 0);
    redraw();
  } else {
    for (const item of list.reverse()) receive(item);
  }
  live.loaded = true;
  for (const item of live.early.splice(0)) receive(item);
}

function restart() {
  live.last = undefined;
  load().catch(report);
}

let source, tries = 0;
function connect() {
  source = new EventSource("api/v1/events?detail=true");
  source.addEventListener("open", () => {
    tries = 0;
    state("live", "ok");
    load().catch(report);
  });
  source.addEventListener("report", (event) => {
    let item;
    try { item = JSON.parse(event.data); } catch { return; }
    if (live.loaded) receive(item); else if (live.early.push(item) > WINDOW) live.early.shift();
  });
  source.addEventListener("error", () => {
    state("disconnected, trying again", "bad");
    source.close();
    // Without the stream, such as when all its readers are taken, the list is read instead.
    load().catch(() => undefined);
    setTimeout(connect, Math.min(1000 * 2 ** tries++, 10000));
  });
}

function state(message, tone) {
  live.state = [message, tone];
  tag($("stream"), live.paused ? "paused" : message, live.paused ? "warn" : tone);
  draw("stream", message, () => announce(`Live reports: ${message}`));
}

function pause() {
  live.paused = !live.paused;
  $("pause").setAttribute("aria-pressed", live.paused);
  $("pause").textContent = live.paused ? "Resume" : "Pause";
  state(...(live.state || ["connecting", ""]));
  if (!live.paused) flush();
}

// --- Filters

function note(name, value) {
  if (value && seen[name].size < 1000) seen[name].add(value);
}

function options() {
  for (const select of document.querySelectorAll("#filters select")) {
    const wanted = filter[select.name];
    const values = [...new Set([...seen[select.name], ...(wanted ? [wanted] : [])])];
    if (select.name !== "noise") values.sort();
    fill(select, values, wanted, true);
  }
}

function fill(select, values, wanted, all) {
  if (select.dataset.values !== JSON.stringify(values)) {
    select.dataset.values = JSON.stringify(values);
    select.replaceChildren(...(all ? [el("option", { value: "" }, "all")] : []), ...values.map((value) => el("option", { value }, text(value, 80))));
  }
  if (select.value !== wanted) select.value = wanted;
}

function address() {
  const parameters = new URLSearchParams(Object.entries({ ...filter, sort: findings.sort === "last" ? "" : findings.sort, new: findings.fresh ? "true" : "", finding: findings.open }).filter(([, value]) => value));
  history.replaceState(null, "", `${location.pathname}${parameters.size ? "?" + parameters : ""}${location.hash}`);
}

let loading = 0;
function filtered() {
  address();
  redraw();
  clearTimeout(loading);
  loading = setTimeout(() => load(true).catch(report), FLUSH_MS);
  pollFindings().catch(report);
  pollPolicy().catch(report);
}

// --- Rejected

async function pollRejected() {
  const list = (await api("rejected")).items;
  draw("rejected", list, () => {
    $("rejected-none").hidden = list.length > 0;
    $("rejected-box").hidden = !list.length;
    $("rejected-rows").replaceChildren(...list.map((one) => el("tr", {}, td(time(one.received)),
      el("td", {}, el("span", { class: "keep" }, one.stage === "report" ? "Report: " : "Upload: "), OUTCOMES[one.outcome] || words(one.outcome), " ", el("code", { class: "muted" }, text(one.outcome, 60))),
      td(one.status, "number"), td(el("code", {}, text(one.path))), td(one.user_agent), td(el("code", {}, text(one.prefix))))));
  });
}

// --- Findings

function noFindings() {
  $("findings-box").hidden = true;
  $("findings-note").textContent = "Findings are off (findings.max: 0).";
}

let turn = 0;
async function pollFindings() {
  const mine = ++turn;
  let list;
  try {
    list = (await api("findings", { site: filter.site, kind: filter.kind, noise: filter.noise, sort: findings.sort, new: findings.fresh ? "true" : "", limit: 100 })).items;
  } catch (error) {
    if (error.status === 404) return noFindings();
    throw error;
  }
  if (mine !== turn) return;
  $("findings-box").hidden = !list.length && !findings.open && !Object.values(filter).some(Boolean) && !findings.fresh;
  draw("findings", [list, findings.sort, findings.fresh, findings.open], () => {
    $("findings-note").textContent = list.length ? `${list.length === 100 ? "The first 100" : number(list.length)} distinct ${list.length === 1 ? "problem" : "problems"}.` : $("findings-box").hidden ? "No problem was reported yet." : "No finding matches.";
    for (const heading of document.querySelectorAll("[data-sort]")) {
      if (heading.dataset.sort === findings.sort) heading.setAttribute("aria-sort", "descending"); else heading.removeAttribute("aria-sort");
    }
    const body = $("findings-rows");
    body.replaceChildren(...list.map(findingRow));
    rove(body);
  });
  if (findings.open && !shown.finding) await showFinding();
}

function findingRow(one) {
  const chosen = one.fingerprint === findings.open;
  const button = el("button", { type: "button", tabindex: -1, "data-key": one.fingerprint, "aria-current": chosen ? "true" : undefined }, one.new ? el("span", { class: "tag ok" }, "new") : "", one.new ? " " : "", text(one.summary || one.fingerprint));
  items.set(button, one);
  const noisy = one.noise && one.noise !== "none";
  return el("tr", { class: `${one.class === "runs" || one.class === "exfiltrates" ? "warning" : ""}${noisy ? " noisy" : ""}${chosen ? " chosen" : ""}` }, td(one.site),
    el("td", { class: "main" }, button, el("small", {}, text(one.kind || "known from before the restart", 60), one.kind ? ", " : "", CLASSES[one.class] || text(one.class, 40), noisy ? ", noise: " : "", noisy ? text(one.noise, 40) : "")), td(number(one.clients), "number"), td(number(one.count), "number"), td(time(one.first_seen)), td(time(one.last_seen)));
}

function openFinding(fingerprint) {
  if (findings.open === fingerprint && shown.finding) return;
  findings.open = fingerprint;
  shown.finding = "";
  address();
  showFinding().catch(report);
}

async function showFinding() {
  const wanted = findings.open;
  let one;
  try {
    one = await api(`findings/${encodeURIComponent(wanted)}`);
  } catch (error) {
    if (![400, 404].includes(error.status)) throw error;
  }
  if (wanted !== findings.open) return;
  shown.finding = wanted;
  if (!one) return $("finding").replaceChildren(el("p", {}, "There is no finding ", el("code", {}, text(wanted, 40)), " here: it may have expired, or another replica has it."));
  const browsers = Object.entries(one.browsers || {}).sort((a, b) => b[1] - a[1]);
  $("finding").replaceChildren(
    el("h3", { class: "datum" }, text(one.summary || "Known from before the restart", 2048)),
    facts(["Site", one.site], ["Kind", one.kind], ["Disposition", one.disposition], ["Class", one.class], ["Noise", one.noise], ["Clients", number(one.clients)], ["Reports", number(one.count)],
      ["First seen", time(one.first_seen)], ["Last seen", time(one.last_seen)], ["Fingerprint", el("code", {}, text(one.fingerprint, 40))],
      ["Board", grafana && board(/^csp-/.test(one.kind) ? "csp" : one.kind === "network-error" ? "network" : "policies", "in Grafana", one.site)]),
    el("h4", {}, "Pages"), list(one.pages || [], (page) => `${text(page.url)} (${number(page.count)})`, "none"),
    el("h4", {}, "Browsers"), list(browsers, ([name, count]) => `${text(name, 60)} (${number(count)})`, "none"),
    el("h4", {}, "Sample"), one.sample ? pretty(one.sample) : el("p", { class: "muted" }, "none"));
  $("finding").scrollTop = 0;
}

// --- Policy

let proposable = "";
function sites(all) {
  const known = all.filter((site) => site !== "unknown");
  const wanted = filter.site && all.includes(filter.site) ? filter.site : known.includes($("policy-site").value) ? $("policy-site").value : known[0] || "";
  fill($("policy-site"), known.length ? known : all, wanted, false);
  if (wanted !== proposable) {
    proposable = wanted;
    pollPolicy().catch(report);
  }
}

async function pollPolicy() {
  const site = $("policy-site").value;
  if (!site) {
    $("policy-box").hidden = true;
    $("policy-note").textContent = "There is no site yet.";
    return;
  }
  let policy;
  try {
    policy = await api("policy", { site });
  } catch (error) {
    if (![400, 404].includes(error.status)) throw error;
    $("policy-box").hidden = true;
    $("policy-note").textContent = `No policy can be proposed: ${error.message}`;
    return;
  }
  if (site !== $("policy-site").value) return;
  draw("policy", policy, () => {
    const sources = (policy.directives || []).flatMap((one) => (one.sources || []).map((source) => ({ directive: one.directive, ...source })));
    const left = sources.filter((one) => !one.proposed).length;
    $("policy-note").textContent = sources.length ? `${plural(sources.length - left, "source")} proposed, ${number(left)} not.` : "No violation of a policy was reported for this site yet.";
    $("policy-box").hidden = !policy.value && !sources.length;
    $("policy-value").textContent = text(policy.value, DETAIL_CHARS);
    $("policy-rows").replaceChildren(...sources.map((one) => el("tr", { class: one.proposed ? undefined : "out" }, td(one.directive), el("td", {}, el("code", {}, text(one.source))),
      el("td", {}, one.proposed ? el("span", { class: "tag ok" }, "yes") : el("span", { class: "tag warn" }, "no")), td(one.reason), td(one.clients === undefined ? "–" : number(one.clients), "number"), td(number(one.count), "number"),
      td(time(one.first_seen)), td(time(one.last_seen)), td((one.pages || []).map((page) => text(page.url ?? page)).join(", "), "pages"))));
  });
}

// --- Series budget

function showSeries(series) {
  if (!series) return;
  draw("series", series, () => {
    $("series-total").replaceChildren(`${number(series.used)} of ${number(series.max)} series are in use. When a family's share is used up, its open label becomes `, el("code", {}, "other"), "; sums stay exact.");
    const families = [...(series.families || [])].sort((a, b) => b.series / b.limit - a.series / a.limit);
    const row = (one) => el("li", {}, el("code", {}, text(one.family, 120)), meter(one.series, one.limit, `${text(one.family, 120)} used`), el("span", { class: "number" }, `${number(one.series)} of ${number(one.limit)}`));
    $("series-rows").replaceChildren(...families.slice(0, 8).map(row));
    $("series-rest").replaceChildren(...families.slice(8).map(row));
  });
}

// --- Start

async function copy(button) {
  const from = $(button.dataset.copy);
  let said = "Copied";
  try {
    await navigator.clipboard.writeText(from.textContent);
  } catch { // no https, or not permitted: select it instead
    getSelection().selectAllChildren(from);
    said = "Press Ctrl+C";
  }
  button.textContent = said;
  announce(said);
  setTimeout(() => { button.textContent = "Copy"; }, 3000);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
  const finding = event.target.closest("[data-finding]");
  if (finding) {
    event.preventDefault();
    openFinding(finding.dataset.finding);
    location.hash = "findings";
    $("finding").focus({ preventScroll: true });
  }
  const heading = event.target.closest("[data-sort]");
  if (heading) {
    findings.sort = heading.dataset.sort;
    address();
    pollFindings().catch(report);
  }
});
$("filters").addEventListener("input", (event) => {
  if (event.target.name in filter) {
    filter[event.target.name] = event.target.value;
    filtered();
  }
});
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("filters").addEventListener("reset", (event) => {
  event.preventDefault();
  for (const name of Object.keys(filter)) filter[name] = "";
  $("filters").elements.q.value = "";
  filtered();
});
$("pause").addEventListener("click", pause);
$("new-only").addEventListener("change", () => {
  findings.fresh = $("new-only").checked;
  address();
  pollFindings().catch(report);
});
$("policy-site").addEventListener("change", () => {
  proposable = $("policy-site").value;
  pollPolicy().catch(report);
});
$("public").addEventListener("input", headers);
document.addEventListener("visibilitychange", () => { if (!document.hidden) schedule(); });
listen($("events-rows"));
listen($("findings-rows"));
$("filters").elements.q.value = filter.q;
$("new-only").checked = findings.fresh;
$("public").value = "reports.example";
options();
connect();
poll();
