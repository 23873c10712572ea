// Draws a board's JSON over a real Prometheus with the components of which Grafana makes its panels (@grafana/ui and
// @grafana/data, Apache-2.0), and reports what cannot be read. It is not Grafana: the list of alerts and the log lines
// are drawn by a few lines of this file, and variables were filled in before.
//
// window.VIEW = { board, prometheus, theme, from, to, step, logs } with times in seconds. window.draw(width) draws it, and
// window.inspect() lists the problems.
import React, { useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { lastValueFrom } from 'rxjs';
import {
  createTheme, ThemeContext, toDataFrame, FieldType, getDisplayProcessor, transformDataFrame, standardTransformersRegistry,
  standardTransformers, reduceField, formattedValueToString, getFieldDisplayName, FieldColorModeId, cacheFieldDisplayNames, dateTime,
  getDisplayValueAlignmentFactors, getFieldColorModeForField,
} from '@grafana/data';
import * as UI from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';

const transformers = [...new Map(Object.values(standardTransformers).filter((t) => t.id).map((t) => [t.id, t])).values()];
standardTransformersRegistry.setInit(() => transformers.map((t) => ({ id: t.id, name: t.name, transformation: () => Promise.resolve(t) })));

const VIEW = window.VIEW;
const theme = createTheme({ colors: { mode: VIEW.theme } });
const [FROM, TO] = [VIEW.from * 1000, VIEW.to * 1000];
const CELL = 30, GAP = 8; // Grafana's grid
const RANGE = { from: dateTime(FROM), to: dateTime(TO), raw: { from: dateTime(FROM), to: dateTime(TO) } };
const DRAWN_HERE = ['logs', 'alertlist'];

async function get(path, query) {
  return (await fetch(`${VIEW.prometheus}/api/v1/${path}?${new URLSearchParams(query)}`)).json();
}

const legend = (target, labels) => (target.legendFormat
  ? target.legendFormat.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? '') : Object.values(labels).join(' ') || target.refId);

// The frames that Grafana's data source of Prometheus makes of an answer.
async function framesOf(target, panel) {
  const at = target.instant ? { query: target.expr, time: VIEW.to } : { query: target.expr, start: VIEW.from, end: VIEW.to, step: VIEW.step };
  const answer = await get(target.instant ? 'query' : 'query_range', at);
  if (answer.status !== 'success') throw new Error(`${panel.title}: ${answer.error}`);
  const series = answer.data.result.map((one) => ({ labels: one.metric, points: one.values ?? [one.value] }));
  if (target.format === 'table') {
    const names = [...new Set(series.flatMap((one) => Object.keys(one.labels)))].sort();
    const number = panel.targets.length > 1 ? `Value #${target.refId}` : 'Value';
    return series.length ? [toDataFrame({ refId: target.refId, fields: [
      { name: 'Time', type: FieldType.time, values: series.map((one) => one.points.at(-1)[0] * 1000), config: {} },
      ...names.map((name) => ({ name, type: FieldType.string, values: series.map((one) => one.labels[name] ?? ''), config: {} })),
      { name: number, type: FieldType.number, values: series.map((one) => +one.points.at(-1)[1]), config: {} },
    ] })] : [];
  }
  return series.map((one) => toDataFrame({ refId: target.refId, name: legend(target, one.labels), fields: [
    { name: 'Time', type: FieldType.time, values: one.points.map((p) => p[0] * 1000), config: { interval: VIEW.step * 1000 } },
    { name: 'Value', type: FieldType.number, labels: one.labels, values: one.points.map((p) => +p[1]), config: { displayNameFromDS: legend(target, one.labels) } },
  ] }));
}

function set(object, path, value) {
  const keys = path.split('.');
  while (keys.length > 1) object = object[keys[0]] ??= {}, keys.shift();
  object[keys[0]] = value;
}

function matches(matcher, field, frame, frames) {
  const name = getFieldDisplayName(field, frame, frames);
  if (matcher.id !== 'byName') throw new Error(`a matcher that the view does not know: ${matcher.id}`);
  return matcher.options === name || matcher.options === field.name;
}

