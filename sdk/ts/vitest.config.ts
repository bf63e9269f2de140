import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
	resolve: { alias: { "@parley-im/sdk": fileURLToPath(new URL("src/index.ts", import.meta.url)) } },
	test: {
		globalSetup: "test/build.ts",
		include: ["test/**/*.test.ts"],
		// Each file runs a server of its own, and one test waits for what takes 45 seconds in life.
		testTimeout: 180_000,
		hookTimeout: 180_000,
		maxWorkers: 2,
	},
});
