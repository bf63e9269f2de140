import { expect, test } from "vitest";
import tokens from "../src/styles/tokens.css?raw";

/** A token in light and dark. */
function token(name: string): [string, string] {
  const found = new RegExp(`--${name}: light-dark\\((#\\w{6}), (#\\w{6})\\)`).exec(tokens);
  if (!found) throw new Error(`no ${name}`);
  return [found[1] ?? "", found[2] ?? ""];
}

/** Relative luminance as WCAG 2 has it. */
function luminance(colour: string): number {
  const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => {
    const value = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a: string, b: string): number {
  const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}

// The letters of a face are drawn by the style sheet, where axe does not look.
test("letters can be read on every face", () => {
  for (let face = 0; face < 8; face++) {
    const [letters, ground] = [token("on-av"), token(`av${face}`)];
    for (const theme of [0, 1] as const)
      expect(contrast(letters[theme], ground[theme]), `${face} ${theme}`).toBeGreaterThanOrEqual(4.5);
  }
});