async function load(panel) {
  let frames = (await Promise.all((panel.targets ?? []).map((target) => framesOf(target, panel)))).flat();
  if (panel.transformations?.length && frames.length) frames = await lastValueFrom(transformDataFrame(panel.transformations, frames));
  let index = 0;
  for (const frame of frames) for (const field of frame.fields) {
    field.config = structuredClone({ ...panel.fieldConfig.defaults, ...field.config, custom: { ...panel.fieldConfig.defaults.custom } });
    if (field.type !== FieldType.number) { delete field.config.unit; delete field.config.decimals; }
    for (const { matcher, properties } of panel.fieldConfig.overrides) {
      if (matches(matcher, field, frame, frames)) properties.forEach((property) => set(field.config, property.id, property.value));
    }
    delete field.config.links;
    if (field.config.thresholds) field.config.thresholds.steps = field.config.thresholds.steps.map((s) => ({ ...s, value: s.value ?? -Infinity }));
    if (field.config.mappings === undefined) field.config.mappings = [];
    if (field.type === FieldType.number) { field.config.color ??= { mode: FieldColorModeId.PaletteClassic }; field.state = { ...field.state, seriesIndex: index++ }; }
    field.display = getDisplayProcessor({ field, theme, timeZone: 'utc' });
    field.getLinks = () => [];
  }
  cacheFieldDisplayNames(frames);
  return frames;
}

const numbers = (frames) => frames.flatMap((frame) => frame.fields.filter((f) => f.type === FieldType.number).map((field) => [frame, field]));
const last = (field) => reduceField({ field, reducers: ['lastNotNull'] }).lastNotNull;

function Content({ panel, frames, width, height }) {
  const found = numbers(frames);
  if (panel.type === 'alertlist') return <Alerts panel={panel} />;
  if (panel.type === 'logs') return <Logs panel={panel} />;
  if (!found.length) return <Nothing panel={panel} />;
  if (panel.type === 'stat') {
    const [, field] = found[0];
    return <UI.BigValue width={width} height={height} theme={theme} colorMode={panel.options.colorMode} graphMode="none" textMode="auto" value={field.display(last(field))} />;
  }
  if (panel.type === 'timeseries') {
    return <UI.TimeSeries width={width} height={height} frames={frames} timeRange={RANGE} timeZone="utc" legend={{ calcs: [], ...panel.options.legend }} />;
  }
  if (panel.type === 'bargauge') {
    const most = panel.fieldConfig.defaults.max ?? Math.max(...found.map(([, field]) => last(field)));
    const align = getDisplayValueAlignmentFactors(found.map(([frame, field]) => ({ display: { ...field.display(last(field)), title: getFieldDisplayName(field, frame, frames) } })));
    const each = Math.min(panel.options.maxVizHeight ?? 300, height / found.length);
    return <div>{found.map(([frame, field], at) => <UI.BarGauge key={at} width={width} height={each - 4} theme={theme} orientation="horizontal"
      displayMode={panel.options.displayMode} text={panel.options.text} namePlacement={panel.options.namePlacement} alignmentFactors={align} field={{ ...field.config, min: 0, max: most }} display={field.display}
      value={{ ...field.display(last(field)), title: getFieldDisplayName(field, frame, frames) }} />)}</div>;
  }
  if (panel.type === 'table') {
    return <TableNG data={frames[0]} width={width} height={height} initialSortBy={panel.options.sortBy} showTypeIcons={false} timeRange={RANGE}
      fieldConfig={panel.fieldConfig} getActions={() => []} cellHeight="sm" structureRev={1} noHeader={false} onColumnResize={() => {}} onSortByChange={() => {}} onCellFilterAdded={undefined} />;
  }
  throw new Error(`a panel that the view does not know: ${panel.type}`);
}

const Nothing = ({ panel }) => (
  <div data-empty style={{ height: '100%', display: 'flex', alignItems: 'center', justifyContent: 'center', color: theme.colors.text.secondary }}>
    {panel.fieldConfig.defaults.noValue}
  </div>);

function Alerts({ panel }) {
  const [rules, setRules] = useState(null);
  useEffect(() => { get('rules', { type: 'alert' }).then((answer) => setRules(answer.data.groups.flatMap((g) => g.rules).filter((r) => r.state !== 'inactive'))); }, []);
  if (!rules) return null;
  if (!rules.length) return <Nothing panel={panel} />;
  return <div>{rules.map((rule) => <div key={rule.name} style={{ padding: '4px 8px', borderBottom: `1px solid ${theme.colors.border.weak}` }}>
    <span style={{ color: rule.state === 'firing' ? theme.colors.error.text : theme.colors.warning.text }}>{rule.state}</span> {rule.name}</div>)}</div>;
}

