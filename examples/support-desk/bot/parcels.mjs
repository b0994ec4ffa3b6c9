/** The carrier's system, or what stands in for it: any number is a parcel, and always the same one. */
import { setTimeout as pause } from "node:timers/promises";

const STEPS = ["Ordered", "Packed", "Handed to the carrier", "Out for delivery", "Delivered"];
const LOOK_UP_MS = 700;

/** A parcel: its steps, how many of them are done, and when it arrives. */
export async function findParcel(number, signal) {
  await pause(LOOK_UP_MS, undefined, { signal });
  if (!/^\d{4,12}$/.test(number)) throw new Error("There is no such parcel.");
  const done = 2 + ([...number].reduce((sum, digit) => sum + Number(digit), 0) % 4);
  return { number, steps: STEPS, done, status: STEPS[done - 1], arrives: done === 5 ? null : done === 4 ? "today" : "tomorrow" };
}
