// Starts `parley demo`, or uses a server that runs (PARLEY_URL), and stops what it started.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** Address of a demo server, the one that it prints, and what ends it. program: path of the binary. */
export async function demo(program) {
  if (process.env.PARLEY_URL) return { url: process.env.PARLEY_URL, printed: process.env.PARLEY_URL, stop: async () => {} };
  const child = spawn(program, ["demo"], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = new Promise((done) => child.once("exit", done));
  const printed = await new Promise((found, failed) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const match = /^(https?:\/\/\S+)$/.exec(line.trim());
      if (match) found(match[1]);
    });
    exited.then((code) => failed(new Error(`the server ended with ${code}`)));
  });
  return {
    // By its number everybody signs in on the page itself; the name has a window for each person.
    url: printed.replace("localhost", "127.0.0.1"),
    printed,
    async stop() {
      child.kill("SIGINT");
      await exited;
    },
  };
}
