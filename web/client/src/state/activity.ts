/** Tells the server whether somebody is at this device: it is part of the person's presence. */
import { timestamp } from "../ui/format";
import { sdk } from "./session";

const idleAfter = 5 * 60_000;
const look = 30_000;

/** Watches keys and pointers until the returned function is called. */
export function startActivity(): () => void {
  let last = Date.now();
  let idle = false;
  const tell = (since: number | undefined) =>
    sdk()
      .sessions.setActivity(since === undefined ? {} : { idleSince: timestamp(new Date(since)) })
      .catch(() => {
        idle = since === undefined; // not heard: say it again at the next look
      });
  const touched = () => {
    last = Date.now();
    if (!idle) return;
    idle = false;
    void tell(undefined);
  };
  const looked = () => {
    if (idle || Date.now() - last < idleAfter) return;
    idle = true;
    void tell(last);
  };
  const shown = () => {
    if (!document.hidden) touched();
  };
  const events = ["pointerdown", "pointermove", "keydown", "wheel"] as const;
  for (const name of events) addEventListener(name, touched, { passive: true });
  document.addEventListener("visibilitychange", shown);
  const timer = setInterval(looked, look);
  void tell(undefined);
  return () => {
    clearInterval(timer);
    for (const name of events) removeEventListener(name, touched);
    document.removeEventListener("visibilitychange", shown);
  };
}
