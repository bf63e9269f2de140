/** The person's list of contacts, its groups, and what others are to the person. */
import type { Contact, ContactGroup, Relation } from "@parley-im/sdk";
import { computed, signal } from "@preact/signals";
import type { Loading } from "./conversations";
import { ownAddress, sdk } from "./session";

export const levels = ["blocked", "outside", "colleague", "team", "close"] as const;
export type Level = (typeof levels)[number];
export type RelationKind = "person" | "group" | "domain";

export const contacts = signal<readonly Contact[]>([]);
export const groups = signal<readonly ContactGroup[]>([]);
export const relations = signal<readonly Relation[]>([]);
export const contactsState = signal<Loading>("loading");
let version = 0n;

const byAddress = computed(() => new Map(contacts.value.map((contact) => [contact.address, contact])));

export function contactOf(address: string): Contact | undefined {
  return byAddress.value.get(address);
}

const byPosition = (a: { position: bigint }, b: { position: bigint }) => (a.position < b.position ? -1 : 1);
const relationName = (r: { key?: { kind: string; subject: string } | undefined }) => `${r.key?.kind} ${r.key?.subject}`;

let running: Promise<void> | undefined;
let again = false;

/** Loads what changed since the last time. Calls that overlap become one more. */
export function loadContacts(): Promise<void> {
  if (running) {
    again = true;
    return running;
  }
  running = load().finally(() => {
    running = undefined;
    if (again) {
      again = false;
      void loadContacts().catch(() => {});
    }
  });
  return running;
}

async function load(): Promise<void> {
  if (version === 0n) contactsState.value = "loading";
  try {
    const answer = await sdk().contacts.listContacts({ owner: ownAddress(), since: version });
    const gone = new Set(answer.removedContacts);
    const goneGroups = new Set(answer.removedGroups);
    const goneRelations = new Set(answer.removedRelations.map((key) => relationName({ key })));
    contacts.value = merge(answer.all ? [] : contacts.peek(), answer.contacts, (c) => c.id, gone).sort(byPosition);
    groups.value = merge(answer.all ? [] : groups.peek(), answer.groups, (g) => g.id, goneGroups).sort(byPosition);
    relations.value = merge(answer.all ? [] : relations.peek(), answer.relations, relationName, goneRelations);
    version = answer.version;
    contactsState.value = "ready";
  } catch (error) {
    if (version === 0n) contactsState.value = "failed";
    throw error;
  }
}

/** What there was, with what is new in its place and without what is gone. */
export function merge<T, K>(old: readonly T[], fresh: readonly T[], key: (one: T) => K, gone: Set<K>): T[] {
  const all = new Map(old.map((one) => [key(one), one]));
  for (const one of fresh) all.set(key(one), one);
  for (const one of gone) all.delete(one);
  return [...all.values()];
}

export async function addContact(address: string, name: string, group?: bigint): Promise<void> {
  await sdk().contacts.addContacts({
    owner: ownAddress(),
    contacts: [{ address, name, groups: group === undefined ? [] : [group] }],
  });
  await loadContacts();
}

export interface ContactChange {
  name?: string;
  note?: string;
  favourite?: boolean;
  groups?: bigint[];
}

export async function changeContact(contact: Contact, change: ContactChange): Promise<void> {
  const { groups: ids, ...fields } = change;
  await sdk().contacts.setContact({
    owner: ownAddress(),
    contact: contact.address,
    ...fields,
    ...(ids ? { groups: { ids } } : {}),
  });
  await loadContacts();
}

/** Where a contact stands in the list: among the favourites, in a group by its id, or among the others. */
export type Place = "favourites" | "others" | bigint;

/** What changes when a contact is moved from one place to another; undefined: nothing. */
export function moved(contact: Contact, from: Place, to: Place): ContactChange | undefined {
  if (from === to) return undefined;
  const left = contact.groups.filter((id) => id !== from);
  // Among the others is who is nowhere else.
  if (to === "others") return { favourite: false, groups: [] };
  if (to === "favourites") return { favourite: true, groups: left };
  return { favourite: from === "favourites" ? false : contact.favourite, groups: [...new Set([...left, to])] };
}

export async function removeContact(contact: Contact): Promise<void> {
  await sdk().contacts.removeContact({ owner: ownAddress(), contact: contact.address });
  await loadContacts();
}

export async function addGroup(name: string): Promise<ContactGroup | undefined> {
  const answer = await sdk().contacts.addGroup({ owner: ownAddress(), name });
  await loadContacts();
  return answer.group;
}

export async function renameGroup(group: ContactGroup, name: string): Promise<void> {
  await sdk().contacts.setGroup({ owner: ownAddress(), group: String(group.id), name });
  await loadContacts();
}

/** Puts a group before or behind its neighbour. */
export async function moveGroup(group: ContactGroup, by: 1 | -1): Promise<void> {
  const order = [...groups.peek()];
  const at = order.indexOf(group);
  const other = order[at + by];
  if (!other) return;
  order[at] = other;
  order[at + by] = group;
  // Groups may have had the same position.
  for (const [position, one] of order.entries()) {
    if (one.position === BigInt(position + 1)) continue;
    await sdk().contacts.setGroup({ owner: ownAddress(), group: String(one.id), position: BigInt(position + 1) });
  }
  await loadContacts();
}

export async function removeGroup(group: ContactGroup): Promise<void> {
  await sdk().contacts.removeGroup({ owner: ownAddress(), group: String(group.id) });
  await loadContacts();
}

/** Decides what somebody is to the person; "" takes the decision back. */
export async function setLevel(kind: RelationKind, subject: string, level: Level | ""): Promise<void> {
  await sdk().contacts.setLevel({ owner: ownAddress(), key: { kind, subject }, level });
  await loadContacts();
}

export function levelRule(kind: RelationKind, subject: string): Level | "" {
  const rule = relations.value.find((one) => one.key?.kind === kind && one.key.subject === subject);
  return (rule?.level as Level | undefined) ?? "";
}

export function forgetContacts(): void {
  contacts.value = [];
  groups.value = [];
  relations.value = [];
  contactsState.value = "loading";
  version = 0n;
}
