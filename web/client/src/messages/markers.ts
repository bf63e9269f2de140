/** Light formatting as it is typed: **strong**, _em_, `code`, and lines that begin with ">" for quotes. */

const escapes: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escaped = (text: string) => text.replace(/[&<>"]/g, (c) => escapes[c] ?? c);

/** Characters beyond which nobody formats by hand. */
const longest = 20_000;

/** A marker opens after a space or punctuation and closes before one: snake_case_names and 2**3**4 stay as they are. */
const inline =
  /`([^`\n]+)`|(?<![\p{L}\p{N}*])\*\*(?=[^\s*])([^\n]*?[^\s*])\*\*(?![\p{L}\p{N}*])|(?<![\p{L}\p{N}_])_(?=[^\s_])([^\n]*?[^\s_]|[^\s_])_(?![\p{L}\p{N}_])/gu;

function spans(text: string): string {
  let out = "";
  let at = 0;
  for (const hit of text.matchAll(inline)) {
    out += escaped(text.slice(at, hit.index));
    const [, code, strong, em] = hit;
    if (code !== undefined) out += `<code>${escaped(code)}</code>`;
    else if (strong !== undefined) out += `<strong>${spans(strong)}</strong>`;
    else if (em !== undefined) out += `<em>${spans(em)}</em>`;
    at = hit.index + hit[0].length;
  }
  return out + escaped(text.slice(at));
}

/** The html of what was typed; "" when there is no formatting in it. */
export function toHTML(text: string): string {
  if (text.length > longest) return "";
  const blocks: { quote: boolean; lines: string[] }[] = [];
  for (const line of text.split("\n")) {
    const quote = /^>\s?/.test(line);
    const content = quote ? line.replace(/^>\s?/, "") : line;
    const last = blocks.at(-1);
    if (last?.quote === quote) last.lines.push(content);
    else blocks.push({ quote, lines: [content] });
  }
  const html = blocks
    .map(({ quote, lines }) => {
      const inner = lines.map(spans).join("<br>");
      if (quote) return `<blockquote>${inner}</blockquote>`;
      return inner.replace(/^(<br>)+|(<br>)+$/g, "") === "" ? "" : `<p>${inner}</p>`;
    })
    .join("");
  return /<(?:strong|em|code|blockquote)>/.test(html) ? html : "";
}

/** What would have to be typed for an html of a message: for editing it. */
export function fromHTML(html: string): string {
  const body = new DOMParser().parseFromString(html, "text/html").body;
  return typed(body)
    .replace(/\n{3,}/g, "\n\n")
    .trim();
}

function typed(node: Node): string {
  let out = "";
  for (const child of node.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) {
      out += child.textContent ?? "";
      continue;
    }
    if (!(child instanceof Element)) continue;
    const inner = typed(child);
    switch (child.localName) {
      case "br":
        out += "\n";
        break;
      case "strong":
        out += `**${inner}**`;
        break;
      case "em":
        out += `_${inner}_`;
        break;
      case "code":
        out += `\`${inner}\``;
        break;
      case "blockquote":
        out += `${separated(out)}${inner
          .trim()
          .split("\n")
          .map((line) => `> ${line}`)
          .join("\n")}\n`;
        break;
      case "p":
        out += `${separated(out)}${inner}\n`;
        break;
      default:
        out += inner;
    }
  }
  return out;
}

function separated(before: string): string {
  return before === "" || before.endsWith("\n") ? "" : "\n";
}

export type Mark = "strong" | "em" | "code" | "blockquote";
const signs: Record<Exclude<Mark, "blockquote">, string> = { strong: "**", em: "_", code: "`" };

export interface Selected {
  text: string;
  start: number;
  end: number;
}

/** Puts a mark around what is selected, or takes it away again. */
export function mark({ text, start, end }: Selected, as: Mark): Selected {
  if (as === "blockquote") {
    const from = text.lastIndexOf("\n", start - 1) + 1;
    const lineEnd = text.indexOf("\n", end);
    const to = lineEnd < 0 ? text.length : lineEnd;
    const lines = text.slice(from, to).split("\n");
    const all = lines.every((line) => line.startsWith(">"));
    const next = lines.map((line) => (all ? line.replace(/^>\s?/, "") : `> ${line}`)).join("\n");
    return { text: text.slice(0, from) + next + text.slice(to), start: from, end: from + next.length };
  }
  const sign = signs[as];
  const n = sign.length;
  if (text.slice(start - n, start) === sign && text.slice(end, end + n) === sign) {
    return {
      text: text.slice(0, start - n) + text.slice(start, end) + text.slice(end + n),
      start: start - n,
      end: end - n,
    };
  }
  const inner = text.slice(start, end);
  const lead = inner.length - inner.trimStart().length;
  const core = inner.trim();
  const before = text.slice(0, start + lead);
  const after = text.slice(start + lead + core.length);
  return { text: before + sign + core + sign + after, start: before.length + n, end: before.length + n + core.length };
}
