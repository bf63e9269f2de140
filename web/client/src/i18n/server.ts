/** The sentences with which the server says why something is so. They are English and few; each is said in the page's language. */
import { type Key, t } from "./index";

/** Groups of a pattern are the values {0}, {1} … of its text. */
export const sentences: readonly (readonly [pattern: string, key: Key])[] = [
  // why a state is what it is
  ["set by hand", "why.by-hand"],
  ["set by hand: appear offline", "why.appear-offline"],
  ["set by hand: do not disturb", "why.dnd"],
  ["no device is signed in", "why.no-device"],
  ["every device says that it is closed", "why.closed"],
  ["a device says: do not disturb", "why.device-dnd"],
  ["the server sees a call", "why.call"],
  ["a device says: on the phone", "why.device-call"],
  ["a device says: in a meeting", "why.device-meeting"],
  ["a device says: busy", "why.device-busy"],
  ["a device says: away", "why.device-away"],
  ["there is a meeting in the calendar", "why.calendar"],
  ["no device is in use", "why.idle"],
  ["a device is signed in", "why.device"],
  ["nothing is known", "why.nothing"],
  // why somebody has a level
  ["people see all of themselves", "why.self"],
  ["there is a rule for the group (.+)", "why.rule-group"],
  ["there is a rule for the domain (.+)", "why.rule-domain"],
  ["there is a rule for (.+)", "why.rule"],
  ["there is no rule, and the address is not known", "why.unknown"],
  ["there is no rule, and (.+) is a domain of this server", "why.own-domain"],
  ["there is no rule, and (.+) is not a domain of this server", "why.other-domain"],
  // why a session ended
  ["the session was not used for too long", "why.unused"],
  ["too many other devices have signed in since", "why.too-many-devices"],
  ["the session has ended", "why.ended"],
  ["signed out", "why.signed-out"],
  ["ended on another device", "why.revoked"],
  ["ended by an administrator", "why.by-admin"],
  ["the password was changed", "why.password"],
  ["the account was disabled", "why.disabled"],
  ["the account was removed", "why.removed"],
];

/** What the server said, in the page's language; what this page does not know stays as it is. */
export function said(sentence: string): string {
  for (const [pattern, key] of sentences) {
    const found = new RegExp(`^${pattern}$`).exec(sentence);
    if (found) return t(key, Object.fromEntries(found.slice(1).map((value, at) => [String(at), value])));
  }
  return sentence;
}