const Logs = ({ panel }) => {
  const lines = VIEW.logs[panel.title] ?? [];
  if (!lines.length) return <Nothing panel={panel} />;
  return <div style={{ fontFamily: theme.typography.fontFamilyMonospace, fontSize: 12 }}>
    {lines.map((line, at) => <div key={at} style={{ padding: '1px 4px', overflowWrap: 'anywhere' }}>{line}</div>)}</div>;
};

function Panel({ panel, width, height }) {
  const [frames, setFrames] = useState(null);
  useEffect(() => {
    (DRAWN_HERE.includes(panel.type) ? Promise.resolve([]) : load(panel)).then(setFrames).catch((error) => { failures.push(String(error)); setFrames([]); });
  }, []);
  useEffect(() => { if (frames) loaded.set(panel.id, frames); }, [frames]);
  if (!frames) return null;
  return <UI.PanelChrome title={panel.title} description={panel.description} width={width} height={height}>
    {(w, h) => <Guard><Content panel={panel} frames={frames} width={w} height={h} /></Guard>}
  </UI.PanelChrome>;
}

class Guard extends React.Component {
  state = {};
  static getDerivedStateFromError(error) { failures.push(String(error)); return { error }; }
  render() { return this.state.error ? String(this.state.error) : this.props.children; }
}

const failures = [], loaded = new Map();
const every = [];
let bottom = 0;
for (const panel of VIEW.board.panels) { // collapsed rows are drawn open
  const top = bottom;
  if (panel.type === 'row') {
    every.push([panel, top]);
    bottom = top + 1;
    const first = Math.min(...(panel.panels ?? []).map((p) => p.gridPos.y));
    for (const inner of panel.panels ?? []) { every.push([inner, top + 1 + inner.gridPos.y - first]); bottom = Math.max(bottom, top + 1 + inner.gridPos.y - first + inner.gridPos.h); }
    var base = bottom - panel.gridPos.y - 1;
  } else {
    every.push([panel, panel.gridPos.y + base]);
    bottom = Math.max(bottom, panel.gridPos.y + base + panel.gridPos.h);
  }
}
const UNIT = CELL + GAP;

function Board() {
  const column = (VIEW.width - 2 * GAP) / 24;
  return <div style={{ position: 'relative', width: VIEW.width, height: bottom * UNIT + 56, background: theme.colors.background.canvas, color: theme.colors.text.primary }}>
    <div style={{ padding: '12px 16px', fontSize: 20, fontWeight: 500 }}>{VIEW.board.title}</div>
    {every.map(([panel, y]) => {
      const place = { position: 'absolute', left: GAP + panel.gridPos.x * column + GAP / 2, top: y * UNIT + 52 };
      const [width, height] = [panel.gridPos.w * column - GAP, panel.gridPos.h * UNIT - GAP];
      return panel.type === 'row'
        ? <div key={panel.id} style={{ ...place, fontSize: 16, fontWeight: 500, lineHeight: '30px' }}>{panel.title}</div>
        : <div key={panel.id} data-panel={panel.title} style={{ ...place, width, height }}><Panel panel={panel} width={width} height={height} /></div>;
    })}
  </div>;
}

const root = createRoot(document.getElementById('root'));
window.draw = (width) => {
  VIEW.width = width;
  loaded.clear();
  root.render(<ThemeContext.Provider key={width} value={theme}><UI.GlobalStyles /><UI.PortalContainer /><Board /></ThemeContext.Provider>);
};

// What cannot be read.
function rgb(text) { const m = text.match(/[\d.]+/g)?.map(Number) ?? [0, 0, 0]; return [m[0], m[1], m[2], m[3] ?? 1]; }
function luminance([r, g, b]) {
  const [x, y, z] = [r, g, b].map((c) => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
}
function ratio(a, b) { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); }
function behind(element) {
  for (let at = element; at; at = at.parentElement) { const color = rgb(getComputedStyle(at).backgroundColor); if (color[3] > 0.9) return color; }
  return rgb(theme.colors.background.canvas);
}

