// What the whole SDK adds to a page, minified and compressed. Fails beyond the limit.
import { gzipSync } from "node:zlib";
import { build } from "vite";

const limit = 40_000;
const entry = "virtual:all";
const result = await build({
	configFile: false,
	logLevel: "error",
	plugins: [
		{
			name: "all",
			resolveId: (id) => (id === entry ? id : undefined),
			load: (id) =>
				id === entry ? `import * as sdk from "${process.cwd()}/src/index.ts"; globalThis.sdk = sdk;` : undefined,
		},
	],
	build: { write: false, target: "es2022", modulePreload: false, rollupOptions: { input: entry } },
});
const code = (Array.isArray(result) ? result[0] : result).output[0].code;
const compressed = gzipSync(code, { level: 9 }).length;
console.log(`${code.length} bytes, ${compressed} compressed`);
if (compressed > limit) {
	console.error(`more than ${limit}`);
	process.exit(1);
}
