/** Moments at which a page should look at its connection: back from sleep, in front again, the network has changed. */

/** Call `wake` at each of them; returns what ends that. Where there are no such events nothing happens. */
export function onWake(wake: () => void): () => void {
  const page = globalThis.document as Document | undefined;
  const seen = (): void => {
    if (page?.visibilityState !== "hidden") wake();
  };
  const listened: [EventTarget | undefined, string, () => void][] = [
    [globalThis as unknown as EventTarget, "online", wake],
    [globalThis as unknown as EventTarget, "offline", wake],
    [globalThis as unknown as EventTarget, "pageshow", wake],
    [page, "visibilitychange", seen],
    [page, "resume", wake],
  ];
  for (const [target, event, listener] of listened) target?.addEventListener?.(event, listener);
  return () => {
    for (const [target, event, listener] of listened) target?.removeEventListener?.(event, listener);
  };
}
