import { type Signal, signal } from "@preact/signals";

/** A map in which whoever reads a key hears of that key only: a list of thousands does not draw all rows for one. */
export class Keyed<T> {
  readonly #slots = new Map<string, Signal<T | undefined>>();

  #slot(key: string): Signal<T | undefined> {
    let slot = this.#slots.get(key);
    if (!slot) {
      slot = signal<T | undefined>(undefined);
      this.#slots.set(key, slot);
    }
    return slot;
  }

  get(key: string): T | undefined {
    return this.#slot(key).value;
  }

  peek(key: string): T | undefined {
    return this.#slots.get(key)?.peek();
  }

  set(key: string, value: T | undefined): void {
    this.#slot(key).value = value;
  }

  /** Everything is gone, and those who read it hear that. */
  clear(): void {
    for (const slot of this.#slots.values()) slot.value = undefined;
  }
}
