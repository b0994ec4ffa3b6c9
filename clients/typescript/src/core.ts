/** What the parts of one client share. */
import type { Connection } from "./connection.js";
import type { Rest } from "./rest.js";
import type { Tokens } from "./tokens.js";
import type { Timing } from "./types.js";

export interface Core {
  readonly rest: Rest;
  readonly tokens: Tokens;
  readonly timing: Timing;
  readonly connection: Connection;
}
