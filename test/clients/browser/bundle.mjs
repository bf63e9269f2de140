// Makes one script for a page out of a CommonJS package and what it requires, without a build step.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

// Packages whose files for Node and for browsers differ, and one that would be taken for Node's own.
const forBrowsers = { debug: 'debug/src/browser.js', events: 'events/events.js' };

/** bundle returns a script that sets the global variable `name` to what the package exports. */
export function bundle(packageName, name) {
  const modules = new Map(); // file → its place in the script, and what it is

  function add(file) {
    const known = modules.get(file);
    if (known) return known.id;
    const module = { id: modules.size, needs: {}, source: readFileSync(file, 'utf8') };
    modules.set(file, module);
    if (file.endsWith('.json')) {
      module.source = `module.exports = ${module.source};`;
      return module.id;
    }
    const require = createRequire(file);
    for (const [, wanted] of module.source.matchAll(/\brequire\(\s*['"]([^'"]+)['"]\s*\)/g)) {
      module.needs[wanted] = add(require.resolve(forBrowsers[wanted] ?? wanted));
    }
    return module.id;
  }

  const first = add(createRequire(import.meta.url).resolve(packageName));
  const parts = [...modules.values()].map(
    ({ source, needs }) => `[function (require, module, exports) {\n${source}\n}, ${JSON.stringify(needs)}]`);
  return `var ${name} = (function (modules) {
  var loaded = {};
  function load(id) {
    if (loaded[id]) return loaded[id].exports;
    var module = (loaded[id] = { exports: {} });
    modules[id][0].call(module.exports, function (wanted) { return load(modules[id][1][wanted]); }, module, module.exports);
    return module.exports;
  }
  return load(${first});
})([${parts.join(',\n')}]);`;
}
