/** What went wrong, in words for people. */
import { ParleyError } from "@parley-im/sdk";
import { type Key, locale, t, tn } from "../i18n";
import { toast } from "./toast";

/** By the reasons of docs/api.md, and those of the SDK. */
export const reasons: Readonly<Record<string, Key>> = {
  "wrong-password": "error.wrong-password",
  "account-disabled": "error.account-disabled",
  "session-ended": "error.unauthenticated",
  "too-many-changes": "error.too-many-changes",
  rate: "error.resource_exhausted",
  origin: "error.origin",
  "media-type": "error.origin",
  invalid: "error.invalid",
  unauthorized: "error.unauthenticated",
  forbidden: "error.permission_denied",
  "not-found": "error.not_found",
  conflict: "error.already_exists",
  "too-many": "error.resource_exhausted",
  unavailable: "error.unavailable",
  internal: "error.internal",
  network: "error.unavailable",
  timeout: "error.timeout",
  outbox: "error.outbox",
  protocol: "error.internal",
};

/** For errors that came without a reason: a proxy answered, or the request could not be read. */
const codes: Readonly<Record<string, Key>> = {
  unavailable: "error.unavailable",
  deadline_exceeded: "error.timeout",
  resource_exhausted: "error.resource_exhausted",
  permission_denied: "error.permission_denied",
  not_found: "error.not_found",
  already_exists: "error.already_exists",
  unauthenticated: "error.unauthenticated",
  invalid_argument: "error.invalid",
  internal: "error.internal",
};

/**
 * A reason that this page does not know is said in the server's sentence. invalid: what to say when the server did not take
 * what was typed; its own sentence, which is English, says more to who reads English.
 */
export function failureText(error: unknown, invalid: Key = "error.invalid"): string {
  if (!(error instanceof ParleyError)) return t("error.unknown");
  if (error.code === "invalid_argument" && (error.reason === "invalid" || error.reason === "")) {
    return locale.value.startsWith("en") ? sentence(error.message) : t(invalid);
  }
  if (error.reason === "locked-out") {
    const seconds = Math.max(1, error.retryAfter);
    return seconds < 100 ? tn("sign-in.wait-seconds", seconds) : tn("sign-in.wait", Math.ceil(seconds / 60));
  }
  const key = error.reason ? reasons[error.reason] : codes[error.code];
  return key ? t(key) : sentence(error.message) || t("error.unknown");
}

/** The server's words as a sentence. */
function sentence(text: string): string {
  if (!text) return "";
  const whole = /[.!?…]$/.test(text) ? text : `${text}.`;
  return whole.charAt(0).toLocaleUpperCase() + whole.slice(1);
}

/** Runs something that the person asked for, and says so when it fails. True: it worked. */
export async function attempt(work: () => Promise<unknown>, invalid?: Key): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    toast(failureText(error, invalid), { failed: true });
    return false;
  }
}
