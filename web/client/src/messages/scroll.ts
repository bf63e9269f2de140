/** Keeps what is being read where it is, while messages come and go above and below. */
import type { RefObject } from "preact";
import { useCallback, useEffect, useLayoutEffect, useRef } from "preact/hooks";

/** Pixels from the end within which the view follows what comes. */
const near = 48;
/** Pixels from an edge at which the next page is asked for. */
const ahead = 1600;

interface Options {
  scroller: RefObject<HTMLElement | null>;
  /** Changes when the rows do. */
  rows: unknown;
  /** The end of the list is the end of the conversation. */
  complete: boolean;
  onEdge(way: "before" | "after"): void;
  onMove(atEnd: boolean): void;
}

export interface Scroll {
  toEnd(smooth?: boolean): void;
  /** Brings a row into view, block says where. False: it is not there. */
  toRow(selector: string, block: "center" | "top"): boolean;
  atEnd(): boolean;
  /** The lowest message that can be seen. */
  lowest(): HTMLElement | undefined;
}

/** Only messages: a day sticks to the top, wherever its place is. */
const rowsIn = (box: HTMLElement) => box.querySelectorAll<HTMLElement>("article[data-row]");

/** The first message that reaches below a line, found by halving: they stand in order. */
function rowAt(box: HTMLElement, line: number): HTMLElement | undefined {
  const rows = rowsIn(box);
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((rows[middle] as HTMLElement).getBoundingClientRect().bottom <= line) low = middle + 1;
    else high = middle;
  }
  return rows[low];
}

export function useScroll({ scroller, rows, complete, onEdge, onMove }: Options): Scroll {
  const anchor = useRef<{ key: string; top: number } | undefined>(undefined);
  const stuck = useRef(true); // to the end
  const height = useRef(0); // of the view when it was last remembered
  const latest = useRef({ complete, onEdge, onMove });
  latest.current = { complete, onEdge, onMove };

  const remember = useCallback(() => {
    const box = scroller.current;
    if (!box) return;
    height.current = box.clientHeight;
    const top = box.getBoundingClientRect().top;
    const row = rowAt(box, top);
    anchor.current = row ? { key: row.dataset.row ?? "", top: row.getBoundingClientRect().top - top } : undefined;
    stuck.current = latest.current.complete && box.scrollHeight - box.scrollTop - box.clientHeight <= near;
  }, []);

  const settle = useCallback(() => {
    const box = scroller.current;
    if (!box) return;
    if (stuck.current && latest.current.complete) {
      box.scrollTop = box.scrollHeight;
      return;
    }
    const kept = anchor.current;
    const row = kept && box.querySelector<HTMLElement>(`[data-row="${CSS.escape(kept.key)}"]`);
    if (!kept || !row) return;
    const moved = row.getBoundingClientRect().top - box.getBoundingClientRect().top - kept.top;
    if (Math.abs(moved) >= 1) box.scrollTop += moved;
  }, []);

  const look = useCallback(() => {
    const box = scroller.current;
    if (!box || box.clientHeight === 0) return;
    if (box.scrollTop < ahead) latest.current.onEdge("before");
    if (box.scrollHeight - box.scrollTop - box.clientHeight < ahead) latest.current.onEdge("after");
    latest.current.onMove(stuck.current);
  }, []);

  useLayoutEffect(() => {
    settle();
    remember();
  }, [rows]);
  useEffect(look, [rows, complete]);

  useEffect(() => {
    const box = scroller.current;
    if (!box) return;
    let waiting = 0;
    const onScroll = () => {
      // A keyboard that has just come up is not somebody who leaves the end: the observer below settles it in this frame.
      if (box.clientHeight === height.current) remember();
      waiting ||= requestAnimationFrame(() => {
        waiting = 0;
        look();
      });
    };
    box.addEventListener("scroll", onScroll, { passive: true });
    // Pictures, the keyboard of a phone and the growing text field change heights.
    const heights = new ResizeObserver(() => {
      settle();
      remember();
      look();
    });
    heights.observe(box);
    if (box.firstElementChild) heights.observe(box.firstElementChild);
    return () => {
      box.removeEventListener("scroll", onScroll);
      cancelAnimationFrame(waiting);
      heights.disconnect();
    };
  }, []);

  return {
    toEnd(smooth = false) {
      const box = scroller.current;
      if (!box) return;
      stuck.current = true;
      box.scrollTo({ top: box.scrollHeight, behavior: smooth ? "smooth" : "instant" });
    },
    toRow(selector, block) {
      const box = scroller.current;
      const row = box?.querySelector<HTMLElement>(selector);
      if (!box || !row) return false;
      const space = block === "center" ? Math.max(0, (box.clientHeight - row.offsetHeight) / 2) : box.clientHeight / 5;
      stuck.current = false;
      box.scrollTop += row.getBoundingClientRect().top - box.getBoundingClientRect().top - space;
      remember();
      return true;
    },
    atEnd: () => stuck.current,
    lowest() {
      const box = scroller.current;
      if (!box) return undefined;
      const bottom = box.getBoundingClientRect().bottom;
      // The row at the edge may be a day or begin below it: then it is one of those before.
      let row: Element | null | undefined = rowAt(box, bottom - 1) ?? box.querySelector(".m-rows")?.lastElementChild;
      while (row) {
        const seen = row instanceof HTMLElement && row.dataset.position && row.getBoundingClientRect().top < bottom;
        if (seen) return row as HTMLElement;
        row = row.previousElementSibling;
      }
      return undefined;
    },
  };
}
