// Fails when the first view is too large: the page, and every script and style that it loads at once, compressed as the
// server does it. Parts that are loaded later are listed.
import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const limit = 200_000; // bytes
const dist = new URL("../dist/", import.meta.url);
const weigh = (name) => gzipSync(readFileSync(new URL(name, dist)), { level: 9 }).length;

const page = readFileSync(new URL("index.html", dist), "utf8");
const first = ["index.html", ...[...page.matchAll(/(?:src|href)="\/(assets\/[^"]+)"/g)].map((match) => match[1])];
// What those import without waiting belongs to the first view, too.
for (const name of first) {
  if (!name.endsWith(".js")) continue;
  const text = readFileSync(new URL(name, dist), "utf8");
  for (const match of text.matchAll(/(?:from|import)\s*["']\.\/([^"']+\.js)["']/g)) {
    if (!first.includes(`assets/${match[1]}`)) first.push(`assets/${match[1]}`);
  }
}
let sum = 0;
for (const name of first) {
  const bytes = weigh(name);
  sum += bytes;
  console.log(`${String(bytes).padStart(8)}  ${name}`);
}
for (const name of readdirSync(new URL("assets/", dist)).sort()) {
  if (!first.includes(`assets/${name}`))
    console.log(`${String(weigh(`assets/${name}`)).padStart(8)}  assets/${name} (later)`);
}
console.log(`first view: ${(sum / 1000).toFixed(1)} kB compressed, at most ${limit / 1000} kB`);
if (sum > limit) process.exit(1);
