/** What the tabs of one browser tell each other: one plays the sound, signing out in one signs out all. */

interface Looking {
  kind: "looking";
  tab: string;
  peer: string; // the conversation that is open in a tab somebody looks at; empty: none
}
interface SignedOut {
  kind: "signed-out";
}
interface Left {
  kind: "left";
  tab: string;
}
/** Somebody is at a tab. */
interface Used {
  kind: "used";
}
/** The server has no more room for streams of this session. */
interface Room {
  kind: "room";
}
type Said = Looking | SignedOut | Left | Used | Room;

const self = crypto.randomUUID();
const channel = new BroadcastChannel("parley");
const looking = new Map<string, string>();
let leading = false;
let signedOut = () => {};
let used = () => {};
let makeRoom = () => {};

/** Begins to listen. ended is called when another tab has signed out. */
export function startTabs(ended: () => void): void {
  signedOut = ended;
  // Whoever holds the lock leads; the next tab gets it when this one closes.
  void navigator.locks?.request("parley-leader", () => {
    leading = true;
    return new Promise<void>(() => {});
  });
  addEventListener("pagehide", () => say({ kind: "left", tab: self }));
}

channel.onmessage = (event: MessageEvent<Said>) => {
  const said = event.data;
  if (said.kind === "signed-out") signedOut();
  else if (said.kind === "used") used();
  else if (said.kind === "room") makeRoom();
  else if (said.kind === "left") looking.delete(said.tab);
  else if (said.kind === "looking") looking.set(said.tab, said.peer);
};

function say(what: Said): void {
  channel.postMessage(what);
}

/** This is the tab that makes the noise. Browsers without locks all do. */
export function leads(): boolean {
  return leading || !navigator.locks;
}

/** Tells which conversation is open here and looked at. */
export function lookAt(peer: string): void {
  looking.set(self, peer);
  say({ kind: "looking", tab: self, peer });
}

/** Some tab shows a conversation to somebody. */
export function lookedAt(peer: string): boolean {
  return [...looking.values()].includes(peer);
}

/** Calls back when somebody uses another tab. */
export function onUsed(run: () => void): void {
  used = run;
}

export function sayUsed(): void {
  say({ kind: "used" });
}

/** Asks the tabs that nobody sees to give up their streams. */
export function askForRoom(): void {
  say({ kind: "room" });
}

/** Calls back when another tab needs the stream of this one. */
export function onRoom(run: () => void): void {
  makeRoom = run;
}

export function saySignedOut(): void {
  say({ kind: "signed-out" });
}
