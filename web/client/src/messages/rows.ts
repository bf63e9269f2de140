/** What stands in the list: messages, days, and the line before what is new. */
import type { Message } from "@parley-im/sdk";
import { date, dayStart } from "../ui/format";

export type Row =
  | { kind: "day"; key: string; at: Date }
  | { kind: "new"; key: string }
  | { kind: "message"; key: string; message: Message; first: boolean; last: boolean };

/** Milliseconds within which messages of one person stand together. */
const together = 5 * 60_000;

const at = (message: Message) => (message.at ? date(message.at) : new Date(0));

/** first and last: of a group by one person. The "new" line stands before the message with the position newAt. */
export function rowsOf(messages: readonly Message[], newAt: bigint | undefined): Row[] {
  const rows: Row[] = [];
  let before: Message | undefined;
  let group: Extract<Row, { kind: "message" }> | undefined;
  let newShown = false;
  for (const message of messages) {
    const when = at(message);
    let first = true;
    if (!before || dayStart(when) !== dayStart(at(before))) {
      rows.push({ kind: "day", key: `day ${dayStart(when)}`, at: when });
    } else {
      first =
        before.from !== message.from ||
        before.call !== undefined ||
        message.call !== undefined ||
        when.getTime() - at(before).getTime() > together;
    }
    if (newAt !== undefined && !newShown && message.position >= newAt) {
      newShown = true;
      if (message !== messages[0] || newAt === message.position) {
        rows.push({ kind: "new", key: "new" });
        first = true;
      }
    }
    if (group) group.last = first;
    group = { kind: "message", key: message.id, message, first, last: true };
    rows.push(group);
    before = message;
  }
  return rows;
}

/** Position of the oldest of so many unread messages; undefined when there are none or it is not among these. */
export function firstUnread(messages: readonly Message[], unread: number, own: string): bigint | undefined {
  let left = unread;
  if (left <= 0) return undefined;
  for (const message of messages.toReversed()) {
    if (message.call || message.from === own) continue;
    if (--left === 0) return message.position;
  }
  return undefined;
}
