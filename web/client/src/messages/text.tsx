/** What people wrote, drawn from nodes that are made here: nothing of it becomes markup. */
import { registerCustomProtocol, tokenize } from "linkifyjs";
import type { ComponentChild, VNode } from "preact";
import { marked } from "../lists/marked";

for (const scheme of ["sip", "sips"]) registerCustomProtocol(scheme, true);
/** RFC 3966, which the library does not know: a number after a scheme. */
const tel = /(?<![\p{L}\p{N}])tel:\+?[0-9][0-9().-]{1,30}(?<=[0-9])/giu;

const schemes = new Set(["http:", "https:", "mailto:", "sip:", "sips:", "tel:"]);

/** Where a link leads, as the browser understands it; undefined: nowhere people should be led. */
export function target(href: string): string | undefined {
  try {
    const url = new URL(href);
    return schemes.has(url.protocol) ? url.href : undefined;
  } catch {
    return undefined;
  }
}

/** A text with its links, and with words marked that were searched for. */
export function linked(text: string, words = ""): ComponentChild[] {
  const out: ComponentChild[] = [];
  let plain = "";
  const link = (href: string, shown: string) => {
    out.push(
      <a key={`link ${out.length}`} href={href} title={href} target="_blank" rel="noopener noreferrer" class="m-link">
        <bdi>{shown}</bdi>
      </a>,
    );
  };
  const say = (what: string) => {
    if (what !== "") out.push(...(words ? marked(what, words) : [what]));
  };
  const flush = () => {
    let at = 0;
    for (const hit of plain.matchAll(tel)) {
      say(plain.slice(at, hit.index));
      link(hit[0], hit[0]);
      at = hit.index + hit[0].length;
    }
    say(plain.slice(at));
    plain = "";
  };
  for (const token of tokenize(text)) {
    const href = token.isLink ? target(token.toHref("https")) : undefined;
    if (!href) {
      plain += token.toString();
      continue;
    }
    flush();
    link(href, token.toString());
  }
  flush();
  return out;
}

const allowed = new Set(["em", "strong", "blockquote", "p", "code"]);
const deepest = 16;

function drawn(nodes: Iterable<Node>, words: string, depth: number, inCode: boolean): ComponentChild[] {
  const out: ComponentChild[] = [];
  for (const node of nodes) {
    if (node.nodeType === Node.TEXT_NODE) {
      const text = node.textContent ?? "";
      out.push(...(inCode ? [text] : linked(text, words)));
      continue;
    }
    if (!(node instanceof Element) || depth > deepest) continue;
    const name = node.localName;
    if (name === "br") out.push(<br key={`br ${out.length}`} />);
    else if (allowed.has(name)) {
      const Tag = name as "p";
      const block = name === "p" || name === "blockquote";
      out.push(
        <Tag key={`${name} ${out.length}`} {...(block ? { dir: "auto" } : {})}>
          {drawn(node.childNodes, words, depth + 1, inCode || name === "code")}
        </Tag>,
      );
    } else if (name !== "script" && name !== "style" && name !== "template") {
      out.push(...drawn(node.childNodes, words, depth + 1, inCode));
    }
  }
  return out;
}

/** The nodes of formatted text. A document of DOMParser runs no scripts and loads nothing. */
export function formatted(html: string, words = ""): ComponentChild[] {
  return drawn(new DOMParser().parseFromString(html, "text/html").body.childNodes, words, 0, false);
}

interface Props {
  text: string;
  html: string;
  words?: string;
}

export function Text({ text, html, words = "" }: Props): VNode {
  if (html) return <div class="m-text m-rich">{formatted(html, words)}</div>;
  return (
    <div class="m-text m-plain" dir="auto">
      {linked(text, words)}
    </div>
  );
}

/** One to three emoji and nothing else: they are shown larger. */
export function onlyEmoji(text: string): boolean {
  return (
    text.length <= 40 &&
    /^(?:\p{Extended_Pictographic}(?:\p{Emoji_Modifier}|\uFE0F|\u200D\p{Extended_Pictographic})*\s*){1,3}$/u.test(text)
  );
}
