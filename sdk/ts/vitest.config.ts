import { defineConfig } from "vitest/config";

export default defineConfig({
	test: {
		include: ["test/**/*.test.ts"],
		// Each file runs a server of its own; building it takes a while the first time.
		testTimeout: 120_000,
		hookTimeout: 300_000,
		maxWorkers: 2,
	},
});
