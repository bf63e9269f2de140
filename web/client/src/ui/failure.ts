/** What went wrong, in words for people. */
import { ParleyError } from "@parley-im/sdk";
import { type Key, t } from "../i18n";
import { toast } from "./toast";

const words: Record<string, Key> = {
  unavailable: "error.unavailable",
  deadline_exceeded: "error.unavailable",
  resource_exhausted: "error.resource_exhausted",
  permission_denied: "error.permission_denied",
  not_found: "error.not_found",
  already_exists: "error.already_exists",
  unauthenticated: "error.unauthenticated",
};

export function failureText(error: unknown): string {
  if (!(error instanceof ParleyError)) return t("error.unknown");
  const key = words[error.code];
  // What the caller typed is best explained by who read it.
  return key ? t(key) : error.code === "invalid_argument" ? error.message : t("error.unknown");
}

/** Runs something that the person asked for, and says so when it fails. True: it worked. */
export async function attempt(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    toast(failureText(error), { failed: true });
    return false;
  }
}
