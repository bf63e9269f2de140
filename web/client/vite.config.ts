import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** One text in all languages, for the service worker, which has no page to ask. */
function inAll(key: string): Record<string, string> {
  const read = (language: string) =>
    JSON.parse(readFileSync(here(`src/i18n/${language}.json`), "utf8")) as Record<string, string>;
  return Object.fromEntries(["en", "de"].map((language) => [language, read(language)[key] ?? ""]));
}

/** Tells the service worker which files make up the app, and gives each build a name that depends on nothing but them. */
function shell(): Plugin {
  return {
    name: "parley-shell",
    generateBundle(_, bundle) {
      const worker = bundle["sw.js"];
      if (worker?.type !== "chunk") return;
      if (worker.imports.length > 0) throw new Error(`the service worker imports ${worker.imports}`);
      const files = Object.keys(bundle)
        .filter((name) => name.startsWith("assets/"))
        .sort();
      const version = createHash("sha256").update(files.join("\n")).digest("hex").slice(0, 12);
      worker.code = worker.code
        .replace(/["'`]__SHELL_FILES__["'`]/, JSON.stringify(files.map((name) => `/${name}`)))
        .replace(/["'`]__SHELL_VERSION__["'`]/, JSON.stringify(version))
        .replace(/["'`]__NEW_MESSAGE__["'`]/, JSON.stringify(inAll("notification.no-preview")));
    },
  };
}

export default defineConfig({
  plugins: [shell()],
  resolve: {
    alias: { "@parley-im/sdk": here("../../sdk/ts/src/index.ts") },
    dedupe: ["preact"],
  },
  build: {
    target: "es2022",
    cssTarget: ["chrome123", "firefox121", "safari17.5"],
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    // Pictures and fonts stay files: the content security policy knows no data: URLs.
    assetsInlineLimit: 0,
    rollupOptions: {
      input: { main: here("index.html"), sw: here("src/sw/sw.ts") },
      output: {
        entryFileNames: (chunk) => (chunk.name === "sw" ? "sw.js" : "assets/[name]-[hash].js"),
        chunkFileNames: "assets/[name]-[hash].js",
        assetFileNames: "assets/[name]-[hash][extname]",
      },
    },
  },
  // Tests read what the server says.
  server: {
    fs: { allow: [here("../..")] },
    proxy: { "^/(parley\\.v1\\.|files/|demo\\.json)": { target: process.env.PARLEY, secure: false } },
  },
  test: {
    environment: "happy-dom",
    include: ["test/**/*.test.ts", "test/**/*.test.tsx"],
    css: { include: [/tokens\.css/] },
  },
});
