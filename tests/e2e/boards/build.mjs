// Bundles the view: node build.mjs DIRECTORY, where DIRECTORY has node_modules. Writes view.js and view.css there.
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const directory = resolve(process.argv[2]);
const { buildSync } = createRequire(join(directory, 'package.json'))('esbuild');
const file = Object.fromEntries(['.svg', '.woff2', '.woff', '.ttf', '.png', '.gif'].map((ending) => [ending, 'dataurl']));
buildSync({
  entryPoints: [join(dirname(fileURLToPath(import.meta.url)), 'view.jsx')], outfile: join(directory, 'view.js'), bundle: true, minify: true,
  format: 'iife', jsx: 'automatic', loader: file, define: { 'process.env.NODE_ENV': '"production"' }, nodePaths: [join(directory, 'node_modules')],
  logLevel: 'error',
});
