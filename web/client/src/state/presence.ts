/** Who is there: what the stream tells of others, and the person's own state. */
import type { GetPresenceResponse, ManualPresence, ParleyEvent, PresenceState, SeenPresence } from "@parley-im/sdk";
import { signal } from "@preact/signals";
import { timestamp } from "../ui/format";
import { followPeople } from "./feed";
import { Keyed } from "./keyed";
import { me, ownAddress, sdk } from "./session";

/** The states, as people may choose them by hand. */
export const choices = ["", "available", "busy", "dnd", "brb", "away", "offline"] as const;
export type Choice = (typeof choices)[number];

const seen = new Keyed<SeenPresence>();
export const ownState = signal<PresenceState | undefined>(undefined);
export const ownManual = signal<ManualPresence | undefined>(undefined);

export function presenceOf(address: string): SeenPresence | undefined {
  return seen.get(address);
}

/** "available", … or "" while it is not known. The person's own, too. */
export function availabilityOf(address: string): string {
  if (address === me.value?.address) return ownState.value?.availability ?? "";
  return seen.get(address)?.availability ?? "";
}

export function noteOf(address: string): string {
  if (address === me.value?.address) return ownState.value?.note ?? "";
  return seen.get(address)?.note ?? "";
}

const followed = new Set<string>();

/** Wants to know of somebody from now on. Contacts are followed anyway. */
export function watch(address: string): void {
  if (!address.includes("@") || address === me.peek()?.address) return;
  if (followed.has(address)) return;
  followed.add(address);
  void followPeople([address]);
}

/** All that are followed beside the contacts, for a stream that begins. */
export function watched(): string[] {
  return [...followed];
}

export function presenceEvent(event: ParleyEvent): void {
  if (event.type === "presence") {
    const one = event.value;
    if (one.owner === me.peek()?.address) return;
    seen.set(one.owner, one);
  } else if (event.type === "ownPresence") {
    const before = ownState.peek();
    ownState.value = event.value;
    // What was said by hand may have been said on another device, or has ended.
    if (before?.availability !== ownState.value.availability || before?.note !== ownState.value.note) {
      void loadOwn().catch(() => {});
    }
  }
}

let latest = 0;

export async function loadOwn(): Promise<GetPresenceResponse> {
  const turn = ++latest;
  const answer = await sdk().presence.getPresence({ owner: ownAddress() });
  if (turn === latest) {
    ownState.value = answer.state;
    ownManual.value = answer.manual;
  }
  return answer;
}

/** Says by hand what the state is; availability "" leaves it to the devices, with a note if there is one. */
export async function setOwn(availability: Choice, note: string, until: Date | undefined): Promise<void> {
  latest++;
  const manual =
    availability || note ? { availability, note, ...(until ? { until: timestamp(until) } : {}) } : undefined;
  const answer = await sdk().presence.setPresence({ owner: ownAddress(), ...(manual ? { manual } : {}) });
  ownState.value = answer.state;
  await loadOwn();
}

export function forgetPresence(): void {
  seen.clear();
  ownState.value = undefined;
  ownManual.value = undefined;
  followed.clear();
}
