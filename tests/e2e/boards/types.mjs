// Checks boards against Grafana's own types: node types.mjs DIRECTORY FILE..., where DIRECTORY has node_modules. Each board
// becomes an object of the type Dashboard, and the options and field settings of each panel one of its panel type's.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

const [directory, ...files] = process.argv.slice(2).map((path) => resolve(path));
const ts = createRequire(join(directory, 'package.json'))('typescript');
const raw = '@grafana/schema/dist/esm/raw/composable';
const PANELS = {
  stat: `${raw}/stat/panelcfg/x/StatPanelCfg_types.gen`, timeseries: `${raw}/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen`,
  bargauge: `${raw}/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen`, table: `${raw}/table/panelcfg/x/TablePanelCfg_types.gen`,
  logs: `${raw}/logs/panelcfg/x/LogsPanelCfg_types.gen`,
};
const HAVE_FIELDS = ['timeseries', 'table'];
const WRITTEN = `
type Written<T> = T extends string | number | boolean | null | undefined ? (T extends string ? \`\${T}\` : T extends number ? T | \`\${T}\` : T)
  : T extends (infer U)[] ? Written<U>[] : { [K in keyof T]: Written<T[K]> };`;

function check(file) {
  const board = JSON.parse(readFileSync(file, 'utf8'));
  const lines = ["import type { Dashboard, Panel, RowPanel, FieldConfig, DataTransformerConfig, VariableModel } from '@grafana/schema';"];
  Object.entries(PANELS).forEach(([name, path]) => lines.push(`import type * as ${name} from '${path}';`));
  lines.push(WRITTEN);
  const { panels, ...rest } = board;
  // What data sources add to annotations is theirs.
  for (const annotation of rest.annotations.list) for (const name of ['useValueForTime', 'step', 'titleFormat', 'textFormat', 'tagKeys', 'expr']) delete annotation[name];
  for (const annotation of rest.annotations.list) delete annotation.target;
  lines.push(`const board: Written<Omit<Dashboard, 'panels'>> = ${JSON.stringify(rest, null, 1)};`);
  panels.flatMap((panel) => [panel, ...(panel.panels ?? [])]).forEach((panel) => {
    if (panel.type === 'row') {
      const { panels: inner, ...row } = panel;
      lines.push(`const p${panel.id}: Written<Omit<RowPanel, 'panels'>> = ${JSON.stringify(row)}; // ${panel.title}`);
      return;
    }
    const { options, fieldConfig, targets, ...plain } = panel;
    const { custom, ...defaults } = fieldConfig.defaults;
    lines.push(`const p${panel.id}: Written<Omit<Panel, 'options' | 'fieldConfig' | 'targets'>> = ${JSON.stringify(plain)}; // ${panel.title}`);
    lines.push(`const d${panel.id}: Written<FieldConfig> = ${JSON.stringify(defaults)}; // ${panel.title}`);
    if (PANELS[panel.type]) lines.push(`const o${panel.id}: Written<${panel.type}.Options> = ${JSON.stringify(options)}; // ${panel.title}`);
    if (HAVE_FIELDS.includes(panel.type) && custom) lines.push(`const f${panel.id}: Written<Partial<${panel.type}.FieldConfig>> = ${JSON.stringify(custom)}; // ${panel.title}`);
  });
  let text;
  const folder = mkdtempSync(join(directory, 'types-')), made = join(folder, 'board.ts');
  try {
    writeFileSync(made, text = lines.join("\n"));
    const program = ts.createProgram([made], {
      noEmit: true, strict: true, skipLibCheck: true, module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler,
      target: ts.ScriptTarget.ES2022, types: [],
    });
    return ts.getPreEmitDiagnostics(program).map((one) => {
      const line = one.file?.fileName === made ? one.file.getLineAndCharacterOfPosition(one.start).line : 0;
      return `${file}: ${text.split("\n")[line].replace(/^.*\/\/ /, '').slice(0, 80)}: ${ts.flattenDiagnosticMessageText(one.messageText, '\n  ')}`;
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const problems = files.flatMap(check);
problems.forEach((problem) => console.log(problem));
process.exit(problems.length ? 1 : 0);
