// Reads queries by the grammars that Grafana's own editors use, so that no regular expression of ours has
// to know PromQL or LogQL. Called with the folder in which the grammars are installed:
//
//   node parse.mjs FOLDER < '[["promql", "up"], …]' > '[tree, …]'
//
// A tree is [name, text, children]. What the grammar cannot read is a node named ⚠.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

const load = createRequire(resolve(process.argv[2]) + "/");
const PARSERS = {
  promql: load("@prometheus-io/lezer-promql").parser,
  logql: load("@grafana/lezer-logql").parser,
};

function tree(node, text) {
  const children = [];
  for (let child = node.firstChild; child; child = child.nextSibling) children.push(tree(child, text));
  return [node.name, text.slice(node.from, node.to), children];
}

const queries = JSON.parse(readFileSync(0, "utf8"));
const trees = queries.map(([language, text]) => tree(PARSERS[language].parse(text).topNode, text));
process.stdout.write(JSON.stringify(trees));
