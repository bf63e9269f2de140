import { Component, type ComponentType, createElement, type FunctionComponent } from "preact";

/** Draws again only when a property is another, or a signal that was read changed. */
export function memo<P extends object>(inner: FunctionComponent<P>): ComponentType<P> {
  return class Memo extends Component<P> {
    override shouldComponentUpdate(next: P): boolean {
      const old = this.props as Record<string, unknown>;
      const fresh = next as Record<string, unknown>;
      const keys = new Set([...Object.keys(old), ...Object.keys(fresh)]);
      return [...keys].some((key) => key !== "children" && old[key] !== fresh[key]);
    }
    override render() {
      return createElement(inner, this.props as P);
    }
  };
}
