import { expect, test } from "vitest";
import policy from "../../../policy/level.go?raw";
import { table } from "../src/settings/privacy";

test("the table says what the server does", () => {
  const rows = policy.matchAll(
    /\{"(\w+)", Sight\{State: (\w+), Note: (\w+), Device: (\w+), Calendar: (\w+), Interrupt: (\w+)\}\}/g,
  );
  const words: Record<string, string> = {
    Nothing: "sight.no",
    Basic: "sight.basic",
    Full: "sight.full",
    true: "sight.yes",
    false: "sight.no",
  };
  const server = [...rows].map(([, level, ...cells]) => ({ level, cells: cells.map((cell) => words[cell]) }));
  expect(server).toHaveLength(5);
  expect([...table].reverse()).toEqual(server);
});
