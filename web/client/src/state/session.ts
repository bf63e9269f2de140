/** Who is signed in. */
import { type Client, connect, ParleyError, type Profile, type ServerInfo, type Session } from "@parley-im/sdk";
import { type ReadonlySignal, signal } from "@preact/signals";

export interface Me {
  address: string;
  name: string;
  sessionId: string;
  /** The name of this session in the records of messages. */
  device: string;
  admin: boolean;
  profile: Profile | undefined;
  server: ServerInfo | undefined;
}

/** starting: asking whether there is a session; unreachable: nobody answers. */
export type Phase = "starting" | "unreachable" | "signed-out" | "signed-in";

const currentPhase = signal<Phase>("starting");
const currentClient = signal<Client | undefined>(undefined);
const currentMe = signal<Me | undefined>(undefined);
/** Why the person has to sign in again, in the server's words; empty: for no special reason. */
export const endedBecause = signal("");

export const phase: ReadonlySignal<Phase> = currentPhase;
export const client: ReadonlySignal<Client | undefined> = currentClient;
export const me: ReadonlySignal<Me | undefined> = currentMe;

/** The client of the session; throws when nobody is signed in. */
export function sdk(): Client {
  const now = currentClient.peek();
  if (!now) throw new ParleyError("unauthenticated", "nobody is signed in");
  return now;
}

export function ownAddress(): string {
  return currentMe.peek()?.address ?? "";
}

/** Begins with the session that the browser kept, if there is one. */
export async function resume(): Promise<void> {
  const fresh = connect({ cookie: true });
  try {
    enter(fresh, await fresh.session());
  } catch (error) {
    if (error instanceof ParleyError && error.code === "unauthenticated") currentPhase.value = "signed-out";
    else currentPhase.value = "unreachable";
  }
}

export async function signIn(address: string, password: string): Promise<void> {
  const fresh = connect({ cookie: true });
  enter(fresh, await fresh.signIn({ address, password, ...thisDevice(navigator.userAgent) }));
}

function enter(fresh: Client, session: Session): void {
  currentMe.value = {
    address: session.address,
    name: session.name,
    sessionId: session.id,
    device: `web:${session.id.slice(0, 12)}`,
    admin: session.admin,
    profile: session.profile,
    server: session.server,
  };
  currentClient.value = fresh;
  endedBecause.value = "";
  currentPhase.value = "signed-in";
}

/** Ends the session here and on the server. */
export async function signOut(): Promise<void> {
  await currentClient.peek()?.signOut();
  leave("");
}

/** The session has ended somewhere else. */
export function leave(reason: string): void {
  currentPhase.value = "signed-out";
  currentClient.value = undefined;
  currentMe.value = undefined;
  endedBecause.value = reason;
}

export function setProfile(profile: Profile | undefined): void {
  const now = currentMe.peek();
  if (now) currentMe.value = { ...now, profile };
}

/** What the list of devices shows: "Firefox on Linux". */
export function thisDevice(agent: string): { device: string; kind: "desktop" | "phone" | "tablet" } {
  const browser = /Edg\//.test(agent)
    ? "Edge"
    : /OPR\//.test(agent)
      ? "Opera"
      : /Firefox\//.test(agent)
        ? "Firefox"
        : /Chrom(e|ium)\//.test(agent)
          ? "Chrome"
          : /Safari\//.test(agent)
            ? "Safari"
            : "Browser";
  const system = /Android/.test(agent)
    ? "Android"
    : /iPhone|iPad/.test(agent)
      ? "iOS"
      : /Windows/.test(agent)
        ? "Windows"
        : /Mac OS/.test(agent)
          ? "macOS"
          : /CrOS/.test(agent)
            ? "ChromeOS"
            : /Linux/.test(agent)
              ? "Linux"
              : "";
  const kind =
    /iPad|Tablet/.test(agent) || (/Android/.test(agent) && !/Mobile/.test(agent))
      ? "tablet"
      : /Mobile|iPhone/.test(agent)
        ? "phone"
        : "desktop";
  return { device: system ? `${browser} on ${system}` : browser, kind };
}
