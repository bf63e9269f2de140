/** Puts what opens from a button over everything, where there is room for it. */
import type { RefObject } from "preact";
import { useLayoutEffect } from "preact/hooks";

/** Pixels to the edge of the window, and to what it opens from. */
const margin = 8;
const gap = 4;

interface Options {
  /** Which edges stand under each other, if there is room. */
  align?: "start" | "end";
  /** Where it opens, if there is room. */
  place?: "above" | "below";
}

/**
 * The box is a popover: in the top layer nothing cuts it off. Its own place in the document stays where it is, for the
 * keyboard and for screen readers.
 */
export function useFloating(
  box: RefObject<HTMLElement | null>,
  anchor: () => Element | null | undefined,
  open: boolean,
  { align = "end", place = "below" }: Options = {},
): void {
  useLayoutEffect(() => {
    const element = box.current;
    if (!open || !element) return;
    element.popover = "manual";
    element.showPopover?.();
    const put = () => {
      const from = anchor()?.getBoundingClientRect();
      if (!from) return;
      const { width, height } = element.getBoundingClientRect();
      const above = from.top - gap - height;
      const below = from.bottom + gap;
      const fits = { above: above >= margin, below: below + height <= innerHeight - margin };
      const other = place === "above" ? "below" : "above";
      const top = (fits[place] || !fits[other] ? place : other) === "above" ? above : below;
      const left = align === "end" ? from.right - width : from.left;
      element.style.top = `${Math.max(margin, Math.min(top, innerHeight - margin - height))}px`;
      element.style.left = `${Math.max(margin, Math.min(left, innerWidth - margin - width))}px`;
    };
    put();
    addEventListener("resize", put);
    document.addEventListener("scroll", put, true);
    return () => {
      removeEventListener("resize", put);
      document.removeEventListener("scroll", put, true);
    };
  }, [open]);
}