// Whether the panel's own content is there: Grafana's components draw it some time after their frame.
function contentOf(panel, root, found) {
  if (root.querySelector('[data-empty]')) return true;
  if (panel.type === 'table') return found.length && root.querySelectorAll('[role=grid] [role=row]').length > 1;
  if (panel.type === 'timeseries') return root.querySelector('canvas')?.width > 0;
  return true;
}

// The state once all is drawn and nothing changed for a second, or when 20 s are over.
window.settled = async () => {
  let before = '', state = {};
  for (let round = 0; round < 20; round += 1) {
    state = drawn();
    if (!state.missing.length && JSON.stringify(state) === before) break;
    before = JSON.stringify(state);
    await new Promise((done) => setTimeout(done, 1000));
  }
  return state;
};

// Whether all is drawn, which costs less to find out than what is wrong with it.
function drawn() {
  const missing = every.filter(([p]) => p.type !== 'row').map(([p]) => p).filter((panel) => {
    const root = document.querySelector(`[data-panel="${CSS.escape(panel.title)}"]`), frames = loaded.get(panel.id);
    return !frames || !root?.textContent || !contentOf(panel, root, numbers(frames));
  }).map((panel) => panel.title);
  return { missing, height: bottom * UNIT + 56, text: document.body.textContent.length, failures };
}

// Whether a text is wider than what hides the rest, on either side.
function beyond(element, hiding) {
  const range = document.createRange();
  range.selectNodeContents(element);
  const [text, box] = [range.getBoundingClientRect(), hiding.getBoundingClientRect()];
  return hiding.scrollWidth > hiding.clientWidth + 1 || text.left < box.left - 1 || text.right > box.right + 1;
}

window.inspect = () => {
  const problems = [...failures], values = {};
  const panels = every.filter(([p]) => p.type !== 'row').map(([p]) => p);
  for (const panel of panels) {
    const root = document.querySelector(`[data-panel="${CSS.escape(panel.title)}"]`);
    const note = (text) => problems.push(`${panel.title}: ${text}`);
    const frames = loaded.get(panel.id);
    const found = numbers(frames ?? []);
    if (!frames || !root?.textContent ) continue;
    values[panel.title] = { empty: !!root.querySelector('[data-empty]'), text: root.innerText };
    if (panel.type === 'timeseries' && found.length > 12) note(`${found.length} series`);
    if (panel.type === 'bargauge' && found.length > 12) note(`${found.length} bars`);
    if (panel.type === 'table' && found.length && found.every(([, f]) => f.values.every((v) => !v))) note('a table of zeros');
    const grid = root.querySelector('[role=grid]');
    if (grid && grid.scrollWidth > grid.clientWidth + 1) note(`wider than its panel by ${grid.scrollWidth - grid.clientWidth}`);
    for (const element of root.querySelectorAll('*')) {
      const text = [...element.childNodes].filter((n) => n.nodeType === 3).map((n) => n.textContent.trim()).join('');
      if (!text || element.closest('svg') || !element.offsetParent) continue;
      for (let at = element; at && at !== root; at = at.parentElement) {
        const style = getComputedStyle(at);
        if (['hidden', 'clip'].includes(style.overflowX) && beyond(element, at)) { note(`clipped: ${text}`); break; }
        if (style.overflowX !== 'visible' && at !== element) break;
      }
      const style = getComputedStyle(element), contrast = ratio(rgb(style.color), behind(element));
      const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.6 && +style.fontWeight >= 700);
      if (contrast < (large ? 3 : 4.5)) note(`contrast ${contrast.toFixed(1)}: ${text}`);
    }
    if (panel.type === 'timeseries') for (const [, field] of found) {
      const color = rgb(theme.visualization.getColorByName(getFieldColorModeForField(field).getCalculator(field, theme)(0, 0)).replace(/^#(..)(..)(..)$/, (_, r, g, b) => `${parseInt(r, 16)},${parseInt(g, 16)},${parseInt(b, 16)}`));
      const contrast = ratio(color, rgb(getComputedStyle(root.firstElementChild ?? root).backgroundColor));
      if (contrast < 1.5) note(`a series that is hard to see (${contrast.toFixed(1)}): ${field.state?.displayName}`);
    }
  }
  return { problems, values };
};
