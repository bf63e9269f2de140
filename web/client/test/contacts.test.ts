import { afterEach, expect, test } from "vitest";
import {
  contacts,
  forgetContacts,
  groups,
  levelRule,
  loadContacts,
  merge,
  relations,
  removeContact,
} from "../src/state/contacts";
import { nameOf } from "../src/state/people";
import { resume } from "../src/state/session";
import { alice, bob, pipe, session } from "./pipe";

afterEach(forgetContacts);

test("merge keeps the place of what changes", () => {
  const old = [
    { id: 1, name: "a" },
    { id: 2, name: "b" },
    { id: 3, name: "c" },
  ];
  const merged = merge(
    old,
    [
      { id: 2, name: "B" },
      { id: 4, name: "d" },
    ],
    (one) => one.id,
    new Set([1]),
  );
  expect(merged.map((one) => one.name)).toEqual(["B", "c", "d"]);
});

test("the list is loaded whole, then only what changed", async () => {
  const server = pipe({
    GetSession: session,
    ListContacts: (request: { since: bigint; owner: string }) => {
      expect(request.owner).toBe(alice);
      return request.since === 0n
        ? {
            version: 3n,
            all: true,
            contacts: [
              { id: 2n, address: bob, name: "Bobby", position: 2n },
              { id: 1n, address: "carol@example.com", position: 1n, groups: [9n] },
            ],
            groups: [{ id: 9n, name: "Friends" }],
            relations: [{ key: { kind: "person", subject: bob }, level: "close" }],
          }
        : { version: 4n, removedContacts: [1n], removedRelations: [{ kind: "person", subject: bob }] };
    },
    RemoveContact: () => ({}),
  });
  await resume();
  await loadContacts();
  expect(contacts.value.map((one) => one.address)).toEqual(["carol@example.com", bob]);
  expect(groups.value[0]?.name).toBe("Friends");
  expect(levelRule("person", bob)).toBe("close");
  expect(nameOf(bob)).toBe("Bobby");
  expect(nameOf("carol@example.com")).toBe("carol");
  const first = contacts.value[0];
  if (first) await removeContact(first);
  expect(server.asked.at(-1)?.request).toMatchObject({ since: 3n });
  expect(contacts.value.map((one) => one.address)).toEqual([bob]);
  expect(relations.value).toEqual([]);
});
