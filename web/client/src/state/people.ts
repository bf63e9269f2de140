/** What people are called, and what the directory says of them. */
import type { Person } from "@parley-im/sdk";
import { batch } from "@preact/signals";
import { contactOf } from "./contacts";
import { talk } from "./conversations";
import { Keyed } from "./keyed";
import { me, sdk } from "./session";

const directory = new Keyed<Person | null>();
const asked = new Map<string, Promise<void>>();

/** The name the person gave, else the directory's, else the part before the @. */
export function nameOf(address: string): string {
  const own = me.value;
  if (own && address === own.address) return own.name || userOf(address);
  return contactOf(address)?.name || talk(address)?.name || directory.get(address)?.name || userOf(address) || address;
}

export function userOf(address: string): string {
  return address.replace(/^(sips?|tel):/, "").split("@")[0] ?? address;
}

function keep(people: readonly Person[]): void {
  batch(() => {
    for (const person of people) directory.set(person.address, person);
  });
}

/** What the directory has of an address: null when it has nothing, undefined while it is asked. */
export function personOf(address: string): Person | null | undefined {
  return directory.get(address);
}

/** Who is called by the address only, and is asked for when others have been. */
const nameless = new Set<string>();
let asking = 0;

/** Finds out what somebody is called whose name nothing here tells: a few at a time, a list may have hundreds of them. */
export function wantName(address: string): void {
  if (directory.peek(address) !== undefined) return;
  nameless.add(address);
  while (asking < 3 && nameless.size > 0) {
    asking++;
    void askNext().finally(() => {
      asking--;
    });
  }
}

async function askNext(): Promise<void> {
  for (const address of nameless) {
    nameless.delete(address);
    await askFor(address).catch(() => {}); // the address is shown
  }
}

/** Asks the directory for one address, once. */
export function askFor(address: string): Promise<void> {
  if (directory.peek(address) !== undefined || !address.includes("@")) return Promise.resolve();
  const running = asked.get(address);
  if (running) return running;
  const request = sdk()
    .people.findPeople({ words: address, limit: 10 })
    .then((answer) => {
      keep(answer.people);
      if (directory.peek(address) === undefined) directory.set(address, null);
    })
    .finally(() => asked.delete(address));
  asked.set(address, request);
  return request;
}

/** Finds people by the beginnings of words of name, title, department and address. */
export async function findPeople(words: string, limit = 20, signal?: AbortSignal): Promise<Person[]> {
  const answer = await sdk().people.findPeople({ words, limit }, signal ? { signal } : {});
  keep(answer.people);
  return answer.people;
}

export function forgetPeople(): void {
  directory.clear();
  nameless.clear();
  asked.clear();
}
