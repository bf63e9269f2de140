// Builds the server once for all tests, and the SDK as npm users get it.
import { execFileSync } from "node:child_process";
import { resolve } from "node:path";

export default function build(): void {
	const root = resolve(import.meta.dirname, "../../..");
	const sdk = resolve(import.meta.dirname, "..");
	if (process.env.PARLEY_BIN === undefined) {
		const env = { ...process.env, CGO_ENABLED: "0" };
		execFileSync("go", ["build", "-trimpath", "-o", "bin/parley", "./cmd/parley"], {
			cwd: root,
			env,
			stdio: "inherit",
		});
	}
	execFileSync("node", ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"], {
		cwd: sdk,
		stdio: "inherit",
	});
	execFileSync("node", ["node_modules/typescript/bin/tsc", "-p", "tsconfig.examples.json"], {
		cwd: sdk,
		stdio: "inherit",
	});
}
