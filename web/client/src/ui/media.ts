/** How wide the window is, in the steps of the layout. */
import { signal } from "@preact/signals";

function watch(query: string) {
  const list = matchMedia(query);
  const now = signal(list.matches);
  list.addEventListener("change", (event) => {
    now.value = event.matches;
  });
  return now;
}

/** Three panes fit. */
export const wide = watch("(min-width: 1100px)");
/** Two panes fit; below there is one. */
export const medium = watch("(min-width: 720px)");
