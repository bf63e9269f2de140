import type { ComponentChildren } from "preact";

function pattern(words: string): RegExp | undefined {
  const list = words
    .split(/\s+/u)
    .map((word) => word.replace(/\*$/, ""))
    .filter(Boolean)
    .map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return list.length > 0 ? new RegExp(`(?<![\\p{L}\\p{N}])(?:${list.join("|")})`, "giu") : undefined;
}

/** A text with the words that were searched for marked, where they begin a word. */
export function marked(text: string, words: string): ComponentChildren[] {
  const wanted = pattern(words);
  if (!wanted) return [text];
  const out: ComponentChildren[] = [];
  let at = 0;
  for (const hit of text.matchAll(wanted)) {
    if (hit.index > at) out.push(text.slice(at, hit.index));
    out.push(<mark key={hit.index}>{hit[0]}</mark>);
    at = hit.index + hit[0].length;
  }
  out.push(text.slice(at));
  return out;
}

/** The part of a long text around the first hit. */
export function around(text: string, words: string, length = 140): string {
  if (text.length <= length) return text;
  const first = pattern(words)?.exec(text)?.index ?? 0;
  const begin = Math.max(0, Math.min(first - 40, text.length - length));
  const cut = text.slice(begin, begin + length);
  return `${begin > 0 ? "…" : ""}${cut}${begin + length < text.length ? "…" : ""}`;
}
